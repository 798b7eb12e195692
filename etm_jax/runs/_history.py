"""What happened in each generation, as plain rows for files, tables and people."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etm_jax.runs._rows import Row, by_task, plain
from etm_jax.environment import AnySuite


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
    generation: int, metrics: dict[str, Any], suite: AnySuite, compile_seconds: float, run_seconds: float
) -> Row:
    """The summary of one generation.

    Means are over the individuals whose evaluation did not fail; `best` is the fittest of them.
    """
    alive, best = np.asarray(metrics["alive"]), int(metrics["best"])
    size = alive.size

    def mean(values: Any) -> float | None:
        return plain(np.mean(np.asarray(values)[alive])) if alive.any() else None

    performance = np.asarray(metrics["performance"])
    ever = alive.any()
    return {
        "generation": generation,
        "best_fitness": plain(metrics["fitness"][best]) if ever else None,
        "mean_fitness": mean(metrics["fitness"]),
        "best_performance": by_task(suite.names, performance[best]),
        "mean_performance": {name: mean(performance[:, index]) for index, name in enumerate(suite.names)},
        "best_accuracy": by_task(suite.names, metrics["accuracy"][best]),
        "best_efficiency": plain(metrics["efficiency"][best]),
        "mean_efficiency": mean(metrics["efficiency"]),
        "best_loss": plain(metrics["loss"][best]),
        "difficulty": by_task(suite.names, metrics["difficulty"]),
        "padding_efficiency": plain(metrics["padding_efficiency"]),
        "diversity": plain(metrics["diversity"]),
        "failed": int(size - alive.sum()),
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(run_seconds, 3),
        "individuals_per_second": round(size / run_seconds, 3) if run_seconds > 0 else None,
    }


def lineage_row(generation: int, metrics: dict[str, Any]) -> Row:
    """Who lived in one generation, from whom, with which genes, as they were at birth, and which fitness."""
    alive = np.asarray(metrics["alive"])
    return {
        "generation": generation,
        "id": np.asarray(metrics["ids"]).tolist(),
        "parents": np.asarray(metrics["parents"]).tolist(),
        "fitness": [
            plain(value) if lives else None for value, lives in zip(np.asarray(metrics["fitness"]), alive, strict=True)
        ],
        "learning": {
            name: [plain(factor) for factor in np.asarray(factors)] for name, factors in metrics["learning"].items()
        },
        "genes": {name: np.asarray(values).tolist() for name, values in metrics["genes"].items()},
    }
