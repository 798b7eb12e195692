"""The members of a run's archive, on a front or in the cells of a map, and how the archive filled."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax._files import read_json
from etm_jax.report._draw import ACCENT, INK, MUTED, SMALL, label_axes, marker, tint, to_svg
from etm_jax.report._run import MOST_BYTES, column
from etm_jax.report._section import Key, Section, counted, score
from etm_jax.runs._rows import Row

CURVES = {
    "hypervolume": "hypervolume of the front",
    "front_size": "members of the front",
    "coverage": "share of cells occupied",
    "qd_score": "sum of the cells' fitness",
    "archive_size": "places of the ring occupied",
    "archive_spread": "spread of the descriptors",
}
MOST_PAIRS = 3  # panels of two objectives
LABEL = 0.09, 0.1  # width and height of a member's number, as shares of a panel
DRAWN_BINS = 10
Rows = Sequence[Row]


def members_of(run: Path) -> list[Row]:
    """The rows of `members.json`; none where the file is missing or unreadable."""
    try:
        rows = read_json(run / "members.json", MOST_BYTES)
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def members_sections(rows: Rows, members: Rows) -> list[Section]:
    """The section of the archive, if the run has one."""
    curves = [name for name in CURVES if rows and name in rows[-1]]
    if not curves:
        return []
    panels = [_curve(rows, name) for name in curves]
    keys: tuple[Key, ...] = ()
    title, reading = "The archive", "The members that the run kept beside its population, over the generations."
    if members and "objectives" in members[0]:
        title = "The front"
        reading = (
            "Each point is a network that no other one dominates. Better is to the right and upwards, and darker for a "
            "third objective; a point that seems dominated in one panel is ahead in another. The number beside a "
            "point, where there is room, names its folder in members/."
        )
        pairs = itertools.islice(itertools.combinations(members[0]["objectives"], 2), MOST_PAIRS)
        panels = [_scatter(members, one, other) for one, other in pairs] + panels
        keys = (Key("member of the front", ACCENT, "ring"),)
    elif members and len(members[0].get("descriptors", {})) >= 2:
        title = "The map"
        reading = "The darker a cell, the fitter its best network; empty cells were never reached."
        panels = [_map(members, *list(members[0]["descriptors"])[:2]), *panels]
    return [Section(title=title, reading=reading, panels=tuple(panels), keys=keys)]


def _svg(draw: Callable[[Axes], None], alt: str) -> str:
    def on(figure: Figure) -> None:
        draw(figure.add_subplot())

    return to_svg(on, SMALL, alt)


def _curve(rows: Rows, name: str) -> str:
    values = column(rows, name)

    def draw(axes: Axes) -> None:
        axes.plot(column(rows, "generation"), values, color=INK, marker=marker(rows))
        label_axes(axes, CURVES[name].capitalize(), name.replace("_", " "))
        if all(float(value).is_integer() for value in values):
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    return _svg(draw, f"{CURVES[name].capitalize()}: {score(values[0])} at the start, {score(values[-1])} at the end.")


def _scatter(members: Rows, one: str, other: str) -> str:
    across, up = (np.array([row["objectives"][name] for row in members], float) for name in (one, other))
    numbers = [row["number"] for row in members]
    rest = [name for name in members[0]["objectives"] if name not in (one, other)]
    third = [float(row["objectives"][rest[0]]) for row in members] if len(rest) == 1 else None

    def draw(axes: Axes) -> None:
        fill: dict[str, Any] = {"facecolors": "none"} if third is None else {"c": third, "cmap": tint(ACCENT, 0.0)}
        axes.scatter(across, up, s=26, edgecolors=ACCENT, linewidths=1.2, clip_on=False, zorder=3, **fill)
        for place in _named(across, up):
            axes.annotate(f"{numbers[place]}", (across[place], up[place]), (4, 4), textcoords="offset points", size=8)
        title = f"{_word(other)} over {_word(one)}".capitalize()
        shade = "" if third is None else f"\nfilled: {_word(rest[0])}"
        axes.set(title=title + shade, xlabel=_word(one), ylabel=_word(other))
        axes.margins(0.1)

    return _svg(draw, f"{counted(len(members), 'member')} of the front, {_word(other)} over {_word(one)}.")


def _named(across: np.ndarray, up: np.ndarray) -> list[int]:
    """The points that get a number: from the top right, those whose number does not overlap an earlier one."""
    extent = [max(float(np.ptp(values)), 1e-9) for values in (across, up)]
    points = np.stack([across / extent[0], up / extent[1]], axis=1)
    named: list[int] = []
    for place in np.argsort(-points.sum(axis=1), kind="stable").tolist():
        away = np.abs(points[named] - points[place])
        if np.all((away[:, 0] > LABEL[0]) | (away[:, 1] > LABEL[1])):
            named.append(place)
    return named


def _word(objective: str) -> str:
    costs = {"multiply_adds": "few multiply-adds", "parameters": "few weights", "live_cells": "few live cells"}
    return costs.get(objective, objective.replace("_", " "))


def _map(members: Rows, one: str, other: str) -> str:
    grid = np.full((DRAWN_BINS, DRAWN_BINS), np.nan)
    for row in members:
        place = [min(int(row["descriptors"][name] * DRAWN_BINS), DRAWN_BINS - 1) for name in (other, one)]
        grid[tuple(place)] = np.fmax(grid[tuple(place)], row["fitness"])
    taken = int(np.sum(~np.isnan(grid)))

    def draw(axes: Axes) -> None:
        axes.imshow(grid, origin="lower", extent=(0, 1, 0, 1), cmap=tint(ACCENT, 0.15), interpolation="nearest")
        axes.grid(visible=False)
        axes.set(title="Fitness of the cells", xlabel=one.replace("_", " "), ylabel=other.replace("_", " "))
        axes.spines[:].set_color(MUTED)

    return _svg(draw, f"Map of {one} and {other}: {taken} of {grid.size} squares occupied.")
