"""What an adaptive optimiser remembers from one step to the next."""

from typing import Any, NamedTuple

import jax

from etm_jax.ae._gains import Gains
from etm_jax.ae._signals import Filters, Signals


class AEState(NamedTuple):
    """State of `adaptive_evolution`; `m` coefficients.

    Attributes:
        count: steps, int32.
        hyperparams: the coefficients in their own units, by name; `optax.tree.get(state, "learning_rate")` finds one.
        position: `[m]`, the coefficients in their charts.
        start: `[m]`, where they started; what a leak pulls them back to.
        multiplier: the dual variable of AE-6.
        filters: state of AE-1.
        signals: what the laws last saw.
        energy: AE-10, of the last step.
        energy_rises: filtered share of steps on which the energy rose.
        skipped: steps whose loss or gradients were not finite, int32.
        gains: every number of the laws.
        key: for the noise of AE-4; None without noise.
        direction: the last update; None where it is read off the inner state instead.
        inner_state: of the wrapped optimiser.
    """

    count: jax.Array
    hyperparams: dict[str, jax.Array]
    position: jax.Array
    start: jax.Array
    multiplier: jax.Array
    filters: Filters
    signals: Signals
    energy: jax.Array
    energy_rises: jax.Array
    skipped: jax.Array
    gains: Gains
    key: jax.Array | None
    direction: Any
    inner_state: Any
