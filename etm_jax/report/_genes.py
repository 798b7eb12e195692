"""The distribution of each gene in the population over the generations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from etm_jax.networks.genome._genes import CHOICES
from etm_jax.report._draw import (
    ACCENT,
    PAPER,
    SECOND,
    SMALL,
    TASK_COLOURS,
    at_least_two_wide,
    label_axes,
    marker,
    to_svg,
    with_key_below,
)
from etm_jax.report._rises import rises_table, shares_of
from etm_jax.report._run import LineageRow
from etm_jax.report._section import GENE_UNITS, Key, Section, counted, gene_word, value_word

TITLE = "Genes"
MOST_ROWS = 500  # drawn; generations of a longer run are thinned out
ROSE = (
    "The table has the kinds whose share grew. Chance alone can do that: without selection, a kind takes over a small "
    "population with a probability of about its share at the start. A rise that paid should show as a lead in fitness "
    "of those with the kind over those without, in most generations in which there were both. The lead is of whole "
    "networks, with all their other genes and weights. The last column has in how many families the kind was as it "
    "began to rise and at the end: in a single one it may have risen with whatever else made that family fit. A kind "
    "that the rest of a network does not use, such as addressing without a memory, only drifts."
)


class Drawing(NamedTuple):
    """How a gene is drawn, and what the drawing says in a sentence."""

    draw: Callable[[Axes], None]
    summary: str


def genes_section(rows: Sequence[LineageRow], champion: dict[str, int], families: Mapping[int, int]) -> Section:
    """One small panel a gene, and the kinds that rose.

    Args:
        rows: of the lineage.
        champion: maps genes to the champion's values, or is empty.
        families: from `_ancestry.families`.
    """
    if not rows:
        return Section(TITLE, "No generation is on record yet, so there is nothing to draw.")
    rose = rises_table(rows, families)
    step = -(-len(rows) // MOST_ROWS)
    rows = rows[::-step][::-1]  # the last generation is always drawn
    keys = [
        Key("median", ACCENT, "line"),
        Key("middle 80 % of the population", ACCENT, "band"),
        Key("smallest and largest", ACCENT, "dashed"),
    ]
    if champion:
        keys.append(Key("the champion's value", SECOND, "diamond"))
    return Section(
        title=TITLE,
        reading="A wide band means that many values still compete; a narrowing band means that selection or chance has "
        "settled the gene. The diamond at the right is the champion's value. Learning genes are factors on the "
        "settings of lifetime learning (1 = as set), at the start of the lifetime.",
        panels=tuple(
            [_panel(name, rows, champion.get(name)) for name in _choices_first(rows[-1].genes) if _varies(name, rows)]
            + [_learning_panel(name, rows) for name in rows[-1].learning]
        ),
        keys=tuple(keys),
        notes=(*_notes(rows, step), *([ROSE] if rose else [])),
        tables=(rose,) if rose else (),
    )


def _choices_first(genes: Iterable[str]) -> list[str]:
    """The genes that choose a kind in front, whose panels are higher for their keys."""
    return sorted(genes, key=lambda gene: gene not in CHOICES)


def _varies(gene: str, rows: Sequence[LineageRow]) -> bool:
    values = [row.genes[gene] for row in rows if gene in row.genes and len(row.ids)]
    return bool(values) and len(np.unique(np.concatenate(values))) > 1


def _notes(rows: Sequence[LineageRow], step: int) -> list[str]:
    """Sentences on what is not drawn."""
    fixed = [name for name, values in rows[-1].genes.items() if not _varies(name, rows) and len(values)]
    same = ", ".join(f"{gene_word(name)} {value_word(name, int(rows[-1].genes[name][0]))}" for name in fixed)
    notes = [f"One generation in {step} is drawn."] if step > 1 else []
    return [*notes, f"The same for every individual at all times: {same}."] if same else notes


def spread(rows: Sequence[LineageRow], gene: str) -> np.ndarray:
    """Minimum, 10 % quantile, median, 90 % quantile and maximum of a gene, [5 generation]."""
    return np.array([np.quantile((row.genes | row.learning)[gene], (0, 0.1, 0.5, 0.9, 1)) for row in rows]).T


def _panel(gene: str, rows: Sequence[LineageRow], champion: int | None) -> str:
    rows = [row for row in rows if gene in row.genes and len(row.ids)]
    if gene in CHOICES:
        return _choice_panel(gene, rows, champion)
    drawing = _spread(gene, rows, champion)

    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        drawing.draw(axes)
        axes.set_ylim(at_least_two_wide(axes.get_ylim()))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        label_axes(axes, gene_word(gene).capitalize(), GENE_UNITS.get(gene, "value"))

    return to_svg(on, SMALL, f"Gene {gene} over {counted(len(rows), 'generation')}. {drawing.summary}")


def _choice_panel(gene: str, rows: Sequence[LineageRow], champion: int | None) -> str:
    share = shares_of(rows, gene)
    drawing = _shares(gene, rows, share, champion)
    size, draw_key = with_key_below([value_word(gene, kind) for kind in share])

    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        drawing.draw(axes)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        label_axes(axes, gene_word(gene).capitalize(), "share of the population")
        draw_key(figure)

    return to_svg(on, size, f"Gene {gene} over {counted(len(rows), 'generation')}. {drawing.summary}")


def _learning_panel(gene: str, rows: Sequence[LineageRow]) -> str:
    rows = [row for row in rows if gene in row.learning and len(row.ids)]
    drawing = _spread(gene, rows, None)

    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        drawing.draw(axes)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda factor, _: f"{factor:g}"))
        label_axes(axes, gene_word(gene).capitalize(), "factor")

    return to_svg(on, SMALL, f"Gene {gene} over {counted(len(rows), 'generation')}. {drawing.summary}")


def _spread(gene: str, rows: Sequence[LineageRow], champion: int | None) -> Drawing:
    generations = [row.generation for row in rows]
    least, low, median, high, greatest = spread(rows, gene)

    def draw(axes: Axes) -> None:
        axes.fill_between(generations, low, high, color=ACCENT, alpha=0.25, lw=0)
        for edge in (least, greatest):
            axes.plot(generations, edge, color=ACCENT, lw=0.9, ls="--", alpha=0.8, marker=marker(rows))
        axes.plot(generations, median, color=ACCENT, marker=marker(rows))
        if champion is not None:
            _mark(axes, generations[-1], float(champion))

    ends = f"Median {median[0]:.4g} at the start and {median[-1]:.4g} at the end"
    return Drawing(draw, f"{ends}." if champion is None else f"{ends}; the champion has {champion}.")


def _shares(gene: str, rows: Sequence[LineageRow], share: Mapping[int, np.ndarray], champion: int | None) -> Drawing:
    generations = [row.generation for row in rows]

    def draw(axes: Axes) -> None:
        for (kind, values), colour in zip(share.items(), TASK_COLOURS, strict=False):
            axes.plot(generations, values, color=colour, marker=marker(rows), label=value_word(gene, kind))
        axes.set_ylim(-0.03, 1.03)
        if champion is not None:
            _mark(axes, generations[-1], share[champion][-1] if champion in share else 0.0)

    ends = [f"{value_word(gene, kind)} {values[0]:.0%} to {values[-1]:.0%}" for kind, values in share.items()]
    shares = f"Shares from the start to the end: {', '.join(ends)}"
    word = "" if champion is None else f"; the champion has {value_word(gene, champion)}"
    return Drawing(draw, f"{shares}{word}.")


def _mark(axes: Axes, generation: int, value: float) -> None:
    """The champion's diamond, above the curves and not cut off at the edge."""
    axes.plot(generation, value, "D", color=SECOND, mec=PAPER, mew=0.8, ms=7, clip_on=False, zorder=5)
