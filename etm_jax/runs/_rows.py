"""Rows and numbers as JSON holds them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
LENGTHS = (1, 2, 5, 10)  # multiples of the greatest length of tasks at which held-out scores are measured


def at_length(name: str, length: int) -> str:
    """The name of a score at a multiple of the greatest length: `accuracy`, and from twice on `accuracy_x2`."""
    return name if length == 1 else f"{name}_x{length}"


@dataclass(frozen=True)
class Rows:
    """What a file of rows holds.

    Attributes:
        rows: by their count, the later one where a count was written twice.
        unreadable: lines that are no row; a last line that was torn in writing is none of them.
        torn: True = there is such a last line.
    """

    rows: list[Row]
    unreadable: int = 0
    torn: bool = False


def read_rows(path: Path, counter: str) -> Rows:
    """Every row of a file that can be read: an object a line, with a whole number of at least 0 under `counter`.

    A file that is missing has none. Blank lines are skipped.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.exists():
        return Rows([])
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.split("\n") if line.strip()]
    rows: dict[int, Row] = {}
    unreadable, torn = 0, False
    for index, line in enumerate(lines):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
            torn = index == len(lines) - 1 and not text.endswith("\n")
        if isinstance(value, dict) and type(value.get(counter)) is int and value[counter] >= 0:
            rows[value[counter]] = value
        else:
            unreadable += not torn
    return Rows([rows[count] for count in sorted(rows)], unreadable, torn)


def as_lines(rows: Iterable[Row]) -> str:
    """Rows as the text of a file."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def ranges_of(numbers: Sequence[int]) -> str:
    """Ascending whole numbers for people: `3-5, 8`."""
    breaks = [index for index in range(1, len(numbers)) if numbers[index] > numbers[index - 1] + 1]
    parts = [numbers[start:end] for start, end in zip([0, *breaks], [*breaks, len(numbers)], strict=True)]
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def plain(value: Any) -> float | None:
    """A number for JSON: None unless finite, six digits."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def plain_array(values: Any) -> Any:
    """An array for JSON: a number, or lists of numbers."""
    return plain(values) if np.ndim(values) == 0 else [plain_array(value) for value in np.asarray(values)]


def by_task(names: Sequence[str], values: Any) -> dict[str, float | None]:
    """One number a task, by its name."""
    return {name: plain(value) for name, value in zip(names, np.asarray(values), strict=True)}
