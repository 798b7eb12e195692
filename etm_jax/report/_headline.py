"""The numbers at the top of the report."""

import tomllib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from etm_jax.cells import NTM
from etm_jax.report._run import RunRecord, column
from etm_jax.report._words import counted, gene_word, score, written

HELD_OUT = (
    ("accuracy", "accuracy"),
    ("performance", "performance"),
    ("accuracy_twice_length", "accuracy, twice the length"),
    ("performance_twice_length", "performance, twice the length"),
)


def status(record: RunRecord) -> str:
    """One sentence on how far the run got."""
    if not record.metrics:
        return "No generation has been recorded yet."
    done, planned = len(record.metrics), planned_generations(record.config)
    if planned is not None and done < planned:
        return f"Unfinished: {done:,} of {counted(planned, 'generation')} recorded so far."
    return f"{'Finished after' if record.summary else 'Unfinished:'} {counted(done, 'generation')}."


def planned_generations(config: str | None) -> int | None:
    """`max_generations` of the configuration; None where it cannot be read."""
    try:
        planned = tomllib.loads(config or "").get("max_generations")
    except tomllib.TOMLDecodeError:
        return None
    return planned if isinstance(planned, int) else None


def headline(record: RunRecord, model: NTM | None) -> list[tuple[str, str]]:
    """Names and values, the most important first."""
    rows, summary = record.metrics, record.summary
    seconds = summary.get("seconds") or {}
    compiling, running = column(rows, "compile_seconds"), column(rows, "run_seconds")
    spent = {
        "total": seconds.get("total", float(np.nansum(compiling) + np.nansum(running)) if rows else None),
        "compile": seconds.get("compile", float(np.nansum(compiling)) if rows else None),
    }
    size = summary.get("num_parameters", _num_parameters(model))
    return [
        ("best fitness, last generation", written(_last(column(rows, "best_fitness")))),
        ("mean fitness, last generation", written(_last(column(rows, "mean_fitness")))),
        ("parameters of the champion", written(size)),
        ("generations", written(len(rows))),
        ("time, compilation included", written(spent["total"], "s")),
        ("of which compilation", written(spent["compile"], "s")),
        ("individuals per second (median)", written(_median(column(rows, "individuals_per_second")))),
        ("padding efficiency (median)", score(_median(column(rows, "padding_efficiency")))),
        ("diversity, last generation", written(_last(column(rows, "diversity")))),
        ("failed evaluations", written(float(np.nansum(column(rows, "failed"))) if rows else None)),
    ]


def held_out(record: RunRecord, tasks: Sequence[str]) -> list[tuple[str, list[str]]]:
    """One row a score: its name, and what each task reached; empty where nothing was measured."""
    measured: dict[str, Any] = record.summary.get("held_out") or {}
    if not measured:
        return []
    rows = [(label, measured[key] or {}) for key, label in HELD_OUT if key in measured]
    return [(label, [score(scores.get(task)) for task in tasks]) for label, scores in rows]


def architecture(record: RunRecord, model: NTM | None) -> list[tuple[str, str]]:
    """The champion's genes in words; empty where there is no champion yet."""
    genes = record.summary.get("architecture") or (model.architecture if model is not None else {})
    return [(gene_word(name), str(value).replace("_", " ")) for name, value in genes.items()]


def _num_parameters(model: NTM | None) -> int | None:
    return None if model is None else sum(leaf.size for leaf in jax.tree.leaves(model.cell.arrays()[0]))


def _last(values: np.ndarray) -> float | None:
    return float(values[-1]) if values.size else None


def _median(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
