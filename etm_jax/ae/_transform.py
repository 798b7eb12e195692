"""The laws around any optax optimiser, in the style of `optax.inject_hyperparams`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from optax import tree

from etm_jax.ae import _laws as laws
from etm_jax.ae._charts import TINY, Coefficient
from etm_jax.ae._coefficients import bind, check, check_scalar, is_guarded, moved_of
from etm_jax.ae._gains import Gains, acts, default_gains, fitting
from etm_jax.ae._signals import (
    Observation,
    low_pass,
    mean_loss,
    measure,
    root,
    typical_gradient,
    zero_filters,
    zero_signals,
)
from etm_jax.ae._state import AEState
from etm_jax.ae._trees import (
    LEAST_SAMPLE,
    SAMPLE,
    Norms,
    entries_of,
    inner_product,
    sizes,
    stored_like,
    wide,
    widened,
    widest,
)

GAUGES = ("cap", "norm", "none")
NEEDS_LOSS = (
    "adaptive evolution needs the loss; call update(grads, state, params, value=loss). apply_gradients of flax's "
    "TrainState does not forward it: call state.tx.update(grads, state.opt_state, state.params, value=loss) and "
    "state.replace(step=..., params=..., opt_state=...)"
)
NEEDS_REAL = (
    "adaptive evolution needs real parameters of a float dtype; split complex ones into real and imaginary arrays, and "
    "exclude integers with optax.masked"
)
NEEDS_PARAMS = "adaptive evolution needs the parameters; call update(grads, state, params, value=loss)"


def adaptive_evolution(
    inner_factory: Callable[..., optax.GradientTransformation],
    coefficients: Sequence[str] = ("learning_rate",),
    *,
    gains: Gains | None = None,
    gauge: str = "cap",
    direction: Callable[[Any, Mapping[str, jax.Array]], Any] | Literal["given"] | None = None,
    noise: bool = False,
    sigma: jax.typing.ArrayLike = 1e-5,
    seed: jax.typing.ArrayLike = 0,
    ranges: Mapping[str, Coefficient] | None = None,
    sample: int | jax.Array | Literal["auto"] | None = None,
    **gain_changes: Any,
) -> Callable[..., optax.GradientTransformationExtraArgs]:
    """Let the laws AE-1 to AE-10 control hyperparameters of any optax optimiser.

    Each coefficient `a` moves in its chart (transform), `z = log a` or `log 1/(1-a)`, by the drive (control input) `u`:

        u = W phi(s) - Gamma (z - z_0) - grad psi(z)        z <- clip(z + D((I + C) eta u))

    where `phi(s)` are features of filtered signals: trend and variance of the loss, reward, the cosine between
    the gradient and the last step, and more (`ae.FEATURES`).

    A step whose loss, gradient, reward or validation loss is not finite changes neither the parameters nor the inner
    state; it is counted in `skipped` and lowers the learning rate.

    Args:
        inner_factory: makes an optimiser from hyperparameters, such as `optax.adamw`. If it has an argument `keep`,
            that is False at a skipped step: the gradients are then 0, and the optimiser must leave its state unchanged.
            Without it the old state is selected afterwards, which costs a pass through both.
        coefficients: which of its arguments the laws move. For decays, use a factory whose bias correction is right for
            a varying decay (`ae.scale_by_varying_adam`).
        gains: the gains of the laws; default `default_gains(coefficients)`. May be traced.
        gauge: AE-8, the trust ratio. `"cap"` bounds the effective step smoothly; `"norm"` also divides the learning
            rate by the rms gradient, for plain gradient descent; `"none"` does neither.
        direction: a function from the inner state and the coefficients by name to the descent direction of the last
            update; or `"given"` if the caller passes it to `update` as `direction=`. By default the last update is
            stored, one more copy of the parameters.
        noise: AE-4, add Gaussian noise of `sigma` times the rms of the parameters; `sigma` is then a coefficient too.
        sigma: initial noise.
        seed: seed of the noise.
        ranges: chart and range of coefficients missing from `ae.COEFFICIENTS`, or to replace those there.
        sample: how many entries of a larger array to measure the cosine and the norms of step and parameters on;
            default, and always under a mask, all; `"auto"` is 4,096. Sampling saves time, but is only right if the
            inner optimiser treats each entry independently, as Adam does. Gradients are checked for finiteness on all
            entries in any case.
        **gain_changes: passed to `default_gains`.

    Returns:
        A function of the factory's arguments that makes the transformation. Its `update` takes the keyword arguments
        `value` (the loss, required), `reward`, `valid_value`, `grad` (the raw gradients, if the incoming updates are
        something else) and `mask` (True = the parameter exists; others must be 0 and count in no norm). Other keywords
        are passed to the inner optimiser. `grad` and `mask` may cover more than the parameters, as inside
        `optax.masked` and `optax.partition`. It costs one more copy of the parameters, or none with `direction`.

        Coefficients are float32, or float64 with float64 parameters. The inner optimiser computes in the same dtype,
        whatever the dtype of the parameters, and its state keeps its initial dtypes.

    Raises:
        ValueError: a coefficient is not an argument of the factory, has no range, or starts outside it; the gauge is
            unknown; gains do not fit the coefficients, or are given together with changes of gains; parameters are
            complex or integers; or `update` gets no loss, no parameters, a loss that is not a scalar, or a mask that
            does not fit.

    References:
        Jacobs 1988; Sutton 1992 (IDBD); Baydin et al. 2018 (hypergradient descent); Hansen & Ostermeier 2001 (CSA);
        You et al. 2020 (trust ratios).

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from etm_jax import ae
        >>> loss = lambda x: jnp.sum((x - 3.0) ** 2)
        >>> tx = ae.adaptive_evolution(optax.adamw)(learning_rate=1e-5)
        >>> x = jnp.zeros(2)
        >>> state = tx.init(x)
        >>> @jax.jit
        ... def step(x, state):
        ...     value, gradient = jax.value_and_grad(loss)(x)
        ...     updates, state = tx.update(gradient, state, x, value=value)
        ...     return optax.apply_updates(x, updates), state
        >>> for _ in range(400):
        ...     x, state = step(x, state)
        >>> bool(loss(x) < 1e-3)
        True
    """
    check(gauge in GAUGES, f"gauge must be one of {', '.join(GAUGES)}, got {gauge!r}")
    sample = SAMPLE if isinstance(sample, str) and sample == "auto" else sample
    if sample is not None and not (isinstance(sample, int) and sample >= LEAST_SAMPLE):
        raise ValueError(
            f"sample must be None or at least {LEAST_SAMPLE} entries, got {sample!r}; it is static, so with "
            "optax.inject_hyperparams name it in static_args"
        )
    moved = moved_of(inner_factory, coefficients, noise, ranges)
    names, guarded = tuple(moved.ranges), is_guarded(inner_factory)
    gauged = gauge == "norm" and "learning_rate" not in coefficients
    check(not gauged, 'gauge="norm" scales the learning rate, so "learning_rate" must be among the coefficients')
    check(gains is None or not gain_changes, f"give gains or changes of gains ({', '.join(gain_changes)}), not both")
    initial_gains = default_gains(names, **gain_changes) if gains is None else fitting(gains, names)
    source = direction

    def last_direction(state: AEState, inner_state: Any, given: Any) -> Any:
        if source == "given":
            check(given is not None, 'direction was set to "given"; call update(..., direction=...)')
            return given
        return source(inner_state, state.hyperparams) if source else tree.scale(-1.0, state.direction)

    @functools.wraps(inner_factory)
    def make(*args: Any, **kwargs: Any) -> optax.GradientTransformationExtraArgs:
        start, inner = bind(inner_factory, moved, sigma, args, kwargs)
        low, high = moved.ends()

        def init_fn(params: Any) -> Any:
            check(all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(params)), NEEDS_REAL)
            zero, no_steps = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
            hyperparams = moved.in_units(start)
            return AEState(
                count=no_steps,
                hyperparams=hyperparams,
                position=start,
                start=start,
                multiplier=zero,
                filters=zero_filters(),
                signals=zero_signals(),
                energy=zero,
                energy_rises=zero,
                skipped=no_steps,
                gains=initial_gains,
                key=jax.random.key(seed) if noise else None,
                direction=None if source else tree.zeros_like(params),
                inner_state=inner(hyperparams).init(params),
            )

        def update_fn(
            updates: Any,
            state: Any,
            params: Any = None,
            *,
            value: jax.typing.ArrayLike | None = None,
            reward: jax.typing.ArrayLike | None = None,
            valid_value: jax.typing.ArrayLike | None = None,
            grad: Any = None,
            mask: Any = None,
            direction: Any = None,
            **extra_args: Any,
        ) -> tuple[Any, Any]:
            check(value is not None, NEEDS_LOSS)
            check(params is not None, NEEDS_PARAMS)
            for name, signal in (("value", value), ("reward", reward), ("valid_value", valid_value)):
                if signal is not None:
                    check_scalar(name, signal)
            grad = None if grad is None else _part("grad", grad, params)
            mask = None if mask is None else tree.cast(_part("mask", mask, params), bool)
            gains = state.gains
            dtype = widest(params)
            count = float(sum(sizes(params))) if mask is None else entries_of(mask)
            norms = Norms(sizes(params), count, sample if mask is None else None)
            sampled, mean = norms.sampled, norms.mean_square
            gradient_square = mean(updates)  # over all entries even with a sample, so that no NaN is missed
            sampled_updates = sampled(updates)
            sampling = sizes(sampled_updates) != norms.sizes
            loss = _float(value)
            finite = jnp.isfinite(gradient_square) & jnp.isfinite(loss)
            for other in (reward, valid_value, None if grad is None else mean(grad)):
                if other is not None:
                    finite &= jnp.isfinite(_float(other))

            def safe(leaf: jax.Array) -> jax.Array:
                return jnp.where(finite, leaf, jnp.zeros_like(leaf))

            def kept(new: Any, old: Any) -> Any:
                return jax.tree.map(lambda one, other: jnp.where(finite, one, other), new, old)

            # AE-1. The cosine is with the previous step, whose descent direction the inner state may still hold.
            sampled_state = sampled(state.inner_state)
            last = sampled(last_direction(state, sampled_state, direction))
            seen = jax.tree.map(safe, sampled_updates if grad is None else sampled(grad))
            last_square = mean(last)
            seen_square = safe(gradient_square) if grad is None and not sampling else mean(seen)
            cosine = inner_product(seen, last, norms.sizes) / (root(seen_square * last_square) * count + TINY)
            filters, signals = measure(
                state.filters,
                gains,
                Observation(
                    loss=safe(loss),
                    reward=None if reward is None else safe(_float(reward)),
                    valid_loss=None if valid_value is None else safe(_float(valid_value)),
                    cosine=jnp.clip(cosine, -1.0, 1.0),
                    has_direction=(last_square > 0) & (state.count > 0),
                    gradient_square=safe(gradient_square),
                    effective_step=state.signals.effective_step,
                ),
            )
            filters = kept(filters, state.filters)
            # AE-2 to AE-7
            phi = jnp.where(finite, laws.features(signals, gains), laws.alarm())
            position, multiplier = laws.evolve(state.position, state.start, state.multiplier, phi, gains, low, high)
            position = laws.detached(position, gains)
            hyperparams = moved.in_units(position)
            used = dict(hyperparams)
            if gauge == "norm":
                used["learning_rate"] = laws.normalised_rate(
                    used["learning_rate"], typical_gradient(filters, gains), gains
                )
            used = {name: value.astype(dtype) for name, value in used.items()}

            def inner_step(keep: jax.Array, gradient: Any, inner_state: Any, params: Any) -> tuple[Any, Any]:
                gradient = jax.tree.map(lambda leaf: jnp.where(keep, leaf, jnp.zeros_like(leaf)), gradient)
                gradient, before, params = (widened(one, dtype) for one in (gradient, inner_state, params))
                raw, after = inner(used, keep).update(gradient, before, params, value=value, **extra_args)
                return raw, stored_like(after, inner_state)

            # AE-8. With a sample the step's length is known before the full update, which then needs only one pass.
            sampled_params = sampled(params)
            scale = root(mean(sampled_params)) + gains.parameter_floor
            effective_step, keep = None, finite
            if sampling:
                sampled_raw, _ = inner_step(finite, sampled_updates, sampled_state, sampled_params)
                effective_step = root(mean(sampled_raw)) / scale
                # Always true, but it makes XLA read the samples before it overwrites the moments, so it copies none.
                keep = finite & ~(effective_step < 0)
            raw, inner_state = inner_step(keep, updates, state.inner_state, params)
            if effective_step is None:
                effective_step = root(mean(raw)) / scale
            factor = laws.bounded_step(effective_step, gains) if gauge != "none" else None

            def bounded(step: jax.Array, param: jax.Array) -> jax.Array:
                step = step if factor is None else step * factor.astype(step.dtype)
                return jnp.where(finite, step, jnp.zeros_like(step)).astype(param.dtype)

            steps = jax.tree.map(bounded, raw, params)
            stored = None
            if source is None:
                stored = kept(_added(gains.direction_decay, state.direction, steps), state.direction)
            key = state.key
            if noise:
                key, key_noise = jax.random.split(state.key)
                amplitude = jnp.where(finite, acts(gains, 4) * hyperparams["sigma"] * scale, 0.0)
                steps = laws.explore(key_noise, steps, amplitude, mask)  # AE-4
            shown = jnp.where(finite, effective_step, state.signals.effective_step)
            energy = laws.energy(mean_loss(filters, gains), position, state.start, gains)
            rose = (energy > state.energy).astype(jnp.float32)
            return steps, AEState(
                count=jnp.asarray(optax.safe_increment(state.count)),
                hyperparams=hyperparams,
                position=position,
                start=state.start,
                multiplier=multiplier,
                filters=filters,
                signals=signals._replace(effective_step=shown),
                energy=energy,
                energy_rises=low_pass(state.energy_rises, rose, gains.decay_variance_slow),
                skipped=state.skipped + (~finite).astype(jnp.int32),
                gains=gains,
                key=key,
                direction=stored,
                inner_state=inner_state if guarded else kept(inner_state, state.inner_state),
            )

        return optax.GradientTransformationExtraArgs(init_fn, update_fn)

    return make


def _float(value: jax.typing.ArrayLike | None) -> jax.Array:
    return jnp.asarray(value).astype(jnp.float32)


def _added(decay: jax.Array, old: Any, new: Any) -> Any:
    """`decay old + new`, in the dtype of the new."""

    def one(before: jax.Array, step: jax.Array) -> jax.Array:
        dtype = wide(step.dtype)
        return (decay.astype(dtype) * before.astype(dtype) + step.astype(dtype)).astype(step.dtype)

    return jax.tree.map(one, old, new)


def _part(name: str, whole: Any, params: Any) -> Any:
    """The part of a tree that covers these parameters: inside `optax.partition` the caller's tree covers all groups.

    Raises:
        ValueError: a parameter is missing or has another shape.
    """

    def one(param: Any, leaf: Any) -> Any:
        if isinstance(param, optax.MaskedNode):
            return param
        if jnp.shape(leaf) != jnp.shape(param):
            raise ValueError(f"shape {jnp.shape(leaf)} in place of {jnp.shape(param)}")
        return leaf

    try:
        return jax.tree.map(one, params, whole, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must be a tree of the parameters' structure and shapes, with a leaf for each: "
            f"{str(error).splitlines()[0]}"
        ) from None
