"""Make `report.html` from the folder of an evolution or of a training."""

import pkgutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etm_jax._files import write_atomically
from etm_jax.cells import MemoryNetwork
from etm_jax.environment import AnySuite, Suite
from etm_jax.report._ancestry import ancestry, best_of, families
from etm_jax.report._headline import headline, settings_of, status, step_word, training_headline, training_status
from etm_jax.report._page import Opening, page
from etm_jax.report._run import RunRecord, read_run
from etm_jax.report._section import Section

NO_FIGURES = Section("Figures", "Figures need matplotlib: pip install 'etm-jax[plot]', then make the report again.")


def write_report(run: Path, model: Any, suite: AnySuite, at_work: str) -> Path:
    """Write the report of an evolution, finished or not; an older report is replaced.

    The page names what the folder lacks. Without matplotlib (the `plot` extra) it has no figures. The tape of an
    automaton is also written to `space_time.png`, and the champion's path, in environments that have places, to
    `path.png`.

    Args:
        run: the run folder.
        model: the champion; None where none has been saved yet.
        suite: the run's tasks or environments; the champion is shown on an episode of the first.
        at_work: `module:function` that makes the sections on the champion at work, from the registry of models.

    Returns:
        The path of the page, `run/report.html`. It refers to nothing outside itself.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the model was not made for the suite.
    """
    record = read_run(run)
    opening = Opening(status(record), headline(record, model), "champion")
    sections = _sections(run, record, model, suite, at_work)
    return _save(run, page(record, opening, model, suite.names, sections))


def write_training_report(run: Path, model: MemoryNetwork | None, suite: Suite) -> Path:
    """Write the report of a training, finished or not; an older report is replaced.

    Args:
        run: the run folder.
        model: the trained network; None where none has been saved yet.
        suite: the run's tasks or environments; the network is shown on an episode of the first.

    Returns:
        The path of the page, `run/report.html`. It refers to nothing outside itself.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the model was not made for the suite.
    """
    record = read_run(run, counter="chunk")
    opening = Opening(training_status(record), training_headline(record, model), "network")
    return _save(run, page(record, opening, model, suite.names, _training_sections(run, record, model, suite)))


def champion_id(record: RunRecord) -> int | None:
    """The champion's id; without a summary, the id of the best individual of the last generation."""
    if isinstance(record.summary.get("champion_id"), int):
        return record.summary["champion_id"]
    return best_of(record.lineage[-1]) if record.lineage else None


def _save(run: Path, text: str) -> Path:
    target = run / "report.html"
    write_atomically(target, text)
    return target


def _sections(run: Path, record: RunRecord, model: Any, suite: AnySuite, at_work: str) -> list[Section]:
    if find_spec("matplotlib") is None:
        return [NO_FIGURES]
    # They import matplotlib.
    from etm_jax.report._curves import fitness_section, lengths_section
    from etm_jax.report._genes import genes_section
    from etm_jax.report._members import members_of, members_sections
    from etm_jax.report._spending import spending_sections
    from etm_jax.report._tree import tree_section

    champion = champion_id(record)
    individuals = {} if champion is None else ancestry(record.lineage, champion)
    genes = individuals[champion].genes if champion in individuals else {}
    founders = families(record.lineage)
    return [
        fitness_section(record.metrics, suite.names),
        *lengths_section(record.summary.get("held_out") or {}, suite.names),
        *members_sections(record.metrics, members_of(run)),
        genes_section(record.lineage, genes, founders),
        *spending_sections(record.lineage, founders, champion, settings_of(record.config)),
        *_at_work(at_work, model, suite, run),
        tree_section(individuals, champion),
    ]


def _training_sections(run: Path, record: RunRecord, model: MemoryNetwork | None, suite: Suite) -> list[Section]:
    if find_spec("matplotlib") is None:
        return [NO_FIGURES]
    from etm_jax.report._curves import learning_section, lengths_section

    return [
        learning_section(record.metrics, suite.names, step_word(record)),
        *lengths_section(record.summary.get("held_out") or {}, suite.names),
        *_at_work("etm_jax.networks._report:sections", model, suite, run, who="network"),
    ]


def _at_work(at_work: str, model: Any, suite: AnySuite, run: Path, **options: str) -> list[Section]:
    """The sections of the model's own room, or a sentence where no model has been saved yet."""
    if model is None:
        who = options.get("who", "champion")
        return [Section(f"The {who} at work", f"There is no saved {who} yet, so there is nothing to draw.")]
    return pkgutil.resolve_name(at_work)(model, suite, run, **options)
