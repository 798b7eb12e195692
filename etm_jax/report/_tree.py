"""The ancestry of the champion as a tree that grows downwards."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax.report._ancestry import Individual, Tree, changed_genes, lay_out, line_of_descent
from etm_jax.report._draw import INK, MUTED, PAPER, SECOND, to_svg
from etm_jax.report._section import Key, Section
from etm_jax.report._words import counted, gene_word, value_word

TITLE = "Ancestry of the champion"
NUM_LANES = 5
LABEL_ROOM = 15.0  # columns' widths
MOST_LABELS = 40
CROWDED = 150  # generations; a longer line is drawn without branches
LABEL_HEIGHT = 0.155  # inches
WIDTH = 6.6  # inches
FITNESS_SCALE = LinearSegmentedColormap.from_list("fitness", ["#5b4bb5", "#2f8fd0", "#35b37e", "#e0b020"])


def tree_section(people: dict[int, Individual], champion: int | None) -> Section:
    """The champion's line of descent, its branches, and the genes that changed on the way."""
    if champion is None or champion not in people:
        return Section(TITLE, "The lineage on record does not hold a champion, so there is nothing to draw.")
    if len(people) == 1:
        created = people[champion].created
        return Section(TITLE, f"Individual {champion}, created in generation {created}, has no ancestors on record.")
    line = line_of_descent(people, champion)
    first, last = people[line[-1]].created, people[champion].created
    tree = lay_out(people, champion, NUM_LANES if last - first <= CROWDED else 0)
    labels = chosen_labels(people, tree)
    changes = sum(bool(changed_genes(people, one)) for one in tree.line)
    rings = [Key("a gene changed", SECOND, "ring")] if labels else []
    notes = []
    if tree.left_out:
        notes.append(f"{len(tree.columns):,} of {len(people):,} ancestors are drawn; the rest are side branches.")
    if len(labels) < changes:
        notes.append(f"{len(labels)} of the {changes} gene changes are marked, those with the largest gain in fitness.")
    alt = (
        f"Ancestry of individual {champion}: a line of {counted(len(tree.line), 'individual')} from generation {first} "
        f"to generation {last}, with {counted(changes, 'gene change')}."
    )
    return Section(
        title=TITLE,
        reading="Time runs downwards to the champion at the foot: the straight line on the right follows the fitter "
        "parent back, branches on the left are the other parents up to where their own lines join it, colour is the "
        "fitness at birth, and a ring marks a gene value that neither parent had.",
        panels=(
            to_svg(lambda figure: _draw(figure, people, tree, labels), (WIDTH, height_of(last - first) + 1.1), alt),
        ),
        keys=(Key("the champion", "var(--ink)", "diamond"), *rings),
        notes=tuple(notes),
    )


def height_of(num_generations: int) -> float:
    """Inches between the founder and the champion."""
    return float(np.clip(0.12 * num_generations, 1.4, 9.5))


def chosen_labels(people: dict[int, Individual], tree: Tree) -> dict[int, str]:
    """What changed at the individuals of the line, oldest first; the largest gains in fitness if there are many."""

    def gain(one: int) -> float:
        value = people[one].fitness - people[people[one].parents[0]].fitness
        return -math.inf if math.isnan(value) else value

    changed = {one: changed_genes(people, one) for one in reversed(tree.line)}
    named = sorted((one for one in changed if changed[one]), key=gain, reverse=True)[:MOST_LABELS]
    return {one: ", ".join(_change(*item) for item in changed[one].items()) for one in changed if one in named}


def spaced(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions, moved as little as needed to lie `gap` apart between `low` and `high`, if there is room."""
    placed: list[float] = []
    for position in positions:
        placed.append(max(position, low if not placed else placed[-1] + gap))
    ceiling = high
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def _change(gene: str, values: tuple[int, int]) -> str:
    before, after = (value_word(gene, value) for value in values)
    return f"{gene_word(gene)} {before} → {after}"


def _draw(figure: Figure, people: dict[int, Individual], tree: Tree, labels: dict[int, str]) -> None:
    axes = figure.add_subplot()
    births = [people[one].created for one in tree.columns]
    _edges(axes, people, tree)
    nodes = _nodes(axes, people, tree, labels)
    _label(axes, people, labels, (min(births), max(births)))
    axes.set_xlim(-max(tree.columns.values()) - 0.6, LABEL_ROOM)
    axes.set_ylim(max(births) + 0.8, min(births) - 0.8)
    axes.set(ylabel="generation of birth", xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    bar = figure.colorbar(nodes, ax=axes, location="top", shrink=0.5, aspect=28, pad=0.01, anchor=(0, 0))
    bar.set_label("fitness at birth")
    bar.outline.set_visible(False)


def _edges(axes: Axes, people: dict[int, Individual], tree: Tree) -> None:
    def place(one: int) -> tuple[float, float]:
        return float(-tree.columns[one]), float(people[one].created)

    line = set(tree.line)
    beside = [(place(a), place(b)) for a, b in tree.edges if not line.issuperset((a, b))]
    axes.add_collection(LineCollection(beside, colors=MUTED, linewidths=0.7, alpha=0.7))
    axes.plot(*zip(*map(place, tree.line), strict=True), color=INK, lw=1.6)


def _nodes(axes: Axes, people: dict[int, Individual], tree: Tree, ringed: Collection[int]) -> PathCollection:
    known = [people[one].fitness for one in tree.columns if not math.isnan(people[one].fitness)] or [0.0, 1.0]
    colours = {"cmap": FITNESS_SCALE.with_extremes(bad=MUTED), "vmin": min(known), "vmax": max(known)}

    def dots(some: list[int], **look: Any) -> PathCollection:
        fitness = np.ma.masked_invalid([people[one].fitness for one in some])
        x, y = [-tree.columns[one] for one in some], [people[one].created for one in some]
        return axes.scatter(x, y, c=fitness, plotnonfinite=True, zorder=3, **colours, **look)

    crowded = people[tree.line[0]].created - people[tree.line[-1]].created > CROWDED
    dots([one for one, column in tree.columns.items() if column], s=13, edgecolors=PAPER, linewidths=0.4)
    nodes = dots(list(tree.line), s=10 if crowded else 34, edgecolors="none" if crowded else PAPER, linewidths=1.3)
    dots(list(ringed), s=34, edgecolors=SECOND, linewidths=1.3)
    axes.scatter(0, people[tree.line[0]].created, s=60, marker="D", color=INK, edgecolors=PAPER, zorder=4)
    return nodes


def _label(axes: Axes, people: dict[int, Individual], labels: dict[int, str], span: tuple[int, int]) -> None:
    first, last = span
    births = [float(people[one].created) for one in labels]
    gap = (last - first + 2) / (height_of(last - first) / LABEL_HEIGHT)
    for one, y in zip(labels, spaced(births, gap, first - 0.5, last + 0.5), strict=True):
        axes.plot([0.25, 0.8, 1.1], [people[one].created, y, y], color=SECOND, lw=0.5, alpha=0.8)
        axes.text(1.2, y, labels[one], fontsize=8, va="center")
