"""The report as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from etm_jax.report._headline import Entry, architecture, held_out, left_out
from etm_jax.report._run import RunRecord
from etm_jax.report._section import Section, Table
from etm_jax.runs._rows import LENGTHS, at_length

SCORES = (
    "Accuracy: share of sequences with every scored step right, or of episodes solved. Performance: 0 at chance, 1 "
    "when everything is right."
)


@dataclass(frozen=True)
class Opening:
    """The first lines of a page, which differ between an evolution and a training.

    Attributes:
        status: one sentence on how far the run got.
        numbers: the most important first.
        network: what the page calls the network that the run saved.
    """

    status: str
    numbers: Sequence[Entry]
    network: str


def page(record: RunRecord, opening: Opening, model: Any, tasks: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page: status and numbers, then the figures, then the configuration."""
    style = files("etm_jax.report").joinpath("_page.css").read_text(encoding="utf-8")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Run {escape(record.name)}</title>",
        f"<style>{style}</style></head><body>",
        f"<header><h1>Run {escape(record.name)}</h1><p>{escape(opening.status)}</p></header>",
        _notes(record.notes),
        _numbers(record, opening, model, tasks),
        *(_section(section) for section in sections),
        _config(record.config),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<section class="notes"><ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul></section>'


def _numbers(record: RunRecord, opening: Opening, model: Any, tasks: Sequence[str]) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in opening.numbers)
    return (
        f'<section><h2>In numbers</h2><dl class="numbers">{tiles}</dl><div class="tables">'
        f"{_scores(record, tasks)}{_architecture(record, opening, model)}</div></section>"
    )


def _scores(record: RunRecord, tasks: Sequence[str]) -> str:
    rows = held_out(record, tasks)
    if not rows:
        return "<div><h3>Held-out scores</h3><p>Not measured yet.</p></div>"
    measured = record.summary["held_out"]
    counts = {
        length: count for length in LENGTHS if isinstance(count := measured.get(at_length("episodes", length)), int)
    }
    title = "Held-out scores" + (f" on {counts[1]:,} fresh episodes" if 1 in counts else "")
    fewer = [f"{count:,} at {length} times the length" for length, count in counts.items() if count != counts.get(1)]
    notes = " ".join([SCORES, *([f"Fewer episodes: {', '.join(fewer)}."] if fewer else []), *left_out(record)])
    table = Table(title, ("score", *tasks), tuple((row.name, *row.values) for row in rows))
    return f'<div>{_table(table)}<p class="small">{escape(notes)}</p></div>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(value)}</td>" for value in values)}</tr>'
        for name, *values in table.rows
    )
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _architecture(record: RunRecord, opening: Opening, model: Any) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in architecture(record, model)
    )
    body = f"<table><tbody>{rows}</tbody></table>" if rows else f"<p>There is no {opening.network} yet.</p>"
    return f"<div><h3>Architecture of the {opening.network}</h3>{body}</div>"


def _section(section: Section) -> str:
    if not section.panels:
        return f"<section><h2>{escape(section.title)}</h2><p>{escape(section.reading)}</p></section>"
    keys = "".join(
        f'<li><i class="{key.shape}" style="--mark:{key.colour}"></i>{escape(key.label)}</li>' for key in section.keys
    )
    key_list = f'<ul class="key">{keys}</ul>' if keys else ""
    caption = " ".join((section.reading, *section.notes))
    alone = ' class="alone"' if len(section.panels) == 1 else ""
    tables = "".join(f"<div>{_table(table)}</div>" for table in section.tables)
    beside = f'<div class="tables">{tables}</div>' if tables else ""
    return (
        f"<section><h2>{escape(section.title)}</h2><figure{alone}>{key_list}"
        f'<div class="panels">{"".join(section.panels)}</div><figcaption>{escape(caption)}</figcaption>'
        f"</figure>{beside}</section>"
    )


def _config(config: str | None) -> str:
    if config is None:
        return ""
    return f"<details><summary>Configuration (config.toml)</summary><pre>{escape(config)}</pre></details>"
