"""Figures of coefficients and signals over a run. Drawing needs the `plot` extra (matplotlib); importing does not."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etm_jax.ae._charts import COEFFICIENTS, HORIZON, LOG, LOGIT, Coefficient
from etm_jax.ae._signals import Signals

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_COLUMNS = 3
_PANEL = (3.6, 2.3)  # inches
_MARK_BELOW = 13  # fewer points than this get markers: a line through a single point is invisible
_LEAST_SPAN = 0.7  # in the chart, about a factor of 2, so that rounding of a constant coefficient does not fill a panel
_REST = ("energy", "energy_rises", "skipped", "count")
# Signals that share a range, one panel each; the last is drawn only with a reward or a validation loss.
_LOSS = ("trend", "variance", "stall", "mastery")
_PHASE = ("alignment", "quality", "persistence")
_FURTHER = ("reward_delta", "overfit")
_HORIZON_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)
_LOGIT_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


class _Scale(NamedTuple):
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]
    ticks: tuple[float, ...]  # candidates, in the coefficient's units; without any, matplotlib chooses


_SCALES = {
    LOG: _Scale(np.log, np.exp, ()),
    HORIZON: _Scale(lambda a: -np.log1p(-a), lambda z: -np.expm1(-z), _HORIZON_TICKS),
    LOGIT: _Scale(lambda a: np.log(a) - np.log1p(-a), lambda z: 1 / (1 + np.exp(-z)), _LOGIT_TICKS),
}


def trajectories(
    monitored: Mapping[str, Any], *, ranges: Mapping[str, Coefficient] | None = None
) -> "matplotlib.figure.Figure":
    """Plot the output of `ae.monitor` over one or several runs.

    One panel per coefficient, on the scale of its chart (transform); then the signals, the effective step, the energy
    and the skipped steps. For several runs, a line is the median and a band spans minimum to maximum. A value that is
    not finite in some run leaves a gap.

    Args:
        monitored: everything that `ae.monitor` returns, stacked: `[steps]` for one run, `[runs, steps]` for several,
            recorded after the same steps.
        ranges: as passed to `adaptive_evolution`, for the charts of coefficients missing from `ae.COEFFICIENTS`.

    Returns:
        A figure without a window or pyplot state; save it with `savefig`.

    Raises:
        ValueError: a key is missing or unknown, a shape is wrong, a coefficient has no chart, lies outside it or is
            never finite, or runs were recorded after different steps.
        ImportError: matplotlib is not installed.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax import ae
        >>> tx = ae.ae_adam(1e-3)
        >>> def step(carry, _):
        ...     x, state = carry
        ...     updates, state = tx.update(2 * x, state, x, value=jnp.sum(x**2))
        ...     return (x + updates, state), ae.monitor(state)
        >>> x = jnp.ones(2)
        >>> _, monitored = jax.lax.scan(step, (x, tx.init(x)), length=20)
        >>> figure = ae.plot.trajectories(monitored)
        >>> [axes.get_title(loc="left") for axes in figure.axes][:3]
        ['learning_rate', 'signals of the loss', 'signals of the phase']
    """
    arrays = _checked(monitored)
    charts = {name: known.chart for name, known in (COEFFICIENTS | dict(ranges or {})).items()}
    names = [key.removeprefix("coefficient/") for key in arrays if key.startswith("coefficient/")]
    for name in names:
        _check_chart(name, charts, arrays[f"coefficient/{name}"])
    if find_spec("matplotlib") is None:
        raise ImportError("Figures need matplotlib: pip install 'etm-jax[plot]'")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    shown_further = any(np.any(arrays[f"signal/{name}"]) for name in _FURTHER)
    num_panels = len(names) + 7 + shown_further
    columns = min(_COLUMNS, num_panels)
    rows = -(-num_panels // columns)
    figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1]), layout="constrained")
    panels = iter([figure.add_subplot(rows, columns, index + 1) for index in range(num_panels)])

    for name in names:
        axes = _panel(next(panels), name, f"{charts[name]} scale", arrays, [f"coefficient/{name}"])
        _chart_scale(axes, charts[name], arrays[f"coefficient/{name}"])
    groups = {"loss": _LOSS, "phase": _PHASE} | ({"reward and validation": _FURTHER} if shown_further else {})
    for about, group in groups.items():
        axes = _panel(next(panels), f"signals of the {about}", "", arrays, [f"signal/{name}" for name in group])
        axes.set_ylim(-1.05, 1.05)
        axes.axhline(0, color="0.5", lw=0.8, zorder=1)
    axes = _panel(next(panels), "uncertainty", "change of log(1 + dispersion)", arrays, ["signal/uncertainty"])
    axes.axhline(0, color="0.5", lw=0.8, zorder=1)
    axes = _panel(next(panels), "effective step", "update / parameter", arrays, ["signal/effective_step"])
    _log_if_positive(axes, arrays["signal/effective_step"])
    axes = _panel(next(panels), "energy", "energy", arrays, ["energy"])
    _log_if_positive(axes, arrays["energy"])
    axes = _panel(next(panels), "rises of the energy", "share of steps", arrays, ["energy_rises"])
    axes.set_ylim(-0.03, 1.03)
    axes = _panel(next(panels), "skipped steps", "steps so far", arrays, ["skipped"])
    axes.set_ylim(0, max(1, np.max(arrays["skipped"])) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in figure.axes[-columns:]:  # the lowest of each column
        axes.set_xlabel("step")
    if arrays["count"].ndim == 2:
        figure.suptitle(f"median and range of {len(arrays['count'])} runs", fontsize="medium")
    return figure


def _checked(monitored: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays as float64, checked to be complete and of one shape."""
    needed = [*(f"signal/{name}" for name in Signals._fields), *_REST]
    missing = [key for key in needed if key not in monitored]
    if missing or not any(key.startswith("coefficient/") for key in monitored):
        what = ", ".join(missing) or "coefficient/NAME"
        raise ValueError(f"monitored lacks {what}; stack all that ae.monitor(state) returns at each step")
    unknown = [key for key in monitored if key not in needed and not key.startswith("coefficient/")]
    if unknown:
        raise ValueError(
            f"monitored has the unknown keys {', '.join(unknown)}; pass only the keys of ae.monitor(state)"
        )
    arrays = {key: np.asarray(value, float) for key, value in monitored.items()}
    shape = arrays["count"].shape
    if len(shape) not in (1, 2) or 0 in shape:
        raise ValueError(
            f"monitored must hold arrays [steps] or [runs, steps] that are not empty, got {shape} for count"
        )
    for key, array in arrays.items():
        if array.shape != shape:
            raise ValueError(
                f"monitored must hold arrays of one shape, got {array.shape} for {key} but {shape} for count"
            )
    counts = np.atleast_2d(arrays["count"])
    if np.any(counts != counts[0]):
        raise ValueError("the runs must have been recorded after the same steps, got different counts; plot each alone")
    return arrays


