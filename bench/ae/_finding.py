"""What an experiment found, with intervals over seeds."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc

Verdict = Literal["pass", "fail", "null"]


class Row(NamedTuple):
    """One method's values, by metric; a number a seed."""

    method: str
    values: dict[str, Any]


class Finding(NamedTuple):
    """The outcome of one experiment.

    Attributes:
        verdict: `pass` or `fail` by the criterion; `null` where there is no effect beyond the intervals.
        because: the figures that decide, in one sentence.
        rows: every method that was run, losses included.
        curves: what to draw, by method: `[steps]`; empty for no figure.
        curve_of: the name of the curves' quantity.
    """

    verdict: Verdict
    because: str
    rows: list[Row]
    curves: dict[str, Any] = {}  # noqa: RUF012 - never changed
    curve_of: str = ""


def verdict(holds: bool) -> Verdict:
    """`pass` or `fail`."""
    return "pass" if holds else "fail"


def half_width(values: Any) -> float:
    """Half of the 95 % t-interval of the mean; NaN for fewer than two seeds."""
    values = np.asarray(values, float)
    if values.size < 2:
        return float("nan")
    return t_quantile(values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)


def t_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, by bisection of its distribution."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = float(betainc(degrees / 2, 0.5, jnp.asarray(degrees / (degrees + middle**2), float)))
        low, high = (middle, high) if tail > 0.05 else (low, middle)
    return high


def shown(values: Any) -> str:
    """`mean ± half width`; the number alone for one seed."""
    values = np.atleast_1d(np.asarray(values, float))
    if not np.all(np.isfinite(values)):
        return f"{np.sum(~np.isfinite(values))} of {values.size} not finite"
    mean = f"{values.mean():.4g}"
    return mean if values.size < 2 else f"{mean} ± {half_width(values):.2g}"


def table(rows: list[Row]) -> str:
    """Rows as a table of Markdown."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.values))
    lines = [f"| method | {' | '.join(metrics)} |", f"|{' --- |' * (len(metrics) + 1)}"]
    for row in rows:
        cells = [shown(row.values[name]) if name in row.values else "" for name in metrics]
        lines.append(f"| {row.method} | {' | '.join(cells)} |")
    return "\n".join(lines)
