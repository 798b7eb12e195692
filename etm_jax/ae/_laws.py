"""The laws AE-2 to AE-10, one pure function each. AE-1 is `measure`.

Shapes: `m` coefficients, `k` features (`FEATURES`). Positions `z` are coefficients in their charts (transforms).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax import tree

from etm_jax.ae._charts import TINY
from etm_jax.ae._gains import FEATURES, Gains, acts
from etm_jax.ae._signals import Signals
from etm_jax.ae._trees import wide

LEAST_GRADIENT = 1e-15  # smallest rms to divide by: XLA may square the rate, which must stay finite
BARRIER_SHARE = 0.05  # outer share of a coefficient's range in which the barrier pushes back


class Resonance(NamedTuple):
    """The three features of AE-5, float32 scalars."""

    phase: jax.Array
    stability: jax.Array
    persistence: jax.Array


def features(signals: Signals, gains: Gains) -> jax.Array:
    """`phi [k]`: the input of the drive matrix, in the order of `FEATURES`."""
    resonant = resonance(signals, gains)
    # Anti-windup: the cap of AE-8 hides a rate that is too large, so the excess over the cap must lower the rate.
    beyond = acts(gains, 8) * jax.nn.relu(jnp.log(signals.effective_step / gains.step_limit + TINY))
    by_name = {
        "progress": -signals.trend,
        "stability": resonant.stability,
        "reward": signals.reward_delta,
        "phase": resonant.phase,
        "uncertainty": signals.uncertainty,
        "stall": signals.stall,
        "overfit": signals.overfit,
        "gauge": -beyond,
        "persistence": resonant.persistence,
        "mastery": signals.mastery,
    }
    return jnp.stack([by_name[name] for name in FEATURES])


def alarm() -> jax.Array:
    """`phi [k]` for a step whose loss or gradient is not finite: strong instability, all else 0."""
    return jnp.asarray([-5.0 if name == "stability" else 0.0 for name in FEATURES], jnp.float32)


def resonance(signals: Signals, gains: Gains) -> Resonance:
    """AE-5: phase, stability and persistence, with the step quality A = (1 + quality) / 2.

    Out of phase an excess of variance X is an instability: `-2 X (1 - A)`. In phase it looks like a drift of the task
    and raises a coefficient: `+2 X A surge`.
    """
    in_phase, out_of_phase = (1 + signals.quality) / 2, (1 - signals.quality) / 2
    stability = -2 * signals.variance * (out_of_phase - gains.surge * in_phase)
    on = acts(gains, 5)
    return Resonance(on * signals.quality, on * stability, on * signals.persistence)  # AE-5


def drive(z: jax.Array, start: jax.Array, phi: jax.Array, gains: Gains, low: jax.Array, high: jax.Array) -> jax.Array:
    """AE-2, the drive (control input): `u = W phi - Gamma (z - z_start) - grad psi(z)`, all `[m]`.

    psi is a quadratic hinge at both ends of the range.
    """
    margin = BARRIER_SHARE * (high - low)
    hinge = gains.barrier * (jax.nn.relu(low + margin - z) - jax.nn.relu(z - high + margin)) / margin
    return acts(gains, 2) * (gains.drive @ phi - gains.leak * (z - start) + hinge)  # AE-2


def couple(increment: jax.Array, gains: Gains) -> jax.Array:
    """AE-7: `(I + C) dz`. It couples increments, since coupling the coefficients would integrate a constant."""
    return increment + acts(gains, 7) * (gains.coupling @ increment)  # AE-7


def budget(increment: jax.Array, gains: Gains) -> jax.Array:
    """AE-6: `b tanh(dz / b)`, a smooth bound on each step; wider downwards, to leave a bad rate quickly."""
    bound = jnp.where(increment > 0, gains.budget_up, gains.budget_down)
    return increment + acts(gains, 6) * (bound * jnp.tanh(increment / bound) - increment)  # AE-6


def dual(multiplier: jax.Array, moved: jax.Array, gains: Gains) -> jax.Array:
    """AE-6 in the long run: a multiplier that grows while squared steps exceed `power` and shrinks the drive."""
    excess = jnp.sum(moved * moved) - gains.power
    return acts(gains, 6) * jax.nn.relu(multiplier + gains.dual_step * excess)


def evolve(
    z: jax.Array,
    start: jax.Array,
    multiplier: jax.Array,
    phi: jax.Array,
    gains: Gains,
    low: jax.Array,
    high: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """AE-3 around AE-2, AE-6 and AE-7: `z <- clip(z + D((I + C) eta u / sqrt(1 + nu)))`.

    In the log chart this is the multiplicative update `a <- a exp(eta u)`.

    Returns:
        The next position and the next multiplier.
    """
    u = drive(z, start, phi, gains, low, high)
    increment = budget(couple(gains.meta_step * u / jnp.sqrt(1 + multiplier), gains), gains)
    after = jnp.clip(z + acts(gains, 3) * increment, low, high)  # AE-3
    return after, dual(multiplier, after - z, gains)


def bounded_step(effective_step: jax.Array, gains: Gains) -> jax.Array:
    """AE-8, the gauge: a smooth trust ratio, the factor `1 / sqrt(1 + (step / limit)^2)` of the update."""
    ratio = effective_step / gains.step_limit
    return 1 + acts(gains, 8) * (jax.lax.rsqrt(1 + ratio * ratio) - 1)  # AE-8


def normalised_rate(learning_rate: jax.Array, typical: jax.Array, gains: Gains) -> jax.Array:
    """AE-8 for plain gradient descent: the rate over the rms gradient, which cancels the scale of the loss."""
    return learning_rate / jnp.maximum(1 + acts(gains, 8) * (typical - 1), LEAST_GRADIENT)  # AE-8


def explore(key: jax.Array, updates: Any, scale: jax.Array, mask: Any = None) -> Any:
    """AE-4: add `scale * N(0, I)` to the updates where `mask` is True. The coefficient `sigma` sets `scale`."""
    noise = tree.random_like(key, updates, sampler=jax.random.normal)
    if mask is not None:
        noise = jax.tree.map(lambda draw, exists: jnp.where(exists, draw, jnp.zeros_like(draw)), noise, mask)

    def one(update: jax.Array, draw: jax.Array) -> jax.Array:
        dtype = wide(update.dtype)
        return (update.astype(dtype) + scale.astype(dtype) * draw.astype(dtype)).astype(update.dtype)  # AE-4

    return jax.tree.map(one, updates, noise)


def detached(leaf: jax.Array, gains: Gains) -> jax.Array:
    """AE-9: the value itself; with the law off, no gradient flows through it."""
    return jax.lax.stop_gradient(leaf) + acts(gains, 9) * (leaf - jax.lax.stop_gradient(leaf))  # AE-9


def span(before: jax.Array, signals: Signals, gains: Gains) -> jax.Array:
    """Averaging window of `averaged` in steps: `n <- max(1, (1 - f) n + growth)`.

    The mean covers a fixed share of all steps until the loss shows a significant trend; then it forgets, `f > 0`.
    """
    beyond = jax.nn.relu(jnp.abs(signals.trend) - gains.forget_beyond) / (1 - gains.forget_beyond)
    return jnp.maximum((1 - gains.forget_most * beyond) * before + gains.mean_growth, 1.0)


def energy(loss: jax.Array, z: jax.Array, start: jax.Array, gains: Gains) -> jax.Array:
    """AE-10: `LP(loss) + Gamma |z - z_start|^2 / 2`. Only monitored: under drift no law can keep it from rising."""
    return acts(gains, 10) * (loss + 0.5 * jnp.sum(gains.leak * (z - start) ** 2))  # AE-10
