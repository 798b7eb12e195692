"""A run folder as the report reads it: finished, stopped or damaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from etm_jax._files import read_json
from etm_jax.runs._folder import LINEAGE, METRICS
from etm_jax.runs._rows import Row, ranges_of, read_rows

MOST_BYTES = 2**26  # of summary.json or members.json


@dataclass(frozen=True)
class LineageRow:
    """One generation of `lineage.jsonl`; entry i of every array belongs to individual i.

    Attributes:
        generation: its number.
        ids: each individual's id, which a survivor keeps.
        parents: two ids an individual, `NO_ID` where there is none.
        fitness: NaN where the evaluation failed.
        genes: values of the architecture genes by name.
        learning: factors of the learning genes by name; empty in runs that have none.
        spent: gradient `steps`, and the `multiply_adds` of one step of the network; empty where nothing is learned.
    """

    generation: int
    ids: np.ndarray
    parents: np.ndarray
    fitness: np.ndarray
    genes: dict[str, np.ndarray]
    learning: dict[str, np.ndarray] = field(default_factory=dict)
    spent: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """What could be read of a run.

    Attributes:
        name: of the folder.
        config: the text of `config.toml`; None where it is missing.
        metrics: rows of `metrics.jsonl`, oldest first.
        lineage: rows of `lineage.jsonl`, oldest first; empty for a training.
        summary: `summary.json`; empty for an unfinished run.
        notes: what is missing or unreadable, in sentences.
    """

    name: str
    config: str | None
    metrics: tuple[Row, ...]
    lineage: tuple[LineageRow, ...]
    summary: dict[str, Any]
    notes: tuple[str, ...]


def read_run(run: Path, counter: str = "generation") -> RunRecord:
    """Read what a run folder holds; what it lacks is noted, not refused.

    Args:
        run: the folder.
        counter: the field that counts its rows; only generations have a lineage.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"run must be an existing run folder, got {run}")
    notes: list[str] = []
    metrics = _rows(run / METRICS, counter, notes)
    lineage, unusable = [], 0
    for row in _rows(run / LINEAGE, counter, notes) if counter == "generation" else []:
        try:
            lineage.append(_lineage_row(row))
        except (KeyError, TypeError, ValueError, AttributeError):
            unusable += 1
    if unusable:
        notes.append(f"{unusable} rows of lineage.jsonl lack a field or have fields of different lengths; left out.")
    config = run / "config.toml"
    if not config.exists():
        notes.append("config.toml is missing.")
    return RunRecord(
        name=run.resolve().name,
        config=config.read_text(encoding="utf-8", errors="replace") if config.exists() else None,
        metrics=tuple(metrics),
        lineage=tuple(lineage),
        summary=_summary(run / "summary.json", notes),
        notes=tuple(notes),
    )


def number(value: Any) -> float:
    """A finite number unchanged, anything else as NaN."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan


def column(rows: Sequence[Row], *path: str) -> np.ndarray:
    """One number a row, as in `column(rows, "best_performance", "copy")`; NaN where it is missing or null."""

    def pick(row: Any) -> Any:
        for name in path:
            row = row.get(name) if isinstance(row, dict) else None
        return row

    return np.array([number(pick(row)) for row in rows], float)


def _rows(path: Path, counter: str, notes: list[str]) -> list[Row]:
    if not path.exists():
        notes.append(f"{path.name} is missing.")
        return []
    found = read_rows(path, counter)
    if found.unreadable:
        notes.append(f"{found.unreadable} unreadable lines of {path.name} were skipped.")
    counts = {row[counter] for row in found.rows}
    missing = sorted(set(range(max(counts, default=-1) + 1)) - counts)
    if missing:
        notes.append(f"{path.name} lacks {counter} {ranges_of(missing)}.")
    return found.rows


def _lineage_row(row: Row) -> LineageRow:
    ids = np.array(row["id"], np.int64)
    parsed = LineageRow(
        generation=row["generation"],
        ids=ids,
        parents=np.array(row["parents"], np.int64).reshape(len(ids), 2),
        fitness=np.array([number(value) for value in row["fitness"]], float),
        genes={name: np.array(values, np.int64) for name, values in row["genes"].items()},
        learning={name: np.array(values, float) for name, values in row.get("learning", {}).items()},
        spent={name: np.array(values, float) for name, values in row.get("spent", {}).items()},
    )
    arrays = (parsed.fitness, *parsed.genes.values(), *parsed.learning.values(), *parsed.spent.values())
    if any(array.shape != ids.shape for array in arrays):
        raise ValueError("fields of different lengths")
    return parsed


def _summary(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.exists():
        notes.append("summary.json is missing: the run is unfinished, so there are no held-out scores yet.")
        return {}
    try:
        summary = read_json(path, MOST_BYTES)
    except (OSError, ValueError):
        summary = None
    if not isinstance(summary, dict):
        notes.append("summary.json is unreadable, so there are no held-out scores.")
        return {}
    return summary
