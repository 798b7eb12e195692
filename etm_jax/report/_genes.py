"""How each gene spread through the population and moved over the generations."""

from collections.abc import Callable, Sequence

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
    marker,
    over_generations,
    to_svg,
)
from etm_jax.report._run import LineageRow
from etm_jax.report._section import Key, Section
from etm_jax.report._words import GENE_UNITS, counted, gene_word, value_word

TITLE = "Genes"
MOST_ROWS = 500  # of a longer run some generations are passed over
Draw = Callable[[Axes], None]


def genes_section(rows: Sequence[LineageRow], champion: dict[str, int]) -> Section:
    """One small panel a gene; `champion` maps genes to the champion's values, and may be empty."""
    if not rows:
        return Section(TITLE, "No generation is on record yet, so there is nothing to draw.")
    step = -(-len(rows) // MOST_ROWS)
    rows = rows[::-step][::-1]
    keys = [
        Key("median", ACCENT, "line"),
        Key("middle 80 % of the population", ACCENT, "band"),
        Key("smallest and largest", ACCENT, "dashed"),
    ]
    if champion:
        keys.append(Key("the champion's value", SECOND, "diamond"))
    return Section(
        title=TITLE,
        reading="A wide band means that many sizes still compete, a band that narrows is a gene that selection (or "
        "chance) has settled, and the diamond at the right end is the value of the champion. The learning genes are "
        "factors on the settings of lifetime learning, 1 = as set, as they were at birth.",
        panels=tuple(
            [_panel(name, rows, champion.get(name)) for name in rows[-1].genes if _varies(name, rows)]
            + [_learning_panel(name, rows) for name in rows[-1].learning]
        ),
        keys=tuple(keys),
        notes=tuple(_notes(rows, step)),
    )


def _varies(gene: str, rows: Sequence[LineageRow]) -> bool:
    values = [row.genes[gene] for row in rows if gene in row.genes and len(row.ids)]
    return bool(values) and len(np.unique(np.concatenate(values))) > 1


def _notes(rows: Sequence[LineageRow], step: int) -> list[str]:
    """What is not drawn."""
    fixed = [name for name, values in rows[-1].genes.items() if not _varies(name, rows) and len(values)]
    same = ", ".join(f"{gene_word(name)} {value_word(name, int(rows[-1].genes[name][0]))}" for name in fixed)
    notes = [f"One generation in {step} is drawn."] if step > 1 else []
    return [*notes, f"The same for every individual at all times: {same}."] if same else notes


def spread(rows: Sequence[LineageRow], gene: str) -> np.ndarray:
    """Least, 10 % quantile, median, 90 % quantile and greatest value of a gene; one column a row."""
    return np.array([np.quantile((row.genes | row.learning)[gene], (0, 0.1, 0.5, 0.9, 1)) for row in rows]).T


def _panel(gene: str, rows: Sequence[LineageRow], champion: int | None) -> str:
    rows = [row for row in rows if gene in row.genes and len(row.ids)]
    draw, told = _shares(gene, rows, champion) if gene in CHOICES else _spread(gene, rows, champion)

    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        draw(axes)
        if gene in CHOICES:
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            over_generations(axes, gene_word(gene).capitalize(), "share of the population")
        else:
            axes.set_ylim(at_least_two_wide(axes.get_ylim()))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            over_generations(axes, gene_word(gene).capitalize(), GENE_UNITS.get(gene, "value"))

    return to_svg(on, SMALL, f"Gene {gene} over {counted(len(rows), 'generation')}. {told}")


def _learning_panel(gene: str, rows: Sequence[LineageRow]) -> str:
    rows = [row for row in rows if gene in row.learning and len(row.ids)]
    draw, told = _spread(gene, rows, None)

    def on(figure: Figure) -> None:
        axes = figure.add_subplot()
        draw(axes)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda factor, _: f"{factor:g}"))
        over_generations(axes, gene_word(gene).capitalize(), "factor")

    return to_svg(on, SMALL, f"Gene {gene} over {counted(len(rows), 'generation')}. {told}")


def _spread(gene: str, rows: Sequence[LineageRow], champion: int | None) -> tuple[Draw, str]:
    generations = [row.generation for row in rows]
    least, low, median, high, greatest = spread(rows, gene)

    def draw(axes: Axes) -> None:
        axes.fill_between(generations, low, high, color=ACCENT, alpha=0.25, lw=0)
        for edge in (least, greatest):
            axes.plot(generations, edge, color=ACCENT, lw=0.9, ls="--", alpha=0.8, marker=marker(rows))
        axes.plot(generations, median, color=ACCENT, marker=marker(rows))
        if champion is not None:
            _mark(axes, generations[-1], float(champion))

    ends = f"Median {median[0]:g} at the start and {median[-1]:g} at the end"
    return draw, f"{ends}; the champion has {champion}." if champion is not None else f"{ends}."


def _shares(gene: str, rows: Sequence[LineageRow], champion: int | None) -> tuple[Draw, str]:
    generations = [row.generation for row in rows]
    kinds = np.unique(np.concatenate([row.genes[gene] for row in rows]))
    share = {int(kind): [float(np.mean(row.genes[gene] == kind)) for row in rows] for kind in kinds}

    def draw(axes: Axes) -> None:
        for (kind, values), colour in zip(share.items(), TASK_COLOURS, strict=False):
            axes.plot(generations, values, color=colour, marker=marker(rows), label=value_word(gene, kind))
        axes.set_ylim(-0.03, 1.03)
        axes.legend(frameon=False, fontsize="small")
        if champion is not None:
            _mark(axes, generations[-1], share[champion][-1] if champion in share else 0.0)

    ends = [f"{value_word(gene, kind)} {values[0]:.0%} to {values[-1]:.0%}" for kind, values in share.items()]
    told = f"Shares from the start to the end: {', '.join(ends)}"
    return draw, f"{told}; the champion has {value_word(gene, champion)}." if champion is not None else f"{told}."


def _mark(axes: Axes, generation: int, value: int | float) -> None:
    axes.plot(generation, value, "D", color=SECOND, mec=PAPER, mew=0.8, ms=7, clip_on=False, zorder=5)
