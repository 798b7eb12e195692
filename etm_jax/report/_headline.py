"""The numbers at the top of a report."""

import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from etm_jax.report._run import RunRecord, column
from etm_jax.report._section import counted, gene_word, score, written
from etm_jax.runs._rows import LENGTHS, at_length


class Entry(NamedTuple):
    """A name and its value, as the page shows them."""

    name: str
    value: str


class ScoreRow(NamedTuple):
    """A score's name, and its value at each task."""

    name: str
    values: list[str]


def status(record: RunRecord) -> str:
    """One sentence on how far an evolution got."""
    if not record.metrics:
        return "No generation has been recorded yet."
    done, planned = len(record.metrics), planned_number(record.config, "max_generations")
    if planned is not None and done < planned:
        return f"Unfinished: {done:,} of {counted(planned, 'generation')} recorded so far."
    return f"{'Finished after' if record.summary else 'Unfinished:'} {counted(done, 'generation')}."


def training_status(record: RunRecord) -> str:
    """One sentence on how far a training got, and why it ended."""
    step = step_word(record)
    if not record.metrics:
        return f"No {step} has been recorded yet."
    done = int(column(record.metrics, "step")[-1])
    planned, ending = planned_number(record.config, "steps"), record.summary.get("ending")
    if ending in ("solved", "diverged"):
        return f"{ending.capitalize()} after {counted(done, step)}."
    if planned is not None and done < planned:
        return f"Unfinished: {done:,} of {counted(planned, step)} recorded so far."
    return f"Finished after {counted(done, step)}."


def step_word(record: RunRecord) -> str:
    """What a step of a training is called: it follows gradients, or a strategy."""
    return "strategy step" if settings_of(record.config).get("strategy", {}).get("name") else "gradient step"


def planned_number(config: str | None, setting: str) -> int | None:
    """A whole number of the configuration; None where it cannot be read."""
    number = settings_of(config).get(setting)
    return number if isinstance(number, int) else None


def settings_of(config: str | None) -> dict[str, Any]:
    """The configuration as tables; empty where it cannot be read."""
    try:
        return tomllib.loads(config or "")
    except tomllib.TOMLDecodeError:
        return {}


def headline(record: RunRecord, model: Any) -> list[Entry]:
    """The numbers of an evolution, the most important first."""
    rows = record.metrics
    return [
        Entry("best fitness, last generation", written(last(column(rows, "best_fitness")))),
        Entry("mean fitness, last generation", written(last(column(rows, "mean_fitness")))),
        Entry("parameters of the champion", written(_num_parameters(record, model))),
        Entry("generations", written(len(rows))),
        *times(record),
        Entry("individuals per second (median)", written(median(column(rows, "individuals_per_second")))),
        Entry("padding efficiency (median)", score(median(column(rows, "padding_efficiency")))),
        *computed_by(record),
        Entry("diversity, last generation", written(last(column(rows, "diversity")))),
        Entry("failed evaluations", written(float(np.nansum(column(rows, "failed"))) if rows else None)),
    ]


def training_headline(record: RunRecord, model: Any) -> list[Entry]:
    """The numbers of a training, the most important first."""
    rows, step = record.metrics, step_word(record)
    return [
        Entry("loss on fresh episodes, last chunk", written(last(column(rows, "loss")))),
        Entry("parameters", written(_num_parameters(record, model))),
        Entry(f"{step}s", written(last(column(rows, "step")))),
        *times(record),
        *computed_by(record),
        Entry(f"{step}s per second (median)", written(median(column(rows, "steps_per_second")))),
        Entry("learning rate, last chunk", written(last(column(rows, "learning_rate")))),
        Entry("steps skipped, not finite", written(float(np.nansum(column(rows, "skipped"))) if rows else None)),
    ]


def _num_parameters(record: RunRecord, model: Any) -> Any:
    return record.summary.get("num_parameters", getattr(model, "num_weights", None))


def times(record: RunRecord) -> list[Entry]:
    """The seconds of a run and of its compilation; summed over the rows while there is no summary."""
    rows, seconds = record.metrics, record.summary.get("seconds") or {}
    compiling, running = column(rows, "compile_seconds"), column(rows, "run_seconds")
    total = seconds.get("total", float(np.nansum(compiling) + np.nansum(running)) if rows else None)
    compilation = seconds.get("compile", float(np.nansum(compiling)) if rows else None)
    return [
        Entry("time, including compilation", written(total, "s")),
        Entry("compilation", written(compilation, "s")),
    ]


def computed_by(record: RunRecord) -> list[Entry]:
    """What computed networks in the last session; nothing for other models, and while there is no summary."""
    named = record.summary.get("computed_by")
    return [Entry("computed by", named)] if isinstance(named, str) else []


def held_out(record: RunRecord, tasks: Sequence[str]) -> list[ScoreRow]:
    """The held-out scores of the summary; none where nothing was measured.

    The scores that every task has come first, then single numbers among the tasks' own scores.
    """
    measured: dict[str, Any] = record.summary.get("held_out") or {}
    if not measured:
        return []
    lengths = {length: "" if length == 1 else f", {length} times the length" for length in LENGTHS}
    rows = [
        (name + suffix, measured[key] or {})
        for length, suffix in lengths.items()
        for name in ("accuracy", "performance")
        if (key := at_length(name, length)) in measured
    ]
    for length, suffix in lengths.items():
        own = measured.get(at_length("extra", length)) or {}
        names = dict.fromkeys(
            name for task in tasks for name, value in own.get(task, {}).items() if isinstance(value, int | float)
        )
        for name in names:
            rows.append((name.replace("_", " ") + suffix, {task: scores.get(name) for task, scores in own.items()}))
    return [ScoreRow(label, [score(by_task.get(task)) for task in tasks]) for label, by_task in rows]


def left_out(record: RunRecord) -> list[str]:
    """A sentence for each task and length that there are no held-out scores of."""
    measured: dict[str, Any] = record.summary.get("held_out") or {}
    absent = {length: measured.get(at_length("left_out", length)) or {} for length in LENGTHS}
    return [
        f"{task} is not asked at {length} times its length: {why}."
        for length in LENGTHS
        for task, why in absent[length].items()
    ]


def architecture(record: RunRecord, model: Any) -> list[Entry]:
    """The network's genes in words; none while there is no network."""
    genes = record.summary.get("architecture") or (model.architecture if model is not None else {})
    return [Entry(gene_word(name), str(value).replace("_", " ")) for name, value in genes.items()]


def last(values: np.ndarray) -> float | None:
    """The last value, if there is one."""
    return float(values[-1]) if values.size else None


def median(values: np.ndarray) -> float | None:
    """The median of the values that are not NaN, if there is one."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
