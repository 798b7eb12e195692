"""One training run as a scan, many seeds at once, with the loss it was asked to watch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from etm_jax import ae


class Problem(NamedTuple):
    """What is learnt.

    Attributes:
        init: from a key to the initial parameters.
        sample: from a key and the step to a batch.
        loss: of parameters and a batch; what is minimised.
        risk: of parameters, the step and the run's key; what is reported, free of the noise of batches.
    """

    init: Callable[[jax.Array], Any]
    sample: Callable[[jax.Array, jax.Array, jax.Array], Any]
    loss: Callable[[Any, Any], jax.Array]
    risk: Callable[[Any, jax.Array, jax.Array], jax.Array]


class Trace(NamedTuple):
    """What a run showed at each step."""

    risk: jax.Array
    watched: dict[str, jax.Array]


def train(
    problem: Problem,
    tx: optax.GradientTransformation,
    steps: int,
    key: jax.Array,
    *,
    watch: bool = False,
    evaluated: Callable[[Any, Any], Any] = ae.eval_params,
) -> Trace:
    """Train once.

    Args:
        problem: what is learnt.
        tx: any optimiser; it gets the loss as `value=`.
        steps: of training.
        key: of the initial parameters, the task and the batches.
        watch: also keep what `ae.monitor` says at each step.
        evaluated: from the optimiser's state and the parameters to those that the risk is taken at, for optimisers that
            average; by default what ours say, and the parameters themselves for others.
    """
    tx = optax.with_extra_args_support(tx)
    key_init, key_run = jax.random.split(key)
    params = problem.init(key_init)

    def step(carry: tuple[Any, Any], index: jax.Array):
        params, state = carry
        batch = problem.sample(jax.random.fold_in(key_run, index), index, key)
        value, gradient = jax.value_and_grad(problem.loss)(params, batch)
        updates, state = tx.update(gradient, state, params, value=value)
        params = optax.apply_updates(params, updates)
        watched = ae.monitor(state) if watch else {}
        return (params, state), Trace(problem.risk(evaluated(state, params), index, key), watched)

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[1]


def over_seeds(
    problem: Problem,
    make: Callable[[Any], optax.GradientTransformation],
    settings: jax.Array,
    steps: int,
    seeds: int,
    **options: Any,
) -> Trace:
    """Train for every setting (axis 0) and seed (axis 1) in one compiled call."""
    keys = jax.random.split(jax.random.key(2026), seeds)

    def one(setting: jax.Array, key: jax.Array) -> Trace:
        return train(problem, make(setting), steps, key, **options)

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(settings, keys)
