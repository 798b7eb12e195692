"""What each family and each kind of network took of the gradient steps, by what a step of its networks costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from etm_jax.report._draw import MUTED, TASK_COLOURS, label_axes, to_svg, with_key_below
from etm_jax.report._run import LineageRow
from etm_jax.report._section import Section, Table, counted, score, value_word, written

TITLE = "Compute spent"
MOST_DRAWN = 6  # parts with a colour of their own; the rest are drawn as one
MOST_BARS = 500  # drawn; of a longer run each bar is several generations
KINDS = ("controller", "memory")


class Part(NamedTuple):
    """What one family, or one kind, took in the run.

    Attributes:
        name: in words.
        work: gradient steps times multiply-adds in each generation.
        steps: gradient steps in all.
        individuals: how many there were.
        best: the greatest fitness; NaN where every evaluation failed.
        last: the last generation in which it had a place.
    """

    name: str
    work: np.ndarray
    steps: int
    individuals: int
    best: float
    last: int


def spending_sections(
    rows: Sequence[LineageRow], families: Mapping[int, int], champion: int | None, settings: dict[str, Any]
) -> list[Section]:
    """Compute by family and by kind; nothing where individuals do not learn.

    Args:
        rows: of the lineage.
        families: from `_ancestry.families`.
        champion: its id, if there is one.
        settings: of the run, for what its founders took before the first generation.
    """
    if not any(row.learning or row.spent for row in rows):
        return []
    rows = [row for row in rows if row.spent and len(row.ids)]
    total_steps = sum(int(row.spent["steps"].sum()) for row in rows)
    if not total_steps:
        return [Section(TITLE, "The lineage on record does not hold gradient steps, so there is nothing to draw.")]
    first_kinds = {id: kind for row in reversed(rows) for id, kind in zip(row.ids.tolist(), kinds_of(row), strict=True)}
    by_family = parts(rows, lambda row: [families[id] for id in row.ids.tolist()], _family_name(rows, first_kinds))
    by_kind = parts(rows, kinds_of, lambda kind: kind)
    panels, tables = [_panel("By family", by_family, rows)], [_table("family", by_family, rows)]
    if len(by_kind) > 1:
        panels.append(_panel("By controller and memory", by_kind, rows))
        tables.append(_table("controller, memory", by_kind, rows))
    return [
        Section(
            title=TITLE,
            reading="Shares of each generation's gradient steps times the multiply-adds of one step of the network. "
            "Scoring is not counted. A family is a random network with all its descendants; a child of two parents is "
            "of the first one's, whose weights it starts from. A kind that costs more takes more for the same number "
            "of steps.",
            panels=tuple(panels),
            notes=tuple(_notes(families, champion, total_steps, steps_of_raising(settings))),
            tables=tuple(tables),
        )
    ]


def work_of(row: LineageRow) -> np.ndarray:
    """Gradient steps times multiply-adds of each individual."""
    return row.spent["steps"] * row.spent["multiply_adds"]


def kinds_of(row: LineageRow) -> list[str]:
    """The controller and the memory of each individual in words; empty for genes without them."""
    words = [[value_word(gene, value) for value in row.genes[gene].tolist()] for gene in KINDS if gene in row.genes]
    return [", ".join(pair) for pair in zip(*words, strict=True)] if words else [""] * len(row.ids)


def parts(
    rows: Sequence[LineageRow], belongs: Callable[[LineageRow], Sequence[Any]], name: Callable[[Any], str]
) -> list[Part]:
    """What every part of the population took, the greatest first.

    Args:
        rows: with what was spent.
        belongs: the part that each individual of a row belongs to.
        name: of a part, in words.
    """
    work: dict[Any, np.ndarray] = {}
    steps: dict[Any, float] = {}
    ids: dict[Any, set[int]] = {}
    best: dict[Any, float] = {}
    last: dict[Any, int] = {}
    for place, row in enumerate(rows):
        each = (belongs(row), row.ids.tolist(), work_of(row), row.spent["steps"], row.fitness)
        for part, id, worked, stepped, fitness in zip(*each, strict=True):
            work.setdefault(part, np.zeros(len(rows)))[place] += worked
            steps[part] = steps.get(part, 0.0) + stepped
            ids.setdefault(part, set()).add(id)
            best[part] = float(np.fmax(best.get(part, math.nan), fitness))
            last[part] = row.generation
    found = [Part(name(one), work[one], int(steps[one]), len(ids[one]), best[one], last[one]) for one in work]
    return sorted(found, key=lambda part: -part.work.sum())


def _family_name(rows: Sequence[LineageRow], first_kinds: Mapping[int, str]) -> Callable[[int], str]:
    """The founder's id, its kind where kinds differ, and when it came where that was not at the start."""
    came = {id: row.generation for row in reversed(rows) for id in row.ids.tolist()}
    differ = len(set(first_kinds.values())) > 1

    def name(founder: int) -> str:
        if founder not in came:
            return f"{founder}, not on record"
        kind = f", {first_kinds[founder]}" if differ else ""
        later = f", from generation {came[founder]:,}" if came[founder] > rows[0].generation else ""
        return f"{founder}{kind}{later}"

    return name


