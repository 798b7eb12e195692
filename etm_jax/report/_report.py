"""Make `report.html` from a run folder."""

import pkgutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etm_jax._files import write_atomically
from etm_jax.environment import AnySuite
from etm_jax.report._ancestry import ancestry, best_of
from etm_jax.report._headline import headline, status
from etm_jax.report._page import Front, page
from etm_jax.report._run import RunRecord, read_run
from etm_jax.report._section import Section

NO_FIGURES = Section("Figures", "Figures need matplotlib: pip install 'etm-jax[plot]', then make the report again.")


def write_report(run: Path, model: Any, suite: AnySuite, at_work: str) -> Path:
    """Write the report of a run, finished or not, over an older report if there is one.

    What the folder lacks is named in the page. Without matplotlib (the `plot` extra) the page has no figures. Beside
    the page of an automaton `space_time.png` shows its tape; where the champion goes somewhere, `path.png` shows it.

    Args:
        run: the run folder.
        model: the champion, or None where none has been saved yet.
        suite: what the run evolved on; the champion is shown on an episode of the first task or environment.
        at_work: `module:function` of the sections that show the champion at work, from the registry of models.

    Returns:
        The path of the page, `run/report.html`. It refers to nothing outside itself.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the model was not made for the suite.
    """
    record = read_run(run)
    front = Front(status(record), headline(record, model), "champion")
    sections = _sections(run, record, model, suite, at_work)
    return save(run, page(record, front, model, suite.names, sections))


def save(run: Path, text: str) -> Path:
    """Put the page into the run folder, whole, in place of an older one."""
    target = run / "report.html"
    write_atomically(target, text)
    return target


def champion_id(record: RunRecord) -> int | None:
    """The champion's id, or that of the best of the last generation while there is no summary."""
    if isinstance(record.summary.get("champion_id"), int):
        return record.summary["champion_id"]
    return best_of(record.lineage[-1]) if record.lineage else None


def _sections(run: Path, record: RunRecord, model: Any, suite: AnySuite, at_work: str) -> list[Section]:
    if find_spec("matplotlib") is None:
        return [NO_FIGURES]
    from etm_jax.report._fitness import fitness_section
    from etm_jax.report._genes import genes_section
    from etm_jax.report._members import members_of, members_sections
    from etm_jax.report._tree import tree_section

    champion = champion_id(record)
    people = {} if champion is None else ancestry(record.lineage, champion)
    genes = people[champion].genes if champion in people else {}
    return [
        fitness_section(record.metrics, suite.names),
        *members_sections(record.metrics, members_of(run)),
        genes_section(record.lineage, genes),
        *at_work_sections(at_work, model, suite, run),
        tree_section(people, champion),
    ]


def at_work_sections(at_work: str, model: Any, suite: AnySuite, run: Path, **options: str) -> list[Section]:
    """What a room shows of its model at work; a sentence where none has been saved yet."""
    if model is None:
        who = options.get("who", "champion")
        return [Section(f"The {who} at work", f"There is no saved {who} yet, so there is nothing to draw.")]
    return pkgutil.resolve_name(at_work)(model, suite, run, **options)
