"""Rows and numbers as JSON holds them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]


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
