"""Who the champion descends from: a walk back through the lineage, and where each ancestor stands in the drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from etm_jax.report._run import NO_PARENT, LineageRow


@dataclass(frozen=True)
class Individual:
    """One ancestor, or the champion itself.

    Attributes:
        id: its id.
        created: the first generation that lists it.
        parents: the one or two known parents, the fitter first; empty for a founder.
        fitness: of its first evaluation; NaN where that failed.
        genes: values by name.
    """

    id: int
    created: int
    parents: tuple[int, ...]
    fitness: float
    genes: dict[str, int]


@dataclass(frozen=True)
class Tree:
    """What is drawn of an ancestry.

    Attributes:
        line: the line of descent, the champion first.
        columns: the column of every individual drawn; the line has column 0.
        edges: pairs of (child, parent), both drawn.
        left_out: ancestors that found no room.
    """

    line: tuple[int, ...]
    columns: dict[int, int]
    edges: tuple[tuple[int, int], ...]
    left_out: int


def best_of(row: LineageRow) -> int | None:
    """The id of the fittest individual of a generation; None if every evaluation failed."""
    ranked = [(fitness, -index) for index, fitness in enumerate(row.fitness) if not math.isnan(fitness)]
    return int(row.ids[-max(ranked)[1]]) if ranked else None


def ancestry(rows: Sequence[LineageRow], champion: int) -> dict[int, Individual]:
    """The champion and all its ancestors by id, found by walking from the last row to the first.

    An individual that survives is listed in many rows; it counts as created in the first. Ids that no row lists are
    left out, also from their children's parents.
    """
    wanted, births = {champion}, {}
    for row in reversed(rows):
        for index in [index for index, one in enumerate(row.ids.tolist()) if one in wanted]:
            births[int(row.ids[index])] = (row, index)
            wanted.update(parent for parent in row.parents[index].tolist() if parent != NO_PARENT)
    people: dict[int, Individual] = {}
    for one, (row, index) in sorted(births.items(), key=lambda item: item[1][0].generation):
        known = {p for p in row.parents[index].tolist() if p in people and people[p].created < row.generation}
        order = row.parents[index].tolist().index
        people[one] = Individual(
            id=one,
            created=row.generation,
            parents=tuple(sorted(known, key=lambda parent: (-_finite(people[parent].fitness), order(parent)))),
            fitness=float(row.fitness[index]),
            genes={name: int(values[index]) for name, values in row.genes.items()},
        )
    return people


def line_of_descent(people: dict[int, Individual], start: int) -> list[int]:
    """From `start` back to a founder, always through the fitter parent."""
    line = [start]
    while people[line[-1]].parents:
        line.append(people[line[-1]].parents[0])
    return line


def changed_genes(people: dict[int, Individual], one: int) -> dict[str, tuple[int, int]]:
    """Genes whose value no parent has, each with the fitter parent's value and the new one."""
    parents = [people[parent] for parent in people[one].parents]
    if not parents:
        return {}
    return {
        name: (parents[0].genes[name], value)
        for name, value in people[one].genes.items()
        if all(parent.genes.get(name, value) != value for parent in parents)
    }


def lay_out(people: dict[int, Individual], champion: int, num_columns: int) -> Tree:
    """Give the line of descent column 0, and the other parents' lines free stretches of columns 1 to `num_columns`.

    A branch follows fitter parents until it meets one that is drawn. The youngest branches come first; one that
    finds no free column is left out, and so are the branches of branches.
    """
    line = line_of_descent(people, champion)
    columns = dict.fromkeys(line, 0)
    taken: list[list[tuple[int, int]]] = [[] for _ in range(num_columns)]
    for other in (parent for one in line for parent in people[one].parents[1:]):
        branch = list(takewhile(lambda one: one not in columns, line_of_descent(people, other)))
        if not branch:
            continue
        first, last = people[branch[-1]].created, people[branch[0]].created
        free = (n for n, spans in enumerate(taken) if all(last < start or end < first for start, end in spans))
        column = next(free, None)
        if column is not None:
            taken[column].append((first, last))
            columns.update(dict.fromkeys(branch, column + 1))
    edges = tuple((one, parent) for one in columns for parent in people[one].parents if parent in columns)
    return Tree(line=tuple(line), columns=columns, edges=edges, left_out=len(people) - len(columns))


def _finite(fitness: float) -> float:
    return -math.inf if math.isnan(fitness) else fitness
