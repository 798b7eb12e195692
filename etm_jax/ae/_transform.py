"""The laws around any optax optimiser, in the manner of `optax.inject_hyperparams`."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from optax import tree

from etm_jax.ae import _laws as laws
from etm_jax.ae._charts import COEFFICIENTS, TINY, Coefficient, check_coefficient, from_chart, to_chart
from etm_jax.ae._gains import Gains, acts, default_gains
from etm_jax.ae._norms import inner_product, mean_square, size
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

GAUGES = ("cap", "norm", "none")
NEEDS_LOSS = "adaptive evolution needs the loss; call update(grads, state, params, value=loss)"
NEEDS_PARAMS = "adaptive evolution needs the parameters; call update(grads, state, params, value=loss)"


def adaptive_evolution(
    inner_factory: Callable[..., optax.GradientTransformation],
    coefficients: Sequence[str] = ("learning_rate",),
    *,
    gains: Gains | None = None,
    gauge: str = "cap",
    direction: Callable[[Any], Any] | Literal["given"] | None = None,
    noise: bool = False,
    sigma: float = 1e-5,
    seed: int = 0,
    ranges: Mapping[str, Coefficient] | None = None,
    **gain_changes: Any,
) -> Callable[..., optax.GradientTransformationExtraArgs]:
    """Let hyperparameters of any optax optimiser follow the laws AE-1 to AE-10.

    Each coefficient `a` moves in its chart, `z = log a` or `log 1/(1-a)`, by

        u = W phi(s) - Gamma (z - z_0) - grad psi(z)        z <- clip(z + D((I + C) eta u))

    where `phi(s)` are features of filtered signals: trend and variance of the loss, reward, the cosine between
    the gradient and the last step, and more (`ae.FEATURES`).

    A step whose loss, gradient, reward or validation loss is not finite changes no parameter and nothing of the inner
    state; it is counted in `skipped`, and lowers the learning rate.

    Args:
        inner_factory: makes an optimiser from hyperparameters, `optax.adamw` for one.
        coefficients: which of its arguments the laws move. Where decays are among them, use a factory whose bias
            correction is right for a varying decay (`ae.scale_by_varying_adam`).
        gains: every number of the laws; from `default_gains(coefficients)` by default. May be traced.
        gauge: AE-8. `"cap"` bounds the effective step smoothly; `"norm"` also divides the learning rate by the rms
            gradient, for plain gradient descent; `"none"` does neither.
        direction: from the inner state to the descent direction of its last update, where that can be read off it; or
            `"given"`, where the caller hands it to `update` as `direction=`. By default the last update is stored, one
            more copy of the parameters.
        noise: AE-4, add Gaussian noise of `sigma` times the rms of the parameters; `sigma` is then a coefficient too.
        sigma: where the noise starts.
        seed: of the noise.
        ranges: chart and range of coefficients that `ae.COEFFICIENTS` lacks, or to replace its own.
        **gain_changes: passed to `default_gains`.

    Returns:
        A function of the factory's own arguments that makes the transformation. Its `update` takes the keyword
        arguments `value` (the loss, required), `reward`, `valid_value` and `grad` (the raw gradients, where the updates
        coming in are something else) and `mask` (True = the parameter exists; others must be 0 and count in no norm);
        those it does not know go on to the inner optimiser. It costs one more copy of the parameters, or none with
        `direction`.

    Raises:
        ValueError: a coefficient is not an argument of the factory, has no range, or is not a number; the gauge is
            unknown; or `update` gets no loss or no parameters.

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
    _check(gauge in GAUGES, f"gauge must be one of {', '.join(GAUGES)}, got {gauge!r}")
    names = (*coefficients, *(("sigma",) if noise else ()))
    _check(len(set(names)) == len(names) > 0, f"coefficients must be one or more different names, got {coefficients!r}")
    known = COEFFICIENTS | dict(ranges or {})
    for name in names:
        _check(name in known, f"coefficient {name!r} has no range; give ranges={{{name!r}: ae.Coefficient(...)}}")
        check_coefficient(name, known[name])
    signature = inspect.signature(inner_factory)
    missing = [name for name in coefficients if name not in signature.parameters]
    _check(
        not missing,
        f"coefficients {missing} are no arguments of {getattr(inner_factory, '__name__', inner_factory)}; "
        f"it takes {', '.join(signature.parameters)}",
    )
    gauged = gauge == "norm" and "learning_rate" not in coefficients
    _check(not gauged, 'gauge="norm" scales the learning rate, so "learning_rate" must be among the coefficients')
    initial_gains = default_gains(names, **gain_changes) if gains is None else gains
    source = direction

    def last_direction(state: AEState, given: Any) -> Any:
        if source == "given":
            _check(given is not None, "direction was set to 'given'; call update(..., direction=...)")
            return given
        return source(state.inner_state) if source else tree.scale(-1.0, state.direction)

    @functools.wraps(inner_factory)
    def make(*args: Any, **kwargs: Any) -> optax.GradientTransformationExtraArgs:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        starts = {name: sigma if name == "sigma" else arguments[name] for name in names}
        for name, value in starts.items():
            _check(not callable(value) and value is not None, f"{name} is moved by the laws; give it a number")
        fixed = {name: value for name, value in arguments.items() if name not in names}
        charts = [known[name].chart for name in names]
        low = jnp.stack([to_chart(known[name].chart, known[name].low) for name in names])
        high = jnp.stack([to_chart(known[name].chart, known[name].high) for name in names])

        def in_units(position: jax.Array) -> dict[str, jax.Array]:
            return {name: from_chart(chart, z) for name, chart, z in zip(names, charts, position, strict=True)}

        def inner(hyperparams: Mapping[str, jax.Array]) -> optax.GradientTransformationExtraArgs:
            moved = {name: value for name, value in hyperparams.items() if name in arguments}
            return optax.with_extra_args_support(inner_factory(**fixed, **moved))

        def init_fn(params: Any) -> Any:
            position = jnp.stack(
                [
                    to_chart(known[name].chart, jnp.clip(jnp.asarray(value, jnp.float32), *known[name][1:]))
                    for name, value in starts.items()
                ]
            )
            zero, none = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
            hyperparams = in_units(position)
            return AEState(
                count=none,
                hyperparams=hyperparams,
                position=position,
                start=position,
                multiplier=zero,
                filters=zero_filters(),
                signals=zero_signals(),
                energy=zero,
                energy_rises=zero,
                skipped=none,
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
            _check(value is not None, NEEDS_LOSS)
            _check(params is not None, NEEDS_PARAMS)
            gains = state.gains
            count = size(params) if mask is None else tree.sum(mask)
            gradient_square = mean_square(updates, count)
            seen = updates if grad is None else grad
            loss = _float(value)
            finite = jnp.isfinite(gradient_square) & jnp.isfinite(loss)
            for other in (reward, valid_value, None if grad is None else mean_square(grad, count)):
                if other is not None:
                    finite &= jnp.isfinite(_float(other))

            def safe(leaf: jax.Array) -> jax.Array:
                return jnp.where(finite, leaf, jnp.zeros_like(leaf))

            def kept(new: Any, old: Any) -> Any:
                return jax.tree.map(lambda one, other: jnp.where(finite, one, other), new, old)

            gradient = jax.tree.map(safe, updates)
            # AE-1, against the step that brought us here
            last = last_direction(state, direction)
            last_square = mean_square(last, count)
            seen, seen_square = (
                jax.tree.map(safe, seen),
                safe(gradient_square if grad is None else mean_square(grad, count)),
            )
            cosine = inner_product(seen, last) / (root(seen_square * last_square) * count + TINY)
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
            hyperparams = in_units(position)
            used = dict(hyperparams)
            if gauge == "norm":
                used["learning_rate"] = laws.normalised_rate(
                    used["learning_rate"], typical_gradient(filters, gains), gains
                )
            dtype = tree.dtype(params, "highest")
            stepper = inner({name: value.astype(dtype) for name, value in used.items()})
            raw, inner_state = stepper.update(gradient, state.inner_state, params, value=value, **extra_args)
            # AE-8
            scale = root(mean_square(params, count)) + gains.parameter_floor
            effective_step = root(mean_square(raw, count)) / scale
            factor = laws.bounded_step(effective_step, gains) if gauge != "none" else jnp.ones(())
            steps = jax.tree.map(
                lambda step, param: jnp.where(finite, step * factor, 0.0).astype(param.dtype), raw, params
            )
            stored = None
            if source is None:
                decayed = jax.tree.map(
                    lambda old, new: (gains.direction_decay * old + new).astype(new.dtype), state.direction, steps
                )
                stored = kept(decayed, state.direction)
            key = state.key
            if noise:
                key, key_noise = jax.random.split(state.key)
                sizes = acts(gains, 4) * finite * hyperparams["sigma"] * scale
                steps = laws.explore(key_noise, steps, sizes)  # AE-4
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
                inner_state=kept(inner_state, state.inner_state),
            )

        return optax.GradientTransformationExtraArgs(init_fn, update_fn)

    return make


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _float(value: jax.typing.ArrayLike | None) -> jax.Array:
    return jnp.asarray(value).astype(jnp.float32)
