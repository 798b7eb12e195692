"""A champion at work, step by step in one episode, and its path where an environment has places.

The figures follow those of Graves et al. 2014.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax.environment import EnvironmentSuite, Rollout, Suite
from etm_jax.report._draw import ACCENT, FAILED, INK, MUTED, SECOND, save_png, tint, to_svg
from etm_jax.report._section import Key, Section, counted

IN_USE = 0.02  # slots at the ends that no head weights more than this are not drawn
FEWEST_SLOTS = 12
WIDTH = 7.2  # inches
CHANNELS = "#7d8590"  # grey that is legible on light and on dark
NUM_PATHS = 4  # episodes whose path is drawn
FIRST = 0  # the environment that is shown


@dataclass(frozen=True)
class Trace:
    """One episode of a model, cut after its last valid step.

    Attributes:
        channels: what the network saw and answered, [channel time] by title, from 0 to 1; NaN where nothing counts.
        reads: weightings of the read heads, [head slot time].
        writes: weightings of the write heads, [head slot time].
    """

    channels: dict[str, np.ndarray]
    reads: np.ndarray
    writes: np.ndarray


class Row(NamedTuple):
    """One image of the figure, `values` [row time].

    Attributes:
        title: above it.
        values: from 0 to 1.
        colour: of the value 1.
        first_slot: number of its first row; None for channels, whose numbers begin at 0.
    """

    title: str
    values: np.ndarray
    colour: str
    first_slot: int | None = None


def check_channels(model: Any, suite: Suite) -> None:
    """Refuse a model that was made for another suite.

    Raises:
        ValueError: the sizes of their inputs differ.
    """
    if model.input_size != suite.input_size:
        raise ValueError(
            f"model takes {model.input_size} input channels but the suite has {suite.input_size}; give the suite that "
            "the run was made with"
        )


def played(model: Any, suite: EnvironmentSuite, episodes: int) -> Rollout:
    """Episodes of the suite's first environment at full difficulty; the model acts by its `policy()`."""
    hardest = jnp.ones(len(suite.names))

    def play(key: jax.Array) -> Rollout:
        start, step = model.policy()
        return suite.rollouts(key, start, step, episodes, hardest)[FIRST]

    return jax.jit(play)(jax.random.key(0))


def trace_of(suite: EnvironmentSuite, rollout: Rollout) -> Trace:
    """The first episode of a rollout in the suite's first environment, without weightings."""
    end = int(np.sum(rollout.step_valid[0]))
    rewards, logits = np.asarray(rollout.rewards[0, :end]), rollout.logits[0, :end]
    most = float(rewards.max(initial=0.0)) or 1.0
    if getattr(suite.environments[FIRST], "continuous", False):
        actions = {"Actions (0 is -1)": (np.clip(logits, -1, 1) + 1).T / 2}
    else:
        actions = {"Actions": np.asarray(jax.nn.softmax(logits)).T}
    seen = np.asarray(rollout.observations[0, :end]).T
    channels = {"Observations (0 is -1)": (seen + 1) / 2} if seen.min() < 0 else {"Observations": seen}
    channels |= {**actions, f"Reward (1 is {most:.3g})": rewards[None] / most}
    nothing = np.zeros((0, 0, end))
    return Trace(channels, reads=nothing, writes=nothing)


def acting_sections(model: Any, suite: EnvironmentSuite, run: Path, trace: Trace) -> list[Section]:
    """One episode of a champion that acts, and its path if the environment has places."""
    environment = suite.environments[FIRST]
    sections = [trace_section(trace, suite.names[FIRST])]
    if hasattr(environment, "place") and hasattr(environment, "outline"):
        sections.append(path_section(model, suite, run / "path.png"))
    return sections


def path_section(model: Any, suite: EnvironmentSuite, png: Path) -> Section:
    """The champion's path in a few episodes; the picture is also written to a PNG file."""
    rollout = played(model, suite, NUM_PATHS)
    rewards = np.asarray(rollout.total_reward)

    def draw(figure: Figure) -> None:
        for episode, axes in enumerate(figure.subplots(1, NUM_PATHS)):
            _draw_path(axes, suite, rollout, episode)
            axes.set_title(f"reward {rewards[episode]:.2f}")

    size = (2.4 * NUM_PATHS, 2.8)
    save_png(draw, size, png)
    listed = ", ".join(f"{reward:.2f}" for reward in rewards)
    where = f"in {NUM_PATHS} episodes of {suite.names[FIRST]}"
    return Section(
        title="Where the champion goes",
        reading=f"Seen from above, {where} that evolution has not drawn.",
        panels=(to_svg(draw, size, f"Path of the champion {where}, rewards {listed}."),),
        keys=(Key("path", ACCENT, "line"), Key("end", FAILED, "cross")),
    )


