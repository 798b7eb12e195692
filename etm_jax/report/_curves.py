"""Curves of a run: fitness and its parts over the generations, or loss and scores over the steps of a training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from etm_jax.report._draw import FAILED, INK, SMALL, label_axes, marker, task_colours, to_svg
from etm_jax.report._run import column, number
from etm_jax.report._section import Key, Section, counted, score, written
from etm_jax.runs._rows import LENGTHS, Row, at_length

FITNESS, LEARNING = "Fitness and its parts", "Learning curves"
Rows = Sequence[Row]
Draw = Callable[[Axes], None]


class Panel(NamedTuple):
    """One small panel.

    Attributes:
        title: what it shows.
        unit: the label of its y-axis.
        draw: draws the curves.
        summary: first and last value in a sentence, read aloud with the title.
    """

    title: str
    unit: str
    draw: Draw
    summary: str = ""


def fitness_section(rows: Rows, tasks: Sequence[str]) -> Section:
    """An evolution: fitness, each task's scores, efficiency, difficulty and diversity."""
    if not rows:
        return Section(FITNESS, "No generation is on record yet, so there is nothing to draw.")
    colours = task_colours(tasks)
    failed = int(np.nansum(column(rows, "failed")))
    keys = [Key("best individual", "var(--ink)", "line"), Key("population mean", "var(--ink)", "dashed")]
    keys += [Key(name, colour, "line") for name, colour in colours.items()]
    if failed:
        keys.append(Key(f"generations with failed evaluations ({failed:,} in all)", FAILED, "cross"))

    def best_and_mean(name: str) -> Draw:
        def draw(axes: Axes) -> None:
            _plot(axes, rows, "generation", f"best_{name}", color=INK)
            _plot(axes, rows, "generation", f"mean_{name}", color=INK, ls="--", lw=1.2)

        return draw

    def fitness(axes: Axes) -> None:
        best_and_mean("fitness")(axes)
        _crosses(axes, column(rows, "generation")[column(rows, "failed") > 0])

    def scores(name: str) -> Draw:
        def draw(axes: Axes) -> None:
            for task, colour in colours.items():
                _plot(axes, rows, "generation", f"best_{name}", task, color=colour)
                _plot(axes, rows, "generation", f"mean_{name}", task, color=colour, ls="--", lw=1.2)
            axes.set_ylim(-0.03, 1.03)

        return draw

    def difficulty(axes: Axes) -> None:
        for task, colour in colours.items():
            _plot(axes, rows, "generation", "difficulty", task, color=colour, drawstyle="steps-post")
        axes.set_ylim(-0.03, 1.03)

    def diversity(axes: Axes) -> None:
        _plot(axes, rows, "generation", "diversity", color=INK, ls="--", lw=1.2)
        axes.set_ylim(bottom=0)

    def ends(name: str) -> str:
        values = column(rows, name)
        label = name.replace("_", " ").capitalize()
        return f"{label}: {score(values[0])} at the start, {score(values[-1])} at the end."

    def longer(name: str) -> Draw:
        def draw(axes: Axes) -> None:
            for task, colour in colours.items():
                _plot(axes, rows, "generation", name, task, color=colour)
            axes.set_ylim(-0.03, 1.03)

        return draw

    performance = "best_performance_x"
    multiples = [name.removeprefix(performance) for name in rows[-1] if name.startswith(performance)]
    panels = (
        Panel("Fitness", "fitness", fitness, ends("best_fitness")),
        Panel("Performance", "0 = chance, 1 = perfect", scores("performance")),
        *(
            Panel(f"Of the best at {times} times the length", "0 = chance, 1 = perfect", longer(performance + times))
            for times in multiples
        ),
        Panel("Accuracy of the best", "share of perfect sequences", scores("accuracy")),
        Panel("Efficiency", "efficiency", best_and_mean("efficiency"), ends("best_efficiency")),
        Panel("Difficulty", "share of the hardest", difficulty),
        Panel("Diversity", "diversity", diversity, ends("diversity")),
    )
    length = counted(len(rows), "generation")
    return Section(
        title=FITNESS,
        reading="Each panel follows one quantity from the first generation (left) to the last (right). The best should "
        "climb and the mean follow; a dip is expected where the difficulty rises.",
        panels=tuple(_svg(panel, "generation", length) for panel in panels),
        keys=tuple(keys),
    )


