"""Gains: every number of the controller, as a pytree that can be traced, vmapped and differentiated."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

FEATURES = (
    "progress",
    "stability",
    "reward",
    "phase",
    "uncertainty",
    "stall",
    "overfit",
    "gauge",
    "persistence",
    "mastery",
)
LAWS = tuple(f"AE-{number}" for number in range(1, 11))


class Gains(NamedTuple):
    """The gains of the laws: `m` coefficients, `k = len(FEATURES)` features; float32.

    Attributes:
        drive: `[m, k]`, W of AE-2: how each feature moves each coefficient.
        leak: `[m]`, Gamma of AE-2: pull back to the coefficient's initial value.
        meta_step: `[m]`, eta of AE-3: how far a drive (control input) of 1 moves a coefficient per step, in its chart.
        coupling: `[m, m]`, C of AE-7: how much of one coefficient's increment is added to another's.
        laws: `[10]`, 1 = the law is on, 0 = off; see `without`.
        decay_fast, decay_slow: decays of the two loss filters whose difference is the trend.
        decay_variance, decay_variance_slow: decays of the squared-innovation filters whose ratio is the variance
            signal.
        decay_phase: decay of the filters of the cosine between gradient and last step and of the quality.
        decay_gradient: decay of the mean square gradient filter.
        phase_target: rho*, the cosine at which a step has the right length; 0 by the hypergradient.
        phase_noise: added to rho*, in standard deviations of the cosine; -1 where parameters are averaged.
        phase_width, phase_floor: the cosine is divided by `phase_width` standard errors plus `phase_floor`.
        trend_width: scale of the trend's t-statistic in its tanh.
        variance_limit: ratio of the variance to its long-run mean above which stability acts.
        variance_width: scale of the excess in its tanh, in logarithms of the standard deviation.
        surge: how much an excess of variance *in phase* raises a coefficient; a drift of the task looks like that.
        budget_up, budget_down: largest step of a coefficient in its chart, up and down (AE-6).
        power, dual_step: allowed mean squared step, and the step size of its multiplier; `dual_step=0` turns it off.
        step_limit: effective step (rms update / rms parameter) at which AE-8 halves the square of the update.
        parameter_floor: added to the rms of the parameters in the effective step.
        barrier: slope of the hinge over the outer 5 % of a coefficient's range (AE-2).
        direction_decay: decay of the stored direction, `d <- decay d + update`.
        mean_growth: growth per step of the averaging window of `averaged`; 0.1 = the last tenth of all steps.
        forget_beyond, forget_most: trend, in [0, 1), above which that mean forgets; largest share forgotten per step.
    """

    # `Any`, since a gain is a number or list as given, and an array once `default_gains` or `fitting` has cast it.
    drive: Any
    leak: Any
    meta_step: Any
    coupling: Any
    laws: Any
    decay_fast: Any = 0.9
    decay_slow: Any = 0.97
    decay_variance: Any = 0.9
    decay_variance_slow: Any = 0.99
    decay_phase: Any = 0.9
    decay_gradient: Any = 0.99
    phase_target: Any = 0.0
    phase_noise: Any = 0.0
    phase_width: Any = 3.0
    phase_floor: Any = 0.02
    trend_width: Any = 2.0
    variance_limit: Any = 4.0
    variance_width: Any = 0.5
    surge: Any = 1.0
    budget_up: Any = 0.15
    budget_down: Any = 0.7
    power: Any = 1e-2
    dual_step: Any = 0.0
    step_limit: Any = 0.03
    parameter_floor: Any = 1e-2
    barrier: Any = 1.0
    direction_decay: Any = 0.0
    mean_growth: Any = 0.15
    forget_beyond: Any = 0.9
    forget_most: Any = 0.3


class Row(NamedTuple):
    """The default gains of one coefficient."""

    drive: dict[str, float]
    leak: float
    meta_step: float


_DECAY = Row({"stability": 0.5, "phase": 0.3}, leak=0.2, meta_step=0.03)
ROWS = {
    "learning_rate": Row(
        {"progress": 0.3, "stability": 1.0, "reward": 0.3, "phase": 1.0, "gauge": 10.0, "persistence": 3.0}, 0.0, 0.03
    ),
    "b1": _DECAY,
    "momentum": _DECAY,
    "b2": Row({"stability": -0.5, "uncertainty": 0.5}, leak=0.2, meta_step=0.02),
    "eps": Row({"progress": -0.2, "stability": -1.0, "phase": -0.3}, leak=0.2, meta_step=0.03),
    "weight_decay": Row({"overfit": 1.0}, leak=0.2, meta_step=0.02),
    "sigma": Row({"stability": 1.0, "stall": 1.0}, leak=0.1, meta_step=0.05),  # AE-4
    # Explore while the reward stalls or falls, exploit while it rises.
    "entropy_temperature": Row({"reward": -1.0, "stall": 0.3, "stability": 0.5}, leak=0.1, meta_step=0.03),
    # Hold the policy back when it becomes unstable, release it while the reward rises.
    "kl_weight": Row({"reward": -0.5, "stability": -1.0, "phase": -0.3}, leak=0.1, meta_step=0.03),
    # Mastery in place of stall: the loss also stalls at chance, where nothing has been learnt.
    "difficulty": Row({"progress": 0.5, "mastery": 0.5, "stability": 1.0}, leak=0.0, meta_step=0.03),
    "augmentation": Row({"overfit": 1.0, "stability": 0.5}, leak=0.1, meta_step=0.03),
}


def default_gains(
    names: Sequence[str],
    *,
    drive: Mapping[str, Mapping[str, float]] | None = None,
    leak: Mapping[str, float] | None = None,
    meta_step: Mapping[str, float] | None = None,
    coupling: Mapping[str, Mapping[str, float]] | None = None,
    **numbers: jax.typing.ArrayLike,
) -> Gains:
    """The default gains of these coefficients, in this order; the benchmarks in `bench/ae` use them.

    Args:
        names: coefficients.
        drive: entries of W to replace, by coefficient and feature: `{"b1": {"phase": 0.5}}`.
        leak: entries to replace, by coefficient.
        meta_step: entries to replace, by coefficient.
        coupling: entries of C, by the coefficient moved and the one it follows: `{"learning_rate": {"momentum": -1}}`
            is right for heavy-ball momentum, where the effective rate is `learning_rate / (1 - momentum)`.
        **numbers: other fields of `Gains`.

    Raises:
        ValueError: a coefficient, feature or field is unknown, or a number is not finite.

    Example:
        >>> from etm_jax import ae
        >>> ae.default_gains(("learning_rate",), budget_up=0.1).drive.shape
        (1, 10)
    """
    # A coefficient without defaults does not move until the caller gives its `drive`.
    rows = {name: ROWS.get(name, Row({}, leak=0.0, meta_step=0.03)) for name in names}
    for changes in (drive, leak, meta_step, coupling):
        _check_known(changes, names, "coefficient")
    for name, changes in (drive or {}).items():
        _check_known(changes, FEATURES, "feature")
        rows[name] = rows[name]._replace(drive=rows[name].drive | dict(changes))
    for changes in (coupling or {}).values():
        _check_known(changes, names, "coefficient")
    _check_known(numbers, [field for field in Gains._fields if field != "laws"], "gain")
    tables = [row for table in (drive, coupling) if table for row in table.values()]
    for given in (numbers, leak or {}, meta_step or {}, *tables):
        for name, value in given.items():
            if isinstance(value, int | float) and not math.isfinite(value):
                raise ValueError(f"gains must be finite, got {value} for {name}")
    gains = Gains(
        drive=[[rows[name].drive.get(feature, 0.0) for feature in FEATURES] for name in names],
        leak=[(leak or {}).get(name, rows[name].leak) for name in names],
        meta_step=[(meta_step or {}).get(name, rows[name].meta_step) for name in names],
        coupling=[[(coupling or {}).get(name, {}).get(other, 0.0) for other in names] for name in names],
        laws=[1.0] * len(LAWS),
        **numbers,
    )
    return Gains(*[jnp.asarray(value, jnp.float32) for value in gains])


def fitting(gains: Gains, names: Sequence[str]) -> Gains:
    """Gains cast to float32.

    Raises:
        ValueError: `drive` has the wrong shape for these coefficients.
    """
    shape, count = jnp.shape(gains.drive), len(names)
    if shape != (count, len(FEATURES)):
        raise ValueError(
            f"gains must be those of the coefficients {', '.join(names)}, with a drive of shape "
            f"{(count, len(FEATURES))}, got {shape}; make them with default_gains({tuple(names)!r})"
        )
    return Gains(*[jnp.asarray(value, jnp.float32) for value in gains])


def _check_known(given: Any, known: Sequence[str], what: str) -> None:
    for name in given or ():
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")


def without(gains: Gains, *laws: str) -> Gains:
    """The same gains with some laws switched off.

    Args:
        gains: any gains.
        *laws: any of `"AE-1"` (all signals 0), `"AE-2"` (no drive), `"AE-3"` (coefficients constant), `"AE-4"` (no
            noise), `"AE-5"` (no phase and no stability), `"AE-6"` (steps unbounded), `"AE-7"` (no coupling), `"AE-8"`
            (effective step unbounded), `"AE-9"` (no gradient through the controller), `"AE-10"` (energy not
            monitored).

    Raises:
        ValueError: a law is unknown.

    Example:
        >>> from etm_jax import ae
        >>> ae.without(ae.default_gains(("learning_rate",)), "AE-8").laws.tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    """
    _check_known(laws, LAWS, "law")
    acts = jnp.asarray([law not in laws for law in LAWS], jnp.float32)
    return gains._replace(laws=gains.laws * acts)


def acts(gains: Gains, law: int) -> jax.Array:
    """1 if law AE-`law` is on, 0 if it is off."""
    return gains.laws[..., law - 1]
