"""Descent, found in the lineage: the family of every individual, and the champion's ancestors with their places."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from etm_jax.report._run import LineageRow
from etm_jax.runs._history import NO_ID


@dataclass(frozen=True)
class Individual:
    """One ancestor, or the champion itself.

    Attributes:
        id: its id.
        created: the first generation that lists it.
        parents: its one or two known parents, the fitter first; empty for a founder.
        fitness: of its first evaluation; NaN where that failed.
        genes: values by name.
    """

    id: int
    created: int
    parents: tuple[int, ...]
    fitness: float
    genes: dict[str, int]


class GeneChange(NamedTuple):
    """A gene's value in the fitter parent, and in the child."""

    before: int
    after: int


@dataclass(frozen=True)
class Tree:
    """The part of an ancestry that is drawn.

    Attributes:
        line: the line of descent, the champion first.
        columns: the column of every individual drawn; the line has column 0.
        edges: pairs of (child, parent), both drawn.
        left_out: the number of ancestors that are not drawn.
    """

    line: tuple[int, ...]
    columns: dict[int, int]
    edges: tuple[tuple[int, int], ...]
    left_out: int


def best_of(row: LineageRow) -> int | None:
    """The id of the fittest individual of a generation; None if every evaluation failed."""
    ranked = [(fitness, -index) for index, fitness in enumerate(row.fitness) if not math.isnan(fitness)]
    return int(row.ids[-max(ranked)[1]]) if ranked else None


def families(rows: Sequence[LineageRow]) -> dict[int, int]:
    """The founder of every individual: a random genome, from which it descends through first parents.

    A child of two parents is of the first one's family, whose weights it starts from. Where the record lacks a parent,
    that one counts as the founder.
    """
    founders: dict[int, int] = {}
    for row in rows:
        for id, first in zip(map(int, row.ids), map(int, row.parents[:, 0]), strict=True):
            if id not in founders:
                founders[id] = id if first == NO_ID else founders.get(first, first)
    return founders


def ancestry(rows: Sequence[LineageRow], champion: int) -> dict[int, Individual]:
    """The champion and all its ancestors by id.

    A survivor is listed in many rows and counts as created in the first. Ids that no row lists are left out, also from
    their children's parents.
    """
    # Backwards, so that a child names its parents before their rows are read, and a survivor's first row is kept.
    wanted, found = {champion}, {}
    for row in reversed(rows):
        for index in [index for index, id in enumerate(row.ids.tolist()) if id in wanted]:
            found[int(row.ids[index])] = (row, index)
            wanted.update(parent for parent in row.parents[index].tolist() if parent != NO_ID)
    individuals: dict[int, Individual] = {}
    for id, (row, index) in sorted(found.items(), key=lambda item: item[1][0].generation):
        # A parent must be older than its child: a damaged record may hold loops.
        known = {p for p in row.parents[index].tolist() if p in individuals and individuals[p].created < row.generation}
        order = row.parents[index].tolist().index
        individuals[id] = Individual(
            id=id,
            created=row.generation,
            parents=tuple(sorted(known, key=lambda parent: (-_finite(individuals[parent].fitness), order(parent)))),
            fitness=float(row.fitness[index]),
            genes={name: int(values[index]) for name, values in row.genes.items()},
        )
    return individuals


def line_of_descent(individuals: dict[int, Individual], start: int) -> list[int]:
    """From `start` back to a founder, always through the fitter parent."""
    line = [start]
    while individuals[line[-1]].parents:
        line.append(individuals[line[-1]].parents[0])
    return line


def changed_genes(individuals: dict[int, Individual], id: int) -> dict[str, GeneChange]:
    """The genes whose value no parent has."""
    parents = [individuals[parent] for parent in individuals[id].parents]
    if not parents:
        return {}
    return {
        name: GeneChange(before=parents[0].genes[name], after=value)
        for name, value in individuals[id].genes.items()
        if all(parent.genes.get(name, value) != value for parent in parents)
    }


def lay_out(individuals: dict[int, Individual], champion: int, num_columns: int) -> Tree:
    """Put the line of descent into column 0, and branches into free stretches of columns 1 to `num_columns`.

    A branch is the line of another parent, up to the first individual already drawn. The youngest branches come first.
    Branches without a free column are left out, and so are branches of branches.
    """
    line = line_of_descent(individuals, champion)
    columns = dict.fromkeys(line, 0)
    taken: list[list[tuple[int, int]]] = [[] for _ in range(num_columns)]
    for other in (parent for id in line for parent in individuals[id].parents[1:]):
        branch = list(takewhile(lambda id: id not in columns, line_of_descent(individuals, other)))
        if not branch:
            continue
        first, last = individuals[branch[-1]].created, individuals[branch[0]].created
        free = (n for n, spans in enumerate(taken) if all(last < start or end < first for start, end in spans))
        column = next(free, None)
        if column is not None:
            taken[column].append((first, last))
            columns.update(dict.fromkeys(branch, column + 1))
    edges = tuple((child, parent) for child in columns for parent in individuals[child].parents if parent in columns)
    return Tree(line=tuple(line), columns=columns, edges=edges, left_out=len(individuals) - len(columns))


def _finite(fitness: float) -> float:
    return -math.inf if math.isnan(fitness) else fitness
