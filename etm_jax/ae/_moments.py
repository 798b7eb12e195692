"""Momentum and Adam whose decays may change between steps, and the direction of their last update.

optax divides its moments by `1 - decay^t`, which is wrong once a decay has changed: with `b2` raised from 0.999 to
0.9999 at step 500 of a constant gradient, Adam's update falls to 0.35 of what it should be. A running weight
`w <- b w + 1 - b` is exact for any sequence of decays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import tree


class ScaleByMomentumState(NamedTuple):
    """State of `scale_by_momentum`."""

    ema: Any
    weight: jax.Array


def scale_by_momentum(momentum: jax.typing.ArrayLike = 0.9) -> optax.GradientTransformation:
    """`m <- b m + (1 - b) g`, divided by its own weight; exact for a decay that changes."""

    def init_fn(params: Any) -> Any:
        return ScaleByMomentumState(tree.zeros_like(params), jnp.zeros((), jnp.float32))

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        decay = jnp.asarray(momentum, jnp.float32)
        ema = _decayed(state.ema, updates, decay)
        weight = decay * state.weight + (1 - decay)
        return jax.tree.map(lambda mean: (mean / weight).astype(mean.dtype), ema), ScaleByMomentumState(ema, weight)

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
    """Adam's scaling, exact for decays that change (Kingma & Ba 2015, with running weights for the bias correction)."""

    def init_fn(params: Any) -> Any:
        zero = jnp.zeros((), jnp.float32)
        return ScaleByVaryingAdamState(tree.zeros_like(params), tree.zeros_like(params), zero, zero)

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        first, second = jnp.asarray(b1, jnp.float32), jnp.asarray(b2, jnp.float32)
        state = ScaleByVaryingAdamState(
            mu=_decayed(state.mu, updates, first),
            nu=_decayed(state.nu, jax.tree.map(lambda gradient: gradient * gradient, updates), second),
            mu_weight=first * state.mu_weight + (1 - first),
            nu_weight=second * state.nu_weight + (1 - second),
        )
        return _preconditioned(state, eps), state

    return optax.GradientTransformation(init_fn, update_fn)


class ScaleByVaryingRmsState(NamedTuple):
    """State of `scale_by_varying_rms`."""

    nu: Any
    weight: jax.Array


def scale_by_varying_rms(
    b2: jax.typing.ArrayLike = 0.999, eps: jax.typing.ArrayLike = 1e-8
) -> optax.GradientTransformation:
    """Adam's scaling without its first moment, exact for a decay that changes."""

    def init_fn(params: Any) -> Any:
        return ScaleByVaryingRmsState(tree.zeros_like(params), jnp.zeros((), jnp.float32))

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        decay = jnp.asarray(b2, jnp.float32)
        nu = _decayed(state.nu, jax.tree.map(lambda gradient: gradient * gradient, updates), decay)
        weight = decay * state.weight + (1 - decay)
        over = jax.lax.rsqrt(jnp.where(weight > 0, weight, 1.0))  # 0 until the first step that is not skipped
        scaled = jax.tree.map(
            lambda gradient, square: (gradient / (jnp.sqrt(square) * over + eps)).astype(gradient.dtype), updates, nu
        )
        return scaled, ScaleByVaryingRmsState(nu, weight)

    return optax.GradientTransformation(init_fn, update_fn)


def _decayed(mean: Any, values: Any, decay: jax.Array) -> Any:
    return jax.tree.map(lambda old, new: (decay * old + (1 - decay) * new).astype(old.dtype), mean, values)


def _preconditioned(state: ScaleByVaryingAdamState, eps: jax.typing.ArrayLike) -> Any:
    # Before the first step both weights are 0, and so are the moments.
    over_mu = 1 / jnp.where(state.mu_weight > 0, state.mu_weight, 1.0)
    over_nu = jax.lax.rsqrt(jnp.where(state.nu_weight > 0, state.nu_weight, 1.0))

    def one(mu: jax.Array, nu: jax.Array) -> jax.Array:
        return (mu * over_mu / (jnp.sqrt(nu) * over_nu + eps)).astype(mu.dtype)

    return jax.tree.map(one, state.mu, state.nu)


def momentum_direction(inner_state: Any) -> Any:
    """The descent direction of the last momentum step, up to its length; read off the state, so it costs no memory."""
    return inner_state[0].ema


def adam_direction(eps: Any) -> Callable[[Any], Any]:
    """The descent direction of the last Adam step, recomputed from its moments, so that none needs to be stored."""
    return lambda inner_state: _preconditioned(inner_state[0], eps)
