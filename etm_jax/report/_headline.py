"""The numbers at the top of the report."""

import tomllib
from collections.abc import Sequence
from typing import Any

import numpy as np

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
    done, most = len(record.metrics), planned(record.config, "max_generations")
    if most is not None and done < most:
        return f"Unfinished: {done:,} of {counted(most, 'generation')} recorded so far."
    return f"{'Finished after' if record.summary else 'Unfinished:'} {counted(done, 'generation')}."


def planned(config: str | None, setting: str) -> int | None:
    """A number of the configuration; None where it cannot be read."""
    try:
        number = tomllib.loads(config or "").get(setting)
    except tomllib.TOMLDecodeError:
        return None
    return number if isinstance(number, int) else None


def headline(record: RunRecord, model: Any) -> list[tuple[str, str]]:
    """Names and values, the most important first."""
    rows, summary = record.metrics, record.summary
    size = summary.get("num_parameters", getattr(model, "num_weights", None))
    return [
        ("best fitness, last generation", written(last(column(rows, "best_fitness")))),
        ("mean fitness, last generation", written(last(column(rows, "mean_fitness")))),
        ("parameters of the champion", written(size)),
        ("generations", written(len(rows))),
        *times(record),
        ("individuals per second (median)", written(median(column(rows, "individuals_per_second")))),
        ("padding efficiency (median)", score(median(column(rows, "padding_efficiency")))),
        ("diversity, last generation", written(last(column(rows, "diversity")))),
        ("failed evaluations", written(float(np.nansum(column(rows, "failed"))) if rows else None)),
    ]


def times(record: RunRecord) -> list[tuple[str, str]]:
    """What the run took, of which compiling; from the rows where there is no summary yet."""
    rows, seconds = record.metrics, record.summary.get("seconds") or {}
    compiling, running = column(rows, "compile_seconds"), column(rows, "run_seconds")
    total = seconds.get("total", float(np.nansum(compiling) + np.nansum(running)) if rows else None)
    return [
        ("time, compilation included", written(total, "s")),
        ("of which compilation", written(seconds.get("compile", float(np.nansum(compiling)) if rows else None), "s")),
    ]


def held_out(record: RunRecord, tasks: Sequence[str]) -> list[tuple[str, list[str]]]:
    """One row a score: its name, and what each task reached; empty where nothing was measured.

    After the scores that every task has come those of the tasks' own that are single numbers.
    """
    measured: dict[str, Any] = record.summary.get("held_out") or {}
    if not measured:
        return []
    rows = [(label, measured[key] or {}) for key, label in HELD_OUT if key in measured]
    for key, suffix in (("extra", ""), ("extra_twice_length", ", twice the length")):
        own = measured.get(key) or {}
        names = dict.fromkeys(
            name for task in tasks for name, value in own.get(task, {}).items() if isinstance(value, int | float)
        )
        for name in names:
            label = name.replace("_", " ") + suffix
            rows.append((label, {task: scores.get(name) for task, scores in own.items()}))
    return [(label, [score(scores.get(task)) for task in tasks]) for label, scores in rows]


def architecture(record: RunRecord, model: Any) -> list[tuple[str, str]]:
    """The network's genes in words; empty where there is none yet."""
    genes = record.summary.get("architecture") or (model.architecture if model is not None else {})
    return [(gene_word(name), str(value).replace("_", " ")) for name, value in genes.items()]


def last(values: np.ndarray) -> float | None:
    """The last value, if there is any."""
    return float(values[-1]) if values.size else None


def median(values: np.ndarray) -> float | None:
    """The median of the values that are known, if there is any."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