def _check_chart(name: str, charts: Mapping[str, str], values: np.ndarray) -> None:
    if name not in charts:
        raise ValueError(f"coefficient {name!r} has no chart; give ranges={{{name!r}: ae.Coefficient(...)}}")
    if not np.any(np.isfinite(values)):
        raise ValueError(f"coefficient {name!r} has no finite value, so there is nothing to draw")
    low = -np.inf if charts[name] == HORIZON else 0
    high = np.inf if charts[name] == LOG else 1
    if np.any((values <= low) | (values >= high)):
        raise ValueError(
            f"coefficient {name!r} must lie between {low} and {high} in the {charts[name]} chart, "
            f"got {values.min():g} to {values.max():g}"
        )


def _panel(
    axes: "matplotlib.axes.Axes", title: str, unit: str, arrays: Mapping[str, np.ndarray], keys: list[str]
) -> "matplotlib.axes.Axes":
    """One line per key, with a band for several runs and a legend for several lines."""
    counts = np.atleast_2d(arrays["count"])[0]
    for key in keys:
        runs = np.atleast_2d(arrays[key])
        middle = np.median(runs, axis=0)
        (line,) = axes.plot(
            counts,
            middle,
            label=key.rpartition("/")[2],
            lw=1.3,
            marker="." if len(counts) < _MARK_BELOW else None,
            drawstyle="steps-post" if key == "skipped" else "default",
        )
        if len(runs) > 1:
            step = "post" if key == "skipped" else None
            axes.fill_between(counts, runs.min(0), runs.max(0), step=step, color=line.get_color(), alpha=0.2, lw=0)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_ylabel(unit, fontsize="small")
    axes.tick_params(which="both", labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.85", lw=0.6)
    axes.set_axisbelow(True)
    if len(keys) > 1:
        # Between title and data, so that it covers neither.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.97), ncols=len(keys), frameon=False, fontsize="x-small")
        axes.set_title(title, loc="left", fontsize="medium", pad=16)
    return axes


def _chart_scale(axes: "matplotlib.axes.Axes", chart: str, values: np.ndarray) -> None:
    """Set the axis to a chart's scale, with limits around the values and ticks in the coefficient's own units."""
    forward, inverse, nice = _SCALES[chart]
    positions = forward(values[np.isfinite(values)])
    middle = (positions.max() + positions.min()) / 2
    reach = 0.55 * max(np.ptp(positions), _LEAST_SPAN)
    low, high = float(inverse(middle - reach)), float(inverse(middle + reach))
    axes.set_ylim(low, high)
    if chart == LOG:
        axes.set_yscale("log")
    else:
        axes.set_yscale("function", functions=(_quiet(forward), _quiet(inverse)))
    ticks = [tick for tick in nice if low <= tick <= high]
    if len(ticks) > 1:
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])


def _quiet(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Silence NumPy: matplotlib also evaluates the scale at 0 and 1, which lie outside some charts."""

    def quiet(values: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return function(values)

    return quiet


def _log_if_positive(axes: "matplotlib.axes.Axes", values: np.ndarray) -> None:
    """Use a logarithmic axis unless that would hide values."""
    if np.all(values > 0):
        axes.set_yscale("log")
