"""Momentum and Adam with decays that may change between steps, and the direction of their last update.

optax divides its moments by `1 - decay^t`, which is wrong after a decay has changed: with `b2` raised from 0.999 to
0.9999 at step 500 of a constant gradient, Adam's update falls to 0.35 of the right one. A running weight
`w <- b w + 1 - b` is exact for any sequence of decays.

Second moments are kept in at least float32: in bfloat16 a mean over 1,000 steps stalls at a third of its value, since
each step's contribution is rounded away, and in float16 the square of a small gradient is 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import tree

from etm_jax.ae._trees import wide


class ScaleByMomentumState(NamedTuple):
    """State of `scale_by_momentum`."""

    ema: Any
    weight: jax.Array


def scale_by_momentum(momentum: jax.typing.ArrayLike = 0.9) -> optax.GradientTransformation:
    """`m <- b m + (1 - b) g`, divided by its own weight; exact for a changing decay."""

    def init_fn(params: Any) -> Any:
        return ScaleByMomentumState(tree.zeros_like(params), jnp.zeros((), jnp.float32))

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        decay = jnp.asarray(momentum, jnp.float32)
        ema, weight = _decayed(state.ema, updates, decay), _weight(state.weight, decay)
        over = 1 / _above_zero(weight)

        def one(mean: jax.Array) -> jax.Array:
            return (mean.astype(wide(mean.dtype)) * over.astype(wide(mean.dtype))).astype(mean.dtype)

        return jax.tree.map(one, ema), ScaleByMomentumState(ema, weight)

    return optax.GradientTransformation(init_fn, update_fn)


class ScaleByVaryingAdamState(NamedTuple):
    """State of `scale_by_varying_adam`."""

    mu: Any
    nu: Any
    mu_weight: jax.Array
    nu_weight: jax.Array


def scale_by_varying_adam(
    b1: jax.typing.ArrayLike = 0.9, b2: jax.typing.ArrayLike = 0.999, eps: jax.typing.ArrayLike = 1e-8
) -> optax.GradientTransformation:
    """Adam's scaling, exact for changing decays (Kingma & Ba 2015, with running weights for the bias correction)."""

    def init_fn(params: Any) -> Any:
        zero = jnp.zeros((), jnp.float32)
        return ScaleByVaryingAdamState(tree.zeros_like(params), _wide_zeros(params), zero, zero)

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        first, second = jnp.asarray(b1, jnp.float32), jnp.asarray(b2, jnp.float32)
        state = ScaleByVaryingAdamState(
            mu=_decayed(state.mu, updates, first),
            nu=_decayed(state.nu, _squares(updates), second),
            mu_weight=_weight(state.mu_weight, first),
            nu_weight=_weight(state.nu_weight, second),
        )
        scaled = _preconditioned(state, eps)
        return jax.tree.map(lambda step, mu: step.astype(mu.dtype), scaled, state.mu), state

    return optax.GradientTransformation(init_fn, update_fn)


class ScaleByVaryingRmsState(NamedTuple):
    """State of `scale_by_varying_rms`."""

    nu: Any
    weight: jax.Array


def scale_by_varying_rms(
    b2: jax.typing.ArrayLike = 0.999, eps: jax.typing.ArrayLike = 1e-8
) -> optax.GradientTransformation:
    """Adam's scaling without the first moment, exact for a changing decay."""

    def init_fn(params: Any) -> Any:
        return ScaleByVaryingRmsState(_wide_zeros(params), jnp.zeros((), jnp.float32))

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        decay = jnp.asarray(b2, jnp.float32)
        nu, weight = _decayed(state.nu, _squares(updates), decay), _weight(state.weight, decay)
        over = jax.lax.rsqrt(_above_zero(weight))

        def one(gradient: jax.Array, square: jax.Array) -> jax.Array:
            dtype = square.dtype
            below = jnp.sqrt(square) * over.astype(dtype) + jnp.asarray(eps, dtype)
            return (gradient.astype(dtype) / below).astype(gradient.dtype)

        return jax.tree.map(one, updates, nu), ScaleByVaryingRmsState(nu, weight)

    return optax.GradientTransformation(init_fn, update_fn)


def _wide_zeros(params: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros_like(leaf, dtype=wide(leaf.dtype)), params)


def _squares(gradients: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.square(leaf.astype(wide(leaf.dtype))), gradients)


def _weight(before: jax.Array, decay: jax.Array) -> jax.Array:
    decay = decay.astype(before.dtype)
    return decay * before + (1 - decay)


def _above_zero(weight: jax.Array) -> jax.Array:
    """The weight, or 1 before the first step that is not skipped; the moments are 0 until then."""
    return jnp.where(weight > 0, weight, 1.0)


def _decayed(mean: Any, values: Any, decay: jax.Array) -> Any:
    rest = 1 - decay

    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        dtype = wide(old.dtype)
        return (decay.astype(dtype) * old.astype(dtype) + rest.astype(dtype) * new.astype(dtype)).astype(old.dtype)

    return jax.tree.map(one, mean, values)


def _preconditioned(state: ScaleByVaryingAdamState, eps: jax.typing.ArrayLike) -> Any:
    """Adam's update from its moments, in the dtype of the second moment."""
    over_mu, over_nu = 1 / _above_zero(state.mu_weight), jax.lax.rsqrt(_above_zero(state.nu_weight))

    def one(mu: jax.Array, nu: jax.Array) -> jax.Array:
        dtype = nu.dtype
        below = jnp.sqrt(nu) * over_nu.astype(dtype) + jnp.asarray(eps, dtype)
        return mu.astype(dtype) * over_mu.astype(dtype) / below

    return jax.tree.map(one, state.mu, state.nu)


def momentum_direction(inner_state: Any, hyperparams: Mapping[str, jax.Array]) -> Any:
    """The descent direction of the last momentum step, up to its length; read from the state, so nothing is stored."""
    del hyperparams
    return inner_state[0].ema


def adam_direction(eps: Any) -> Callable[[Any, Mapping[str, jax.Array]], Any]:
    """The descent direction of the last Adam step, recomputed from its moments, so nothing is stored.

    If `eps` is a coefficient, its current value replaces the argument.
    """
    return lambda inner_state, hyperparams: _preconditioned(inner_state[0], hyperparams.get("eps", eps))
