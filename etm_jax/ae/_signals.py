"""AE-1, measurement: from loss, reward and gradients to filtered signals without a scale."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from etm_jax.ae._charts import TINY
from etm_jax.ae._gains import Gains, acts

WARM_STEPS = 10.0  # steps after the first two over which the loss signals are faded in


class Filters(NamedTuple):
    """Low-pass filters, float32 scalars; each starts at 0 and is divided by its weight `1 - decay^n` when read."""

    loss_fast: jax.Array
    loss_slow: jax.Array
    variance: jax.Array
    variance_slow: jax.Array
    reward_fast: jax.Array
    reward_slow: jax.Array
    reward_variance: jax.Array
    cosine: jax.Array
    cosine_square: jax.Array
    gradient_square: jax.Array
    dispersion_fast: jax.Array
    dispersion_slow: jax.Array
    loss_first: jax.Array  # slow mean of the loss at the end of the warm-up
    quality: jax.Array
    steps: jax.Array  # finite steps so far


class Signals(NamedTuple):
    """Inputs of the laws: float32 scalars without a scale.

    Attributes:
        trend: tanh of the loss's t-statistic, fast mean minus slow mean over its standard error; below 0 is progress.
        variance: in [0, 1), how far the loss's innovations exceed their long-run size.
        reward_delta: tanh of the reward's t-statistic.
        alignment: filtered cosine between the gradient and the last step's descent direction, in [-1, 1].
        quality: alignment in units of its standard error, squashed to (-1, 1); 0 for a step of the right length.
        uncertainty: log(1 + relative dispersion of the squared gradient norm) minus its long-run value; about 0 while
            the noise of the gradients does not change.
        stall: in [0, 1], near 1 without a trend.
        overfit: tanh of (validation loss - loss) / loss; 0 without a validation loss.
        effective_step: rms of the update over rms of the parameters, at the previous step.
        persistence: cube of the filtered quality; large only if the quality keeps its sign.
        mastery: in [0, 1], share of the initial loss that has been removed, beyond the loss's noise.
    """

    trend: jax.Array
    variance: jax.Array
    reward_delta: jax.Array
    alignment: jax.Array
    quality: jax.Array
    uncertainty: jax.Array
    stall: jax.Array
    overfit: jax.Array
    effective_step: jax.Array
    persistence: jax.Array
    mastery: jax.Array


class Observation(NamedTuple):
    """Measurements of one step, float32 scalars.

    Attributes:
        loss: of this step.
        reward: of this step; None if there is none.
        valid_loss: on validation data; None if there is none.
        cosine: between the gradient and the last step's descent direction.
        has_direction: True = there was a last step.
        gradient_square: mean square of the gradient.
        effective_step: of the previous step.
    """

    loss: jax.Array
    reward: jax.Array | None
    valid_loss: jax.Array | None
    cosine: jax.Array
    has_direction: jax.Array
    gradient_square: jax.Array
    effective_step: jax.Array


def zero_filters() -> Filters:
    """Filters before the first step."""
    return Filters(*[jnp.zeros((), jnp.float32)] * len(Filters._fields))


def zero_signals() -> Signals:
    """Signals before the first step."""
    return Signals(*[jnp.zeros((), jnp.float32)] * len(Signals._fields))


def root(value: jax.Array) -> jax.Array:
    """Square root with slope 0 at 0, where the true slope is infinite (AE-9). NaN stays NaN."""
    positive = ~(value <= 0)
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0)


def low_pass(mean: jax.Array, value: jax.Array, decay: jax.Array) -> jax.Array:
    """One step of an exponential mean: `decay mean + (1 - decay) value`."""
    return decay * mean + (1 - decay) * value


def weight(decay: jax.Array, steps: jax.Array) -> jax.Array:
    """The weight of a filter that started at 0: what to divide it by after `steps` steps."""
    return jnp.maximum(1 - decay**steps, TINY)


def difference_variance(fast: jax.Array, slow: jax.Array) -> jax.Array:
    """Variance of (fast mean - slow mean) of white noise of variance 1."""
    own = (1 - fast) / (1 + fast) + (1 - slow) / (1 + slow)
    return own - 2 * (1 - fast) * (1 - slow) / (1 - fast * slow)


def measure(filters: Filters, gains: Gains, seen: Observation) -> tuple[Filters, Signals]:
    """One step of AE-1.

    With LP_b the exponential mean of decay b divided by its weight, and e the innovation of the loss against the
    *previous* fast mean:

        e = l - LP_fast(l)[t-1]      V = LP_var(e^2)      V* = LP_slow var(e^2)
        T = (LP_fast(l) - LP_slow(l)) / sqrt(k V*)         trend,      signal tanh(T / width)
        X = tanh(relu(log(V / V*) / 2 - log(limit) / 2) / width)       variance
        c = cos(g_t, -u_{t-1})       rho = LP(c)           alignment
        q = tanh((rho - rho* - noise sd) / (width se + floor))        quality
        D = |g^2 / LP(g^2) - 1|
        S = log(1 + LP_var(D)) - log(1 + LP_slow var(D))   uncertainty
        P = LP(q)^3                                        persistence
        M = relu(l_0 - LP_fast(l) - sqrt(V*)) / |l_0|      mastery, l_0 the mean loss of the first steps

    Args:
        filters: the state.
        gains: decays and widths.
        seen: this step's measurements.

    Returns:
        The next filters and the signals; all signals are 0 if AE-1 is off.
    """
    steps = filters.steps + 1
    warm = jnp.clip((steps - 2.0) / WARM_STEPS, 0.0, 1.0)
    spread = difference_variance(gains.decay_fast, gains.decay_slow)

    loss_fast, loss_slow, innovation = _means(filters.loss_fast, filters.loss_slow, filters.steps, gains, seen.loss)
    variance = low_pass(filters.variance, innovation**2, gains.decay_variance)
    variance_slow = low_pass(filters.variance_slow, innovation**2, gains.decay_variance_slow)
    mean, slow_mean = loss_fast / weight(gains.decay_fast, steps), loss_slow / weight(gains.decay_slow, steps)
    short_weight, long_weight = weight(gains.decay_variance, steps), weight(gains.decay_variance_slow, steps)
    short, long = variance / short_weight, variance_slow / long_weight
    # The added terms cover float32 rounding of a loss of this size, so that a constant loss has no trend.
    error = root(jnp.maximum(spread * long, TINY)) + 1e-6 * jnp.abs(mean) + TINY
    trend = warm * (mean - slow_mean) / error
    rounding = TINY + 1e-14 * mean * mean
    excess = warm * 0.5 * (jnp.log(short + rounding) - jnp.log(long + rounding))
    excess = jnp.tanh(jax.nn.relu(excess - 0.5 * jnp.log(gains.variance_limit)) / gains.variance_width)

    reward_fast, reward_slow, reward_variance = filters.reward_fast, filters.reward_slow, filters.reward_variance
    rise = jnp.zeros_like(trend)
    if seen.reward is not None:
        reward_fast, reward_slow, surprise = _means(reward_fast, reward_slow, filters.steps, gains, seen.reward)
        reward_variance = low_pass(reward_variance, surprise**2, gains.decay_variance_slow)
        error = root(spread * reward_variance / long_weight) + TINY**0.5
        difference = reward_fast / weight(gains.decay_fast, steps) - reward_slow / weight(gains.decay_slow, steps)
        rise = warm * difference / error

    # The first step has no previous direction, so the phase filters are one step younger.
    phase_weight = weight(gains.decay_phase, jnp.maximum(steps - 1, 1.0))
    cosine = jnp.where(seen.has_direction, low_pass(filters.cosine, seen.cosine, gains.decay_phase), 0.0)
    square = jnp.where(seen.has_direction, low_pass(filters.cosine_square, seen.cosine**2, gains.decay_phase), 0.0)
    alignment = cosine / phase_weight
    of_mean = (1 - gains.decay_phase) / (1 + gains.decay_phase)  # variance of the mean / variance of a sample
    deviation = root(jnp.maximum(square / phase_weight - alignment**2, TINY))
    tolerance = gains.phase_width * root(of_mean) * deviation + gains.phase_floor
    target = gains.phase_target + gains.phase_noise * deviation
    quality = jnp.where(seen.has_direction, jnp.tanh((alignment - target) / tolerance), 0.0)
    filtered_quality = low_pass(filters.quality, quality, gains.decay_phase)

    gradient_square = low_pass(filters.gradient_square, seen.gradient_square, gains.decay_gradient)
    typical = gradient_square / weight(gains.decay_gradient, steps)
    excess_square = jnp.abs(seen.gradient_square / (typical + TINY) - 1)
    # The level depends on the batch size and says nothing; only a change from it may move a coefficient.
    dispersion_fast = low_pass(filters.dispersion_fast, excess_square, gains.decay_variance)
    dispersion_slow = low_pass(filters.dispersion_slow, excess_square, gains.decay_variance_slow)

    first = jnp.where(warm < 1, slow_mean, filters.loss_first)
    gone = jax.nn.relu(first - mean - root(long))

    overfit = jnp.zeros_like(trend)
    if seen.valid_loss is not None:
        overfit = jnp.tanh((seen.valid_loss - mean) / (jnp.abs(mean) + TINY))

    signals = Signals(
        trend=jnp.tanh(trend / gains.trend_width),
        variance=excess,
        reward_delta=jnp.tanh(rise / gains.trend_width),
        alignment=alignment,
        quality=quality,
        uncertainty=jnp.log1p(dispersion_fast / short_weight) - jnp.log1p(dispersion_slow / long_weight),
        stall=warm * jnp.exp(-((trend / gains.trend_width) ** 2)),
        overfit=overfit,
        effective_step=seen.effective_step,
        persistence=filtered_quality**3,
        mastery=jnp.minimum(gone / (jnp.abs(first) + TINY), 1.0),
    )
    filters = Filters(
        loss_fast=loss_fast,
        loss_slow=loss_slow,
        variance=variance,
        variance_slow=variance_slow,
        reward_fast=reward_fast,
        reward_slow=reward_slow,
        reward_variance=reward_variance,
        cosine=cosine,
        cosine_square=square,
        gradient_square=gradient_square,
        dispersion_fast=dispersion_fast,
        dispersion_slow=dispersion_slow,
        loss_first=first,
        quality=filtered_quality,
        steps=steps,
    )
    return filters, jax.tree.map(lambda signal: signal * acts(gains, 1), signals)  # AE-1


def _means(
    fast: jax.Array, slow: jax.Array, steps: jax.Array, gains: Gains, value: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Both means after a new value, and its innovation against the previous fast mean."""
    before = fast / weight(gains.decay_fast, steps)
    innovation = jnp.where(steps > 0, value - before, 0.0)
    return low_pass(fast, value, gains.decay_fast), low_pass(slow, value, gains.decay_slow), innovation


def mean_loss(filters: Filters, gains: Gains) -> jax.Array:
    """Fast mean of the loss; 0 before the first step."""
    return filters.loss_fast / weight(gains.decay_fast, filters.steps)


def typical_gradient(filters: Filters, gains: Gains) -> jax.Array:
    """Root of the filtered mean square gradient; 1 before the first step."""
    mean_square = filters.gradient_square / weight(gains.decay_gradient, filters.steps)
    return jnp.where(filters.steps > 0, root(mean_square), 1.0)
