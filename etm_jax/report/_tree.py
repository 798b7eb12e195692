"""The champion's ancestry as a tree that grows downwards."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax.report._ancestry import GeneChange, Individual, Tree, changed_genes, lay_out, line_of_descent
from etm_jax.report._draw import INK, MUTED, PAPER, SECOND, to_svg
from etm_jax.report._section import Key, Section, counted, gene_word, value_word

TITLE = "Ancestry of the champion"
NUM_COLUMNS = 5
LABEL_ROOM = 15.0  # in widths of a column
MOST_LABELS = 40
CROWDED = 150  # generations; a longer line is drawn without branches
LABEL_HEIGHT = 0.155  # inches
WIDTH = 6.6  # inches
FITNESS_SCALE = LinearSegmentedColormap.from_list("fitness", ["#5b4bb5", "#2f8fd0", "#35b37e", "#e0b020"])


class Span(NamedTuple):
    """The first and the last generation that are drawn."""

    first: int
    last: int


def tree_section(individuals: dict[int, Individual], champion: int | None) -> Section:
    """The champion's line of descent, its branches, and the genes that changed along it."""
    if champion is None or champion not in individuals:
        return Section(TITLE, "The lineage on record does not hold a champion, so there is nothing to draw.")
    if len(individuals) == 1:
        created = individuals[champion].created
        return Section(TITLE, f"Individual {champion}, created in generation {created}, has no ancestors on record.")
    line = line_of_descent(individuals, champion)
    first, last = individuals[line[-1]].created, individuals[champion].created
    tree = lay_out(individuals, champion, NUM_COLUMNS if last - first <= CROWDED else 0)
    labels = chosen_labels(individuals, tree)
    changes = sum(bool(changed_genes(individuals, id)) for id in tree.line)
    rings = [Key("a gene changed", SECOND, "ring")] if labels else []
    notes = []
    if tree.left_out:
        notes.append(f"{len(tree.columns):,} of {len(individuals):,} ancestors are drawn; the rest are side branches.")
    if len(labels) < changes:
        notes.append(f"Of {changes} gene changes the {len(labels)} with the largest gain in fitness are marked.")
    alt = (
        f"Ancestry of individual {champion}: a line of {counted(len(tree.line), 'individual')} from generation {first} "
        f"to generation {last}, with {counted(changes, 'gene change')}."
    )
    return Section(
        title=TITLE,
        reading="Time runs down to the champion. The straight line on the right follows the fitter parents back to a "
        "founder; branches on the left are the other parents, up to where they join that line. Colour is the fitness "
        "at the first evaluation, and a ring marks a gene value that neither parent had.",
        panels=(
            to_svg(
                lambda figure: _draw(figure, individuals, tree, labels), (WIDTH, height_of(last - first) + 1.1), alt
            ),
        ),
        keys=(Key("the champion", "var(--ink)", "diamond"), *rings),
        notes=tuple(notes),
    )


def height_of(num_generations: int) -> float:
    """Inches between the founder and the champion."""
    return float(np.clip(0.12 * num_generations, 1.4, 9.5))


def chosen_labels(individuals: dict[int, Individual], tree: Tree) -> dict[int, str]:
    """The gene changes along the line in words, oldest first; of many, those with the largest gain in fitness."""

    def gain(id: int) -> float:
        value = individuals[id].fitness - individuals[individuals[id].parents[0]].fitness
        return -math.inf if math.isnan(value) else value

    changed = {id: changed_genes(individuals, id) for id in reversed(tree.line)}
    named = sorted((id for id in changed if changed[id]), key=gain, reverse=True)[:MOST_LABELS]
    return {id: ", ".join(_in_words(*item) for item in changed[id].items()) for id in changed if id in named}


def spaced(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions, moved as little as needed to lie `gap` apart between `low` and `high`, if there is room."""
    # Downwards to keep the gaps, then upwards again, for the last ones may lie beyond the end.
    placed: list[float] = []
    for position in positions:
        placed.append(max(position, low if not placed else placed[-1] + gap))
    ceiling = high
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def _in_words(gene: str, change: GeneChange) -> str:
    return f"{gene_word(gene)} {value_word(gene, change.before)} → {value_word(gene, change.after)}"


def _draw(figure: Figure, individuals: dict[int, Individual], tree: Tree, labels: dict[int, str]) -> None:
    axes = figure.add_subplot()
    created = [individuals[id].created for id in tree.columns]
    span = Span(min(created), max(created))
    _edges(axes, individuals, tree)
    nodes = _nodes(axes, individuals, tree, labels)
    _label(axes, individuals, labels, span)
    axes.set_xlim(-max(tree.columns.values()) - 0.6, LABEL_ROOM)
    axes.set_ylim(span.last + 0.8, span.first - 0.8)
    axes.set(ylabel="generation", xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    bar = figure.colorbar(nodes, ax=axes, location="top", shrink=0.5, aspect=28, pad=0.01, anchor=(0, 0))
    bar.set_label("fitness at the first evaluation")
    bar.outline.set_visible(False)


def _edges(axes: Axes, individuals: dict[int, Individual], tree: Tree) -> None:
    def place(id: int) -> tuple[float, float]:
        return float(-tree.columns[id]), float(individuals[id].created)

    line = set(tree.line)
    beside = [(place(child), place(parent)) for child, parent in tree.edges if not line.issuperset((child, parent))]
    axes.add_collection(LineCollection(beside, colors=MUTED, linewidths=0.7, alpha=0.7))
    axes.plot(*zip(*map(place, tree.line), strict=True), color=INK, lw=1.6)


def _nodes(axes: Axes, individuals: dict[int, Individual], tree: Tree, ringed: Collection[int]) -> PathCollection:
    known = [individuals[id].fitness for id in tree.columns if not math.isnan(individuals[id].fitness)] or [0.0, 1.0]
    colours = {"cmap": FITNESS_SCALE.with_extremes(bad=MUTED), "vmin": min(known), "vmax": max(known)}

    def dots(some: list[int], **look: Any) -> PathCollection:
        fitness = np.ma.masked_invalid([individuals[id].fitness for id in some])
        x, y = [-tree.columns[id] for id in some], [individuals[id].created for id in some]
        return axes.scatter(x, y, c=fitness, plotnonfinite=True, zorder=3, **colours, **look)

    crowded = individuals[tree.line[0]].created - individuals[tree.line[-1]].created > CROWDED
    dots([id for id, column in tree.columns.items() if column], s=13, edgecolors=PAPER, linewidths=0.4)
    nodes = dots(list(tree.line), s=10 if crowded else 34, edgecolors="none" if crowded else PAPER, linewidths=1.3)
    dots(list(ringed), s=34, edgecolors=SECOND, linewidths=1.3)
    axes.scatter(0, individuals[tree.line[0]].created, s=60, marker="D", color=INK, edgecolors=PAPER, zorder=4)
    return nodes


def _label(axes: Axes, individuals: dict[int, Individual], labels: dict[int, str], span: Span) -> None:
    length = span.last - span.first
    gap = (length + 2) / (height_of(length) / LABEL_HEIGHT)
    wanted = [float(individuals[id].created) for id in labels]
    for id, y in zip(labels, spaced(wanted, gap, span.first - 0.5, span.last + 0.5), strict=True):
        axes.plot([0.25, 0.8, 1.1], [individuals[id].created, y, y], color=SECOND, lw=0.5, alpha=0.8)
        axes.text(1.2, y, labels[id], fontsize=8, va="center")
