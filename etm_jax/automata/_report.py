"""What an automaton's tape holds step by step until it halts, and a ring after each observation."""

from pathlib import Path

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax.automata._evolved import EvolvedEM33, EvolvedEM43
from etm_jax.automata._number_automata import function_of
from etm_jax.environment import AnySuite, EnvironmentSuite
from etm_jax.number_task import NumberTask
from etm_jax.report._draw import MUTED, save_png, to_svg
from etm_jax.report._section import Key, Section, counted
from etm_jax.report._trace import acting_sections, check_channels, played, trace_of

TITLE = "What the champion computes"
COLOURS = ("#00000000", "#5b6470", "#d6336c", "#2f7fd6")  # blank, black, red, blue
MOST_STEPS = 300  # of a longer history the first steps are drawn
SHOWN = 3  # inputs
PNG_SIZE = (6.0, 6.0)  # inches
MARGIN = 2  # blank cells drawn beside those that are ever live


def number_sections(model: EvolvedEM43, suite: AnySuite, run: Path) -> list[Section]:
    """What an automaton computes; the largest input's picture goes into the run folder, too."""
    task = function_of(suite)
    save_space_time(model, task, run / "space_time.png")
    return [space_time_section(model, task)]


def ring_sections(model: EvolvedEM33, suite: EnvironmentSuite, run: Path) -> list[Section]:
    """One episode of a ring, where it goes, and what it holds.

    Raises:
        ValueError: the ring was not made for this suite.
    """
    check_channels(model, suite)
    acted = trace_of(suite, played(model, suite, 1))
    return [*acting_sections(model, suite, run, acted), ring_section(model, suite, run / "space_time.png")]


def space_time_section(model: EvolvedEM43, task: NumberTask) -> Section:
    """One diagram each for a small, a middling and the largest input that evolution saw."""
    inputs = task.train_inputs()
    chosen = [inputs[index] for index in np.unique(np.linspace(0, len(inputs) - 1, SHOWN).astype(int))]
    panels = []
    for operands in chosen:
        history = model.history(*map(int, operands))
        title, steps = told(model, task, operands), len(history) - 1
        alt = f"Space-time diagram: {title}, {counted(steps, 'step')}."
        width = 2.4
        height = float(np.clip(0.03 * min(len(history), MOST_STEPS) + 0.9, 2.2, 5.0))

        def on(figure: Figure, history: np.ndarray = history, title: str = title) -> None:
            draw_history(figure.add_subplot(), history, title)

        panels.append(to_svg(on, (width, height), alt))
    return Section(
        title=TITLE,
        reading="Each row is the tape after a step, time running down, from the programme, two blue separators and the "
        "input's red marker to the step in which the tape halts; the rightmost red cell is the answer.",
        panels=tuple(panels),
        keys=tuple(
            Key(name, colour, "band")
            for name, colour in zip(("black", "red marker", "blue separator"), COLOURS[1:], strict=True)
        ),
    )


def ring_section(model: EvolvedEM33, suite: EnvironmentSuite, png: Path) -> Section:
    """The ring after each observation of one episode; the same picture is saved as a PNG file."""
    lived = played(model, suite, 1)
    end = int(np.sum(lived.step_valid[0]))
    start, step = model.policy()

    def onwards(cells: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
        after, _ = step(cells, seen)
        return after, after

    seen = suite.as_inputs(0, lived.observations[0, :end])
    history = np.asarray(jax.jit(lambda seen: jax.lax.scan(onwards, start, seen)[1])(seen))
    title = f"{suite.names[0]}: {counted(end, 'observation')}"

    def draw(figure: Figure) -> None:
        draw_history(figure.add_subplot(), history, title, halts=False)

    save_png(draw, PNG_SIZE, png)
    return Section(
        title="What the champion's ring holds",
        reading="Each row is the ring after its steps for one observation, time running down. Each variable has an "
        "input cell for each bin, with other cells after it; the one that shows the observed number is red.",
        panels=(to_svg(draw, (7.2, 4.0), f"Space-time diagram of a ring, {title}."),),
        keys=tuple(Key(name, colour, "band") for name, colour in zip(("black", "red"), COLOURS[1:3], strict=True)),
    )


def told(model: EvolvedEM43, task: NumberTask, operands: np.ndarray) -> str:
    """Input and output in words."""
    run = model(operands[None])
    answer = str(int(run.outputs[0])) if bool(run.halted[0]) else "does not halt"
    return f"{task.name} of {' and '.join(map(str, operands))}: {answer}"


def draw_history(axes: Axes, history: np.ndarray, title: str, halts: bool = True) -> None:
    """Draw `[time cell]` states, time running down, and mark the last step if it halts there."""
    live = np.flatnonzero((history > 0).any(axis=0))
    first, last = max(int(live[0]) - MARGIN, 0), min(int(live[-1]) + MARGIN, history.shape[1] - 1)
    drawn = history[:MOST_STEPS, first : last + 1]
    axes.imshow(
        drawn,
        cmap=ListedColormap(COLOURS),
        vmin=0,
        vmax=len(COLOURS) - 1,
        extent=(first - 0.5, last + 0.5, len(drawn) - 0.5, -0.5),
        aspect="auto",
        interpolation="none",
    )
    if halts and len(drawn) == len(history):
        axes.axhline(len(history) - 1.5, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set(title=title, xlabel="cell", ylabel="step" if halts else "observation")
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def save_space_time(model: EvolvedEM43, task: NumberTask, path: Path) -> None:
    """The diagram of the largest input that evolution saw, as a PNG file."""
    operands = task.train_inputs()[-1]
    history = model.history(*map(int, operands))

    def draw(figure: Figure) -> None:
        draw_history(figure.add_subplot(), history, told(model, task, operands))

    save_png(draw, PNG_SIZE, path)