def learning_section(rows: Rows, tasks: Sequence[str], step: str) -> Section:
    """A training: loss, each task's scores and difficulty, and the learning rate if there is one."""
    if not rows:
        return Section(LEARNING, f"No {step} is on record yet, so there is nothing to draw.")
    colours = task_colours(tasks)
    skipped = int(np.nansum(column(rows, "skipped")))
    keys = [Key("on fresh episodes", "var(--ink)", "line"), Key("while learning", "var(--ink)", "dashed")]
    keys += [Key(name, colour, "line") for name, colour in colours.items()]
    if skipped:
        keys.append(Key(f"chunks with steps that were not finite ({skipped:,} steps skipped)", FAILED, "cross"))

    def loss(axes: Axes) -> None:
        _plot(axes, rows, "step", "loss", color=INK, lw=1.2)
        _plot(axes, rows, "step", "train_loss", color=INK, ls="--", lw=1.0, alpha=0.7)
        losses = np.concatenate([column(rows, "loss"), column(rows, "train_loss")])
        if not np.any(losses <= 0):  # minus a reward has no logarithm
            axes.set_yscale("log")
        _crosses(axes, column(rows, "step")[column(rows, "skipped") > 0])

    def scores(name: str, **look: Any) -> Draw:
        def draw(axes: Axes) -> None:
            for task, colour in colours.items():
                _plot(axes, rows, "step", name, task, color=colour, lw=1.2, **look)
            axes.set_ylim(-0.03, 1.03)

        return draw

    def learning_rate(axes: Axes) -> None:
        _plot(axes, rows, "step", "learning_rate", color=INK, lw=1.2)
        axes.set_yscale("log")

    def ends(name: str) -> str:
        values = column(rows, name)
        return f"{written(values[0])} at the start, {written(values[-1])} at the end."

    panels = [
        Panel("Loss", "loss (log scale)", loss, ends("loss")),
        Panel("Accuracy", "share of perfect sequences", scores("accuracy")),
        Panel("Performance", "0 = chance, 1 = perfect", scores("performance")),
        Panel("Difficulty", "share of the hardest", scores("difficulty", drawstyle="steps-pre")),
    ]
    if np.isfinite(column(rows, "learning_rate")).any():
        panels.append(Panel("Learning rate", "rate (log scale)", learning_rate, ends("learning_rate")))
    length = counted(int(column(rows, "step")[-1]), step)
    return Section(
        title=LEARNING,
        reading=f"Each panel follows one quantity from the first {step} (left) to the last (right), with one point for "
        "each chunk; a rise of the loss is expected where the difficulty rises.",
        panels=tuple(_svg(panel, step, length) for panel in panels),
        keys=tuple(keys),
    )


def lengths_section(held_out: Mapping[str, Any], tasks: Sequence[str]) -> list[Section]:
    """Held-out scores over the length of episodes; nothing where they were measured at one length only."""
    lengths = [length for length in LENGTHS if at_length("accuracy", length) in held_out]
    if len(lengths) < 2:
        return []
    colours = task_colours(tasks)

    def scores(name: str) -> Draw:
        def draw(axes: Axes) -> None:
            for task, colour in colours.items():
                axes.plot(lengths, _at(name, task), color=colour, marker=".")
            axes.set_xscale("log")
            axes.set_ylim(-0.03, 1.03)

        return draw

    def _at(name: str, task: str) -> list[float]:
        return [number((held_out.get(at_length(name, length)) or {}).get(task)) for length in lengths]

    def said(name: str) -> str:
        return " ".join(f"{task}: {', '.join(score(value) for value in _at(name, task))}." for task in tasks)

    def drawn(panel: Panel) -> str:
        def draw(figure: Figure) -> None:
            axes = figure.add_subplot()
            panel.draw(axes)
            axes.set(title=panel.title, xlabel="times the trained length", ylabel=panel.unit)
            axes.set_xticks(lengths, [str(length) for length in lengths])
            axes.minorticks_off()

        times = ", ".join(str(length) for length in lengths)
        return to_svg(draw, SMALL, f"{panel.title} at {times} times the trained length. {panel.summary}")

    return [
        Section(
            title="Scores by length",
            reading="Held-out scores on episodes of up to the trained length (1) and of exactly its multiples, on "
            "which nothing was trained. A network that has found the rule keeps its scores.",
            panels=(
                drawn(Panel("Accuracy", "share of perfect sequences", scores("accuracy"), said("accuracy"))),
                drawn(Panel("Performance", "0 = chance, 1 = perfect", scores("performance"), said("performance"))),
            ),
            keys=tuple(Key(name, colour, "line") for name, colour in colours.items()),
        )
    ]


def _svg(panel: Panel, along: str, length: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        panel.draw(axes)
        label_axes(axes, panel.title, panel.unit, along)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))

    return to_svg(draw, SMALL, f"{panel.title} over {length}. {panel.summary}".strip())


def _plot(axes: Axes, rows: Rows, along: str, *path: str, **look: Any) -> None:
    axes.plot(column(rows, along), column(rows, *path), marker=marker(rows), **look)


def _crosses(axes: Axes, places: np.ndarray) -> None:
    """Mark places of the x-axis at the foot of a panel, whatever the range of its y-axis."""
    axes.plot(places, np.full(len(places), 0.02), "x", color=FAILED, ms=5, transform=axes.get_xaxis_transform())
