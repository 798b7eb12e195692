"""Charts: transforms of coefficients, in which a step has the same effect at every value of the coefficient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LOG, HORIZON, LOGIT = "log", "horizon", "logit"
CHARTS = (LOG, HORIZON, LOGIT)
TINY = 1e-30


class Coefficient(NamedTuple):
    """Transform and range of a coefficient.

    Attributes:
        chart: the transform: `"log"` for rates and scales, `"horizon"` for decays (the horizon is `1 / (1 - decay)`),
            `"logit"` for gates and shares.
        low: lower bound.
        high: upper bound.
    """

    chart: str
    low: float
    high: float


COEFFICIENTS = {
    "learning_rate": Coefficient(LOG, 1e-8, 1e2),
    "b1": Coefficient(HORIZON, 0.0, 0.99),
    "b2": Coefficient(HORIZON, 0.9, 0.9999),
    "momentum": Coefficient(HORIZON, 0.0, 0.99),
    "eps": Coefficient(LOG, 1e-12, 1e-3),
    "weight_decay": Coefficient(LOG, 1e-6, 1.0),
    "sigma": Coefficient(LOG, 1e-7, 1e-1),
    "entropy_temperature": Coefficient(LOG, 1e-4, 1.0),
    "kl_weight": Coefficient(LOG, 1e-4, 1e2),
    "difficulty": Coefficient(LOGIT, 0.02, 0.98),
    "augmentation": Coefficient(LOGIT, 0.02, 0.98),
}


def check_coefficient(name: str, coefficient: Coefficient) -> None:
    """Raise a ValueError unless the chart is known and the range lies inside it."""
    chart, low, high = coefficient
    if chart not in CHARTS:
        raise ValueError(f"the chart of {name} must be one of {', '.join(CHARTS)}, got {chart!r}")
    least, most = {LOG: (0, float("inf")), HORIZON: (-float("inf"), 1), LOGIT: (0, 1)}[chart]
    closed = chart == HORIZON
    if not ((least < low or closed) and low < high < most):
        raise ValueError(
            f"the range of {name} must satisfy {least} < low < high < {most} in the {chart} chart, got ({low}, {high})"
        )


def to_chart(chart: str, value: jax.typing.ArrayLike) -> jax.Array:
    """Transform a coefficient: `log a`, `log 1/(1-a)` or `log a/(1-a)`, in float32."""
    value = jnp.asarray(value, jnp.float32)
    if chart == LOG:
        return jnp.log(jnp.maximum(value, TINY))
    if chart == HORIZON:
        return -jnp.log1p(-value)
    return jnp.log(value) - jnp.log1p(-value)


def from_chart(chart: str, position: jax.Array) -> jax.Array:
    """The inverse of `to_chart`."""
    if chart == LOG:
        return jnp.exp(position)
    if chart == HORIZON:
        return -jnp.expm1(-position)
    return jax.nn.sigmoid(position)
