"""Who a run kept beside its population: the front, or the cells of a map, and how they filled."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etm_jax.report._draw import ACCENT, INK, MUTED, SMALL, marker, over_generations, tint, to_svg
from etm_jax.report._run import column
from etm_jax.report._section import Key, Section
from etm_jax.report._words import counted, score

CURVES = {
    "hypervolume": "hypervolume of the front",
    "front_size": "members of the front",
    "coverage": "share of cells taken",
    "qd_score": "sum of the cells' fitness",
    "archive_size": "places of the ring taken",
    "archive_spread": "spread of the descriptors",
}
MOST_PAIRS = 3  # panels of two objectives
DRAWN_BINS = 10
Rows = Sequence[dict[str, Any]]


def members_of(run: Path) -> list[dict[str, Any]]:
    """The rows of `members.json`; none where the file is missing or broken."""
    try:
        rows = json.loads((run / "members.json").read_text())
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def members_sections(rows: Rows, members: Rows) -> list[Section]:
    """The archive's section; none of a run without an archive."""
    curves = [name for name in CURVES if rows and name in rows[-1]]
    if not curves:
        return []
    panels = [_curve(rows, name) for name in curves]
    keys: tuple[Key, ...] = ()
    title, reading = "The archive", "How the members that the run kept beside its population became more."
    if members and "objectives" in members[0]:
        title = "The front"
        reading = (
            "Each point is a network that no other found was better than in every objective; every objective is "
            "better to the right and upwards. The number of a member is its folder in members/."
        )
        pairs = itertools.islice(itertools.combinations(members[0]["objectives"], 2), MOST_PAIRS)
        panels = [_scatter(members, one, other) for one, other in pairs] + panels
        keys = (Key("member of the front", ACCENT, "ring"),)
    elif members and len(members[0].get("descriptors", {})) >= 2:
        title = "The map"
        reading = "The darker a cell, the fitter the best network found there; empty cells were never reached."
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
        over_generations(axes, CURVES[name].capitalize(), name.replace("_", " "))

    return _svg(draw, f"{CURVES[name].capitalize()}: {score(values[0])} at first, {score(values[-1])} at the end.")


def _scatter(members: Rows, one: str, other: str) -> str:
    across, up = (np.array([row["objectives"][name] for row in members], float) for name in (one, other))

    def draw(axes: Axes) -> None:
        axes.plot(across, up, "o", mfc="none", color=ACCENT, ms=5)
        axes.set(title=f"{_word(other)} over {_word(one)}", xlabel=_word(one), ylabel=_word(other))

    return _svg(draw, f"{counted(len(members), 'member')} of the front, {_word(other)} over {_word(one)}.")


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

    return _svg(draw, f"Map of {one} and {other}: {taken} of {grid.size} squares taken.")
