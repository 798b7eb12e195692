"""Fills the page Benchmarks with `bench/README.md` and the figures and notes of `bench/results/*.json`.

Each results file is one object: `title`, `question`, `command`, `verdict`, where it was measured (`date`, `commit`,
`hardware`, `versions`), `method`, `tables` and `notes`. A table has `title`, `columns` and `rows`; it may have `notes`,
and a `date`, `commit` or `hardware` of its own. Optional: `usage` (shell lines), `figure` (a file in docs/) and `data`
(what the script saved). `method` and `notes` are Markdown sentences.
"""

import json
import re
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[1] / "bench"
PAGE = "benchmarks.md"
TEXT = dict.fromkeys(("title", "question", "command", "verdict", "date", "commit", "hardware"), str)
RESULT = TEXT | {"versions": dict, "method": list, "tables": list, "notes": list}
RESULT_MAY_HAVE = {"usage": list, "figure": str, "data": dict}
TABLE = {"title": str, "columns": list, "rows": list}
TABLE_MAY_HAVE = {"date": str, "commit": str, "hardware": str, "notes": list}


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Called by mkdocs for every page."""
    del kwargs
    return whole_page() if page.file.src_uri == PAGE else markdown


def whole_page() -> str:
    """The README, whose links to results files become links to sections, and the sections in the same order."""
    readme = (BENCH / "README.md").read_text(encoding="utf-8")
    names = dict.fromkeys(re.findall(r"\(results/(\w+)\.json\)", readme))
    sections = [section(name, read(BENCH / "results" / f"{name}.json")) for name in names]
    return "\n\n".join([re.sub(r"\(results/(\w+)\.json\)", r"(#\1)", readme), *sections])


def read(path: Path) -> dict[str, Any]:
    """A results file; numbers with a fraction are strings, so that they are shown digit by digit.

    Raises:
        ValueError: the file is not JSON, a field is missing, unknown or of the wrong type, or a row does not fit the
            columns.
    """
    result = json.loads(path.read_text(encoding="utf-8"), parse_float=str)
    check_fields(path.name, result, RESULT, RESULT_MAY_HAVE)
    for table in result["tables"]:
        where = f"{path.name}, a table"
        check_fields(where, table, TABLE, TABLE_MAY_HAVE)
        for row in table["rows"]:
            if len(row) != len(table["columns"]):
                raise ValueError(f"{where}: a row must have {len(table['columns'])} cells, one a column; got {row}")
    return result


def check_fields(where: str, value: Any, must: dict[str, type], may: dict[str, type]) -> None:
    """Refuse a missing field, an unknown one, or one of the wrong type."""
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be an object; got {value!r}")
    for name in must.keys() - value.keys():
        raise ValueError(f"{where}: lacks {name!r}")
    for name, content in value.items():
        kind = (must | may).get(name)
        if kind is None:
            raise ValueError(f"{where}: {name!r} is unknown; there are {', '.join(must | may)}")
        if not isinstance(content, kind):
            raise ValueError(f"{where}: {name!r} must be a {kind.__name__}; got {content!r}")


def section(name: str, result: dict[str, Any]) -> str:
    """One result in Markdown; its anchor is the name of its file."""
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    parts = [
        f"## {result['title']} {{#{name}}}",
        f"*{result['question']}*",
        f"**In short**: {result['verdict']}",
        f"Measured {result['date']}, commit {result['commit']}, {versions}. {result['hardware']}.",
        bullets("How it is measured", result["method"]),
        "```\n" + "\n".join(result.get("usage", [result["command"]])) + "\n```",
        *map(table, result["tables"]),
    ]
    if "figure" in result:
        parts.append(f"![{result['title']}]({result['figure']})")
    parts.append(bullets("Findings", result["notes"]))
    return "\n\n".join(parts)


def bullets(heading: str, sentences: list[str]) -> str:
    """A list below a heading that is not in the table of contents."""
    return f"**{heading}**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences)


def table(content: dict[str, Any]) -> str:
    """A table with its title above and its notes below."""
    context = ", ".join(content[name] for name in ("date", "commit", "hardware") if name in content)
    lines = [content["columns"], ["---"] * len(content["columns"]), *content["rows"]]
    text = "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)
    title = f"**{content['title']}**" + (f" ({context})" if context else "")
    return "\n\n".join([title, text, *content.get("notes", [])])


def cell(value: Any) -> str:
    """A number, a text, several of them (one a seed), or nothing."""
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value