def _draw_path(axes: Axes, suite: EnvironmentSuite, rollout: Rollout, episode: int) -> None:
    environment: Any = suite.environments[FIRST]  # places are no part of the protocol
    end = int(np.sum(rollout.step_valid[episode]))
    states = jax.tree.map(lambda leaf: leaf[episode], rollout.states)
    path = np.asarray(jax.vmap(environment.place)(states))[:end]
    start = jax.tree.map(lambda leaf: leaf[0], states)
    for line in environment.outline(start):
        axes.plot(*np.asarray(line).T, color=MUTED, linewidth=0.8)
    axes.plot(*path.T, color=ACCENT, linewidth=1.0)
    axes.plot(*path[-1], "x", color=FAILED)
    axes.set_aspect("equal")
    axes.set_axis_off()


def slots_in_use(weightings: np.ndarray) -> tuple[int, int]:
    """The first slot to draw and the one after the last, for weightings [head slot time]."""
    num_slots = weightings.shape[1]
    used = np.flatnonzero(np.max(weightings, axis=(0, 2)) > IN_USE)
    first, end = (int(used[0]), int(used[-1]) + 1) if used.size else (0, num_slots)
    end = min(num_slots, max(end, first + FEWEST_SLOTS))
    return max(0, min(first, end - FEWEST_SLOTS)), end


def trace_section(trace: Trace, task: str, who: str = "champion") -> Section:
    """One episode over time: inputs and answers, and the weighting of every head."""
    num_steps = next(iter(trace.channels.values())).shape[-1]
    alt = (
        f"The {who} on one {task} episode of {counted(num_steps, 'step')}: "
        f"{', '.join(title.lower() for title in trace.channels)}"
    )
    what = f"One {task} episode at full length, time running to the right"
    weightings = np.concatenate([trace.reads, trace.writes])
    rows = [Row(title, values, CHANNELS) for title, values in trace.channels.items()]
    heights = [1.0] * len(rows)
    if not weightings.size:
        panels = (_svg(rows, heights, f"{alt}."),)
        return Section(f"What the {who} answers", f"{what}; the {who} has no heads.", panels)
    num_slots = weightings.shape[1]
    first, end = slots_in_use(weightings)
    for kind, heads, colour in (("Write", trace.writes, SECOND), ("Read", trace.reads, ACCENT)):
        rows += [Row(f"{kind} head {n}", head[first:end], colour, first) for n, head in enumerate(heads, start=1)]
    heights += [float(np.clip(0.035 * (end - first), 1.1, 2.4))] * len(weightings)
    writes, reads = counted(len(trace.writes), "write head"), counted(len(trace.reads), "read head")
    alt += f", the weighting of {writes} and of {reads} over {num_slots} slots"
    drawn = f"Slots {first} to {end - 1} of {num_slots} are drawn; no head weights any other above {IN_USE}."
    return Section(
        title=f"What the {who} reads and writes",
        reading=f"{what}. A sharp diagonal is a head that steps from slot to slot; equal diagonals of a write head "
        "and, later, of a read head show that it reads back what was written; a smear is a head that has not learned "
        "where to look.",
        panels=(_svg(rows, heights, f"{alt}."),),
        notes=(drawn,) if end - first < num_slots else (),
    )


def _svg(rows: list[Row], heights: list[float], alt: str) -> str:
    return to_svg(lambda figure: _draw(figure, rows, heights), (WIDTH, sum(heights) + 0.9), alt)


def _draw(figure: Figure, rows: list[Row], heights: list[float]) -> None:
    all_axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, row in zip(all_axes, rows, strict=True):
        is_head, start = row.first_slot is not None, row.first_slot or 0
        image = axes.imshow(
            row.values,
            cmap=tint(row.colour, 0.0 if is_head else 0.12),
            norm=PowerNorm(0.5 if is_head else 1.0, vmin=0, vmax=1),  # weak weights would not show on a linear scale
            extent=(-0.5, row.values.shape[1] - 0.5, start + len(row.values) - 0.5, start - 0.5),
            aspect="auto",
            interpolation="none",
        )
        axes.set(title=row.title, ylabel="slot" if is_head else "channel")
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color=MUTED, linewidth=0.6)
        if len(row.values) == 1:
            axes.set_yticks([start])
        else:
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.01, ticks=[0, 0.25, 1] if is_head else [0, 1])
        bar.set_label("weight" if is_head else "value", color=INK)
        bar.outline.set_visible(False)
    all_axes[-1].set_xlabel("time (steps)")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
