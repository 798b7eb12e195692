"""Make `report.html` from the folder of a training run."""

import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from etm_jax.cells import MemoryNetwork
from etm_jax.environment import Suite
from etm_jax.report._headline import last, median, planned, times
from etm_jax.report._page import Front, page
from etm_jax.report._report import NO_FIGURES, at_work_sections, save
from etm_jax.report._run import RunRecord, column, read_run
from etm_jax.report._section import Section
from etm_jax.report._words import counted, written


def write_training_report(run: Path, model: MemoryNetwork | None, suite: Suite) -> Path:
    """Write the report of a training run, finished or not, over an older report if there is one.

    Args:
        run: the run folder.
        model: the network that was trained, or None where none has been saved yet.
        suite: the tasks or environments of the run; the network is shown on an episode of the first.

    Returns:
        The path of the page, `run/report.html`. It refers to nothing outside itself.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the model was not made for the suite.
    """
    record = read_run(run, counter="chunk")
    front = Front(training_status(record), _numbers(record, model), "network")
    return save(run, page(record, front, model, suite.names, _sections(run, record, model, suite)))


def training_status(record: RunRecord) -> str:
    """One sentence on how far the training got, and why it ended."""
    if not record.metrics:
        return f"No {step_word(record)} has been recorded yet."
    word = step_word(record)
    done = int(column(record.metrics, "step")[-1])
    most, ending = planned(record.config, "steps"), record.summary.get("ending")
    if ending in ("solved", "diverged"):
        return f"{ending.capitalize()} after {counted(done, word)}."
    if most is not None and done < most:
        return f"Unfinished: {done:,} of {counted(most, word)} recorded so far."
    return f"Finished after {counted(done, word)}."


def step_word(record: RunRecord) -> str:
    """What a step of this training is called."""
    try:
        settings = tomllib.loads(record.config or "")
    except tomllib.TOMLDecodeError:
        settings = {}
    return "strategy step" if settings.get("strategy", {}).get("name") else "gradient step"


def _numbers(record: RunRecord, model: MemoryNetwork | None) -> list[tuple[str, str]]:
    rows = record.metrics
    return [
        ("loss on fresh episodes, last look", written(last(column(rows, "loss")))),
        ("parameters", written(record.summary.get("num_parameters", getattr(model, "num_weights", None)))),
        (f"{step_word(record)}s", written(last(column(rows, "step")))),
        *times(record),
        (f"{step_word(record)}s per second (median)", written(median(column(rows, "steps_per_second")))),
        ("learning rate, last look", written(last(column(rows, "learning_rate")))),
        ("steps left out, not finite", written(float(np.nansum(column(rows, "skipped"))) if rows else None)),
    ]


def _sections(run: Path, record: RunRecord, model: MemoryNetwork | None, suite: Suite) -> list[Section]:
    if find_spec("matplotlib") is None:
        return [NO_FIGURES]
    from etm_jax.report._curves import curves_section

    return [
        curves_section(record.metrics, suite.names, step_word(record)),
        *at_work_sections("etm_jax.networks._report:sections", model, suite, run, who="network"),
    ]