def _drawn(found: Sequence[Part]) -> list[Part]:
    """The greatest parts, and the rest as one."""
    if len(found) <= MOST_DRAWN + 1:
        return list(found)
    rest = found[MOST_DRAWN:]
    best = [part.best for part in rest if not math.isnan(part.best)]
    return [
        *found[:MOST_DRAWN],
        Part(
            f"{len(rest):,} others",
            np.sum([part.work for part in rest], axis=0),
            sum(part.steps for part in rest),
            sum(part.individuals for part in rest),
            max(best, default=math.nan),
            max(part.last for part in rest),
        ),
    ]


def bars_of(drawn: Sequence[Part], generations: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The edges of the bars [bar + 1], and the share of each part in them [part bar]; 0 where none took a step."""
    first, last = generations[0], generations[-1]
    width = -(-(last - first + 1) // MOST_BARS)
    bars = (np.array(generations) - first) // width
    work = np.array([np.bincount(bars, part.work) for part in drawn])
    totals = work.sum(axis=0)
    return first - 0.5 + width * np.arange(len(totals) + 1), work / np.where(totals > 0, totals, 1)


def _panel(title: str, found: Sequence[Part], rows: Sequence[LineageRow]) -> str:
    drawn = _drawn(found)
    edges, shares = bars_of(drawn, [row.generation for row in rows])
    size, draw_key = with_key_below([part.name for part in drawn])
    colours = [MUTED if place >= MOST_DRAWN else TASK_COLOURS[place] for place in range(len(drawn))]

    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        heights = np.concatenate([shares, shares[:, -1:]], axis=1)  # each bar reaches to the next edge
        axes.stackplot(edges, heights, step="post", colors=colours, labels=[part.name for part in drawn], lw=0)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        label_axes(axes, title, "share of the compute")
        draw_key(figure)

    said = ", ".join(f"{part.name}: {share:.0%}" for part, share in zip(drawn, _of_all(drawn), strict=True))
    return to_svg(on, size, f"Compute {title.lower()} over {counted(len(rows), 'generation')}. In all {said}.")


def _table(what: str, found: Sequence[Part], rows: Sequence[LineageRow]) -> Table:
    drawn = _drawn(found)
    end = rows[-1].generation
    return Table(
        title=f"By {what}",
        head=(what, "share of the compute", "gradient steps", "individuals", "best fitness", "until generation"),
        rows=tuple(
            (
                part.name,
                f"{share:.1%}",
                written(part.steps),
                written(part.individuals),
                score(part.best),
                "the end" if part.last == end else f"{part.last:,}",
            )
            for part, share in zip(drawn, _of_all(drawn), strict=True)
        ),
    )


def _of_all(drawn: Sequence[Part]) -> list[float]:
    total = sum(float(part.work.sum()) for part in drawn)
    return [float(part.work.sum()) / total for part in drawn]


def _notes(families: Mapping[int, int], champion: int | None, steps: int, raising: int) -> list[str]:
    founder = None if champion is None else families.get(champion)
    notes = [] if founder is None else [f"The champion is of the family of {founder}."]
    if raising:
        notes.append(
            "The founders were chosen among more random networks before the first generation. That took "
            f"{raising:,} of {counted(raising + steps, 'gradient step')}, which are not in the figures, since the "
            "networks that were not chosen are not on record."
        )
    return notes


def steps_of_raising(settings: dict[str, Any]) -> int:
    """Gradient steps in which founders were chosen, over all that were born; 0 where as many were born as had a place.

    Rung i takes twice as many steps as the one before, of half as many networks.
    """
    lifetime = settings.get("model", {}).get("lifetime", {})
    births, steps, places = lifetime.get("births", 1), lifetime.get("steps", 0), settings.get("population_size", 0)
    rungs = range(births.bit_length() - 1)
    return sum((births * places >> rung) * ((steps << rung) // births) for rung in rungs)
