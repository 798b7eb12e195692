"""How a training went: loss, scores, difficulty and learning rate over the steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from etm_jax.report._draw import FAILED, INK, SMALL, marker, over, task_colours, to_svg
from etm_jax.report._run import column
from etm_jax.report._section import Key, Section
from etm_jax.report._words import counted, written

TITLE = "Learning curves"
Rows = Sequence[dict[str, Any]]
Draw = Callable[[Axes], None]


def curves_section(rows: Rows, tasks: Sequence[str], step: str) -> Section:
    """Small panels: loss, each task's scores and difficulty, and the learning rate if there is one."""
    if not rows:
        return Section(TITLE, f"No {step} is on record yet, so there is nothing to draw.")
    colours = task_colours(tasks)
    skipped = int(np.nansum(column(rows, "skipped")))
    keys = [Key("on fresh episodes", "var(--ink)", "line"), Key("while learning", "var(--ink)", "dashed")]
    keys += [Key(name, colour, "line") for name, colour in colours.items()]
    if skipped:
        keys.append(Key(f"chunks with steps that were not finite ({skipped:,} steps left out)", FAILED, "cross"))
    panels = [
        ("Loss", "loss, as a logarithm", _loss(rows)),
        ("Accuracy", "share of perfect sequences", _per_task(rows, "accuracy", colours)),
        ("Performance", "0 = chance, 1 = perfect", _per_task(rows, "performance", colours)),
        ("Difficulty", "share of the hardest", _per_task(rows, "difficulty", colours, "steps-pre")),
    ]
    if np.isfinite(column(rows, "learning_rate")).any():
        panels.append(("Learning rate", "rate, as a logarithm", _rate(rows)))
    return Section(
        title=TITLE,
        reading=f"Each panel follows one quantity from the first {step} (left) to the last (right), with a point "
        "for every look at the network; a loss that rises where the difficulty steps up is expected.",
        panels=tuple(_panel(title, unit, rows, draw, step) for title, unit, draw in panels),
        keys=tuple(keys),
    )


def _panel(title: str, unit: str, rows: Rows, draw: Draw, step: str) -> str:
    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        draw(axes)
        over(axes, title, unit, step)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))

    steps = counted(int(column(rows, "step")[-1]), step)
    return to_svg(on, SMALL, f"{title} over {steps}.{_told(title, rows)}")


def _told(title: str, rows: Rows) -> str:
    name = {"Loss": "loss", "Learning rate": "learning_rate"}.get(title)
    if name is None:
        return ""
    values = column(rows, name)
    return f" {written(values[0])} at the first look, {written(values[-1])} at the last."


def _loss(rows: Rows) -> Draw:
    def draw(axes: Axes) -> None:
        steps, skipped = column(rows, "step"), column(rows, "skipped") > 0
        fresh, seen = column(rows, "loss"), column(rows, "train_loss")
        axes.plot(steps, fresh, color=INK, lw=1.2, marker=marker(rows))
        axes.plot(steps, seen, color=INK, ls="--", lw=1.0, alpha=0.7, marker=marker(rows))
        if not np.any(np.concatenate([fresh, seen]) <= 0):  # minus a reward has no logarithm
            axes.set_yscale("log")
        low = np.full(skipped.sum(), 0.02)
        axes.plot(steps[skipped], low, "x", color=FAILED, ms=5, transform=axes.get_xaxis_transform())

    return draw


def _rate(rows: Rows) -> Draw:
    def draw(axes: Axes) -> None:
        axes.plot(column(rows, "step"), column(rows, "learning_rate"), color=INK, lw=1.2, marker=marker(rows))
        axes.set_yscale("log")

    return draw


def _per_task(rows: Rows, name: str, colours: dict[str, str], style: str = "default") -> Draw:
    def draw(axes: Axes) -> None:
        for task, colour in colours.items():
            values = column(rows, name, task)
            axes.plot(column(rows, "step"), values, color=colour, lw=1.2, drawstyle=style, marker=marker(rows))
        axes.set_ylim(-0.03, 1.03)

    return draw
