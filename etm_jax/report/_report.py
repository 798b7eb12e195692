"""Make `report.html` from a run folder."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etm_jax.automata._evolved import EvolvedEM33
from etm_jax.environment import AnySuite, EnvironmentSuite, Suite
from etm_jax.graphs._evolved import EvolvedGraph
from etm_jax.number_task import NumberSuite
from etm_jax.report._ancestry import ancestry, best_of
from etm_jax.report._headline import headline, status
from etm_jax.report._page import Front, page
from etm_jax.report._run import Model, RunRecord, read_run
from etm_jax.report._section import Section

NO_FIGURES = Section("Figures", "Figures need matplotlib: pip install 'etm-jax[plot]', then make the report again.")


def write_report(run: Path, model: Model | None, suite: AnySuite) -> Path:
    """Write the report of a run, finished or not, over an older report if there is one.

    What the folder lacks is named in the page. Without matplotlib (the `plot` extra) the page has no figures. Beside
    the page of an automaton `space_time.png` shows its tape, beside that of who goes somewhere `path.png` where.

    Args:
        run: the run folder.
        model: the champion, or None where none has been saved yet.
        suite: what the run evolved on; the champion is shown on an episode of the first task or environment.

    Returns:
        The path of the page, `run/report.html`. It refers to nothing outside itself.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the model was not made for the suite.
    """
    record = read_run(run)
    front = Front(status(record), headline(record, model), "champion")
    sections = _sections(run, record, model, suite)
    return save(run, page(record, front, model, suite.names, sections))


def save(run: Path, text: str) -> Path:
    """Put the page into the run folder, whole, in place of an older one."""
    target = run / "report.html"
    partial = run / f".report.{os.getpid()}.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, target)
    return target


def champion_id(record: RunRecord) -> int | None:
    """The champion's id, or that of the best of the last generation while there is no summary."""
    if isinstance(record.summary.get("champion_id"), int):
        return record.summary["champion_id"]
    return best_of(record.lineage[-1]) if record.lineage else None


def _sections(run: Path, record: RunRecord, model: Any, suite: AnySuite) -> list[Section]:
    if find_spec("matplotlib") is None:
        return [NO_FIGURES]
    from etm_jax.report._fitness import fitness_section
    from etm_jax.report._genes import genes_section
    from etm_jax.report._members import members_of, members_sections
    from etm_jax.report._tree import tree_section

    if isinstance(suite, NumberSuite):
        from etm_jax.automata._report import save_space_time, space_time_section

        at_work = [space_time_section(model, suite)]
        if model is not None:
            save_space_time(model, suite, run / "space_time.png")
    else:
        at_work = _at_work(run, model, suite)
    champion = champion_id(record)
    people = {} if champion is None else ancestry(record.lineage, champion)
    genes = people[champion].genes if champion in people else {}
    return [
        fitness_section(record.metrics, suite.names),
        *members_sections(record.metrics, members_of(run)),
        genes_section(record.lineage, genes),
        *at_work,
        tree_section(people, champion),
    ]


def _at_work(run: Path, model: Any, suite: Suite) -> list[Section]:
    from etm_jax.automata._report import ring_section
    from etm_jax.graphs._report import graph_section
    from etm_jax.report._acting import has_places, path_section
    from etm_jax.report._attention import attention_section

    sections = [attention_section(model, suite)]
    if model is None or not isinstance(suite, EnvironmentSuite):
        return sections
    if has_places(suite):
        sections.append(path_section(model, suite, run / "path.png"))
    if isinstance(model, EvolvedEM33):
        sections.append(ring_section(model, suite, run / "space_time.png"))
    if isinstance(model, EvolvedGraph):
        sections.append(graph_section(model, suite))
    return sections
