"""One chunk: steps of learning in one loop, then a look at what the network can do."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from etm_jax._typing import IntScalar, Params, Scalar
from etm_jax.networks.genome._genome import mask_of
from etm_jax.networks.learning._gradient import gradient_step
from etm_jax.networks.learning._score import score
from etm_jax.training._optimiser import learning_rate_of
from etm_jax.training._state import Training, TrainState, network_of
from etm_jax.training._strategy import strategy_step


def chunk(training: Training, state: TrainState, last: IntScalar | int) -> tuple[TrainState, dict[str, Any]]:
    """Take `steps_per_chunk` steps of learning, or fewer so as not to pass step `last`, and score the network.

    Args:
        training: what is trained.
        state: from `init`, or of the chunk before.
        last: steps of the whole training.

    Returns:
        The next state and the chunk's metrics: `loss`, the mean over the steps that were taken; `score`, a `Result` on
        fresh episodes; the `difficulty` of both; `learning_rate`; `skipped`, steps left out because a loss or a
        gradient was not finite.
    """
    config, suite, bounds = training.config, training.suite, training.bounds
    key_learn, key_score = jax.random.split(state.key)
    mask = mask_of(state.genome, bounds)
    take: Any = functools.partial(gradient_step, stepper=training.stepper, mask=mask)
    if training.strategy is not None:
        take = functools.partial(strategy_step, strategy=training.strategy)
    settings = {"bounds": bounds, "suite": suite, "dtype": training.dtype}

    def step(index: IntScalar, carry: tuple[Params, optax.OptState, Scalar]):
        params, optimiser, total = carry
        genome, optimiser, loss = take(
            jax.random.fold_in(key_learn, index),
            replace(state.genome, params=params),
            optimiser,
            state.difficulty,
            config=config.lifetime,
            **settings,
        )
        taken = optax.tree.get(optimiser, "last_finite")
        return genome.params, optimiser, total + jnp.where(taken, loss, 0.0)

    end = jnp.minimum(state.step + config.steps_per_chunk, last)
    start = (state.genome.params, state.optimiser, jnp.zeros(()))
    params, optimiser, total = jax.lax.fori_loop(state.step, end, step, start)
    skipped = _skipped(optimiser) - _skipped(state.optimiser)
    after = replace(
        state,
        chunk=state.chunk + 1,
        step=end.astype(state.step.dtype),
        genome=replace(state.genome, params=params),
        optimiser=optimiser,
    )
    result = score(
        jax.random.fold_in(key_score, state.chunk),
        network_of(after),
        state.difficulty,
        num_episodes=config.score_episodes,
        **settings,
    )
    metrics = {
        "loss": total / (end - state.step - skipped).astype(total.dtype),
        "score": result,
        "difficulty": state.difficulty,
        "learning_rate": learning_rate_of(training.schedule, optimiser, end),
        "skipped": skipped,
    }
    curriculum = config.curriculum
    mastered = result.finite & (result.performance >= curriculum.threshold)
    harder = jnp.minimum(state.difficulty + curriculum.step, 1.0)
    full = jnp.all(state.difficulty >= 1) & jnp.all(result.accuracy >= jnp.array(suite.solved))
    after = replace(
        after,
        difficulty=jnp.where(mastered, harder, state.difficulty),
        solved=jnp.where(full, state.solved + 1, 0),
    )
    return after, metrics


def _skipped(optimiser: optax.OptState) -> IntScalar:
    return optax.tree.get(optimiser, "total_notfinite")
