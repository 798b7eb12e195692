"""Fitness and what it is made of, over the generations."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etm_jax.report._draw import FAILED, INK, SMALL, marker, over_generations, task_colours, to_svg
from etm_jax.report._run import column
from etm_jax.report._section import Key, Section
from etm_jax.report._words import counted, score

TITLE = "Fitness and its parts"
Rows = Sequence[dict[str, Any]]


def fitness_section(rows: Rows, tasks: Sequence[str]) -> Section:
    """Small panels: fitness, each task's scores, efficiency, difficulty and diversity."""
    if not rows:
        return Section(TITLE, "No generation is on record yet, so there is nothing to draw.")
    colours = task_colours(tasks)
    failed = int(np.nansum(column(rows, "failed")))
    keys = [Key("best individual", "var(--ink)", "line"), Key("population mean", "var(--ink)", "dashed")]
    keys += [Key(name, colour, "line") for name, colour in colours.items()]
    if failed:
        keys.append(Key(f"generations with failed evaluations ({failed:,} in all)", FAILED, "cross"))
    return Section(
        title=TITLE,
        reading="Each panel follows one quantity from the first generation (left) to the last (right): a best line "
        "that climbs is progress, a mean that follows it is a population that has taken it up, and a dip where the "
        "difficulty steps up is expected.",
        panels=(
            _panel("Fitness", "fitness", rows, _fitness(rows), _told(rows, "best_fitness")),
            _panel("Performance", "0 = chance, 1 = perfect", rows, _per_task(rows, "performance", colours)),
            _panel("Accuracy of the best", "share of perfect sequences", rows, _per_task(rows, "accuracy", colours)),
            _panel("Efficiency", "efficiency", rows, _efficiency(rows), _told(rows, "best_efficiency")),
            _panel("Difficulty", "share of the hardest", rows, _difficulty(rows, colours)),
            _panel("Diversity", "diversity", rows, _diversity(rows), _told(rows, "diversity")),
        ),
        keys=tuple(keys),
    )


def _panel(title: str, unit: str, rows: Rows, draw: Callable[[Axes], None], told: str = "") -> str:
    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        draw(axes)
        over_generations(axes, title, unit)

    return to_svg(on, SMALL, f"{title} over {counted(len(rows), 'generation')}. {told}".strip())


def _told(rows: Rows, name: str) -> str:
    values = column(rows, name)
    return f"{name.replace('_', ' ').capitalize()}: {score(values[0])} at the start, {score(values[-1])} at the end."


def _generations(rows: Rows) -> np.ndarray:
    return column(rows, "generation")


def _fitness(rows: Rows) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        _best_and_mean(axes, rows, "fitness")
        failed = column(rows, "failed") > 0
        floor = np.zeros(failed.sum())
        axes.plot(
            _generations(rows)[failed], floor + 0.02, "x", color=FAILED, ms=5, transform=axes.get_xaxis_transform()
        )

    return draw


def _efficiency(rows: Rows) -> Callable[[Axes], None]:
    return lambda axes: _best_and_mean(axes, rows, "efficiency")


def _best_and_mean(axes: Axes, rows: Rows, name: str) -> None:
    axes.plot(_generations(rows), column(rows, f"best_{name}"), color=INK, marker=marker(rows))
    axes.plot(_generations(rows), column(rows, f"mean_{name}"), color=INK, ls="--", lw=1.2, marker=marker(rows))


def _per_task(rows: Rows, name: str, colours: dict[str, str]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for task, colour in colours.items():
            axes.plot(_generations(rows), column(rows, f"best_{name}", task), color=colour, marker=marker(rows))
            mean = column(rows, f"mean_{name}", task)
            axes.plot(_generations(rows), mean, color=colour, ls="--", lw=1.2, marker=marker(rows))
        axes.set_ylim(-0.03, 1.03)

    return draw


def _difficulty(rows: Rows, colours: dict[str, str]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for task, colour in colours.items():
            values = column(rows, "difficulty", task)
            axes.plot(_generations(rows), values, color=colour, drawstyle="steps-post", marker=marker(rows))
        axes.set_ylim(-0.03, 1.03)

    return draw


def _diversity(rows: Rows) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.plot(_generations(rows), column(rows, "diversity"), color=INK, ls="--", lw=1.2, marker=marker(rows))
        axes.set_ylim(bottom=0)

    return draw
