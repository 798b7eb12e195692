"""What happened in each generation, as plain rows for files, tables and people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import IntScalar, Scalar, pytree
from etm_jax.runs._rows import Row, at_length, by_task, plain

NO_ID = -1  # of the parents of a genome drawn at random, and of the champion before there is one


@pytree
class GenerationRecord:
    """What happened in one generation, or in several with a leading axis.

    Attributes:
        best: index of the fittest individual.
        fitness: maximised; NaN for a failed evaluation.
        alive: True = evaluated with finite numbers.
        performance: at each task.
        accuracy: at each task.
        loss: of the suite.
        efficiency: how cheap each individual is.
        difficulty: of each task.
        padding_efficiency: useful over executed work.
        diversity: of the genes.
        ids: of the individuals.
        parents: their parents' ids, `NO_ID` for none.
        genes: by name.
        learning: the learning genes by name; none where nothing is learned.
        spent: each individual's gradient `steps`, and the `multiply_adds` of one step of its network; nothing where
            nothing is learned.
        archive: what the archive puts on record.
        longer: the performance at each task at the longer lengths of the fitness, by multiple.
    """

    best: IntScalar
    fitness: Float[Array, "*generation population"]
    alive: Bool[Array, "*generation population"]
    performance: Float[Array, "*generation population task"]
    accuracy: Float[Array, "*generation population task"]
    loss: Float[Array, "*generation population"]
    efficiency: Float[Array, "*generation population"]
    difficulty: Float[Array, "*generation task"]
    padding_efficiency: Scalar
    diversity: Scalar
    ids: Int[Array, "*generation population"]
    parents: Int[Array, "*generation population 2"]
    genes: dict[str, Int[Array, "*generation population"]]
    learning: dict[str, Float[Array, "*generation population"]]
    spent: dict[str, Array]
    archive: dict[str, Array]
    longer: dict[int, Float[Array, "*generation population task"]]


@dataclass(frozen=True)
class History:
    """One row a generation, as `metrics.jsonl` holds them, and one for each member of the archive at the end."""

    rows: list[Row] = field(default_factory=list)
    members: list[Row] = field(default_factory=list)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns by name."""
        return {name: [row[name] for row in self.rows] for name in (self.rows[0] if self.rows else {})}

    def front(self) -> list[Row]:
        """The members that no other dominates, the best at the first objective in front.

        Raises:
            ValueError: the run kept no members with objectives.
        """
        if not self.members or "objectives" not in self.members[0]:
            raise ValueError("the run kept no front; evolve with selection nsga2 or the archive front")
        objectives = np.array([list(row["objectives"].values()) for row in self.members])
        better = np.all(objectives[:, None] >= objectives, axis=2) & np.any(objectives[:, None] > objectives, axis=2)
        order = np.lexsort(-objectives.T[::-1])
        return [self.members[index] for index in order if not np.any(better[:, index])]

    def __len__(self) -> int:
        return len(self.rows)


def metrics_row(
    generation: int, record: GenerationRecord, tasks: Sequence[str], compile_seconds: float, run_seconds: float
) -> Row:
    """The summary of one generation.

    Means are over the individuals whose evaluation did not fail; `best` is the fittest of them.
    """
    alive, best = np.asarray(record.alive), int(record.best)
    size = alive.size

    def mean(values: Any) -> float | None:
        return plain(np.mean(np.asarray(values)[alive])) if alive.any() else None

    performance = np.asarray(record.performance)
    ever = alive.any()
    return {
        "generation": generation,
        "best_fitness": plain(record.fitness[best]) if ever else None,
        "mean_fitness": mean(record.fitness),
        "best_performance": by_task(tasks, performance[best]),
        **{at_length("best_performance", length): by_task(tasks, at[best]) for length, at in record.longer.items()},
        "mean_performance": {name: mean(performance[:, index]) for index, name in enumerate(tasks)},
        "best_accuracy": by_task(tasks, record.accuracy[best]),
        "best_efficiency": plain(record.efficiency[best]),
        "mean_efficiency": mean(record.efficiency),
        "best_loss": plain(record.loss[best]),
        "difficulty": by_task(tasks, record.difficulty),
        "padding_efficiency": plain(record.padding_efficiency),
        "diversity": plain(record.diversity),
        "failed": int(size - alive.sum()),
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(run_seconds, 3),
        "individuals_per_second": round(size / run_seconds, 3) if run_seconds > 0 else None,
    }


def lineage_row(generation: int, record: GenerationRecord) -> Row:
    """Who lived in one generation, from whom, with which genes, as they were at birth, which fitness, at what cost."""
    alive = np.asarray(record.alive)
    return {
        "generation": generation,
        "id": np.asarray(record.ids).tolist(),
        "parents": np.asarray(record.parents).tolist(),
        "fitness": [
            plain(value) if lives else None for value, lives in zip(np.asarray(record.fitness), alive, strict=True)
        ],
        "learning": {
            name: [plain(factor) for factor in np.asarray(factors)] for name, factors in record.learning.items()
        },
        "spent": {name: np.asarray(values).tolist() for name, values in record.spent.items()},
        "genes": {name: np.asarray(values).tolist() for name, values in record.genes.items()},
    }
