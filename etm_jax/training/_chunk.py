"""One chunk: steps of learning in one loop, then a look at what the network can do."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from etm_jax import ae
from etm_jax._typing import IntScalar, Key, Params, Scalar, pytree
from etm_jax.models._model import Result
from etm_jax.networks.genome._genes import Genome, neutral
from etm_jax.networks.genome._genome import mask_of, random_genome
from etm_jax.networks.learning._gradient import gradient_step
from etm_jax.networks.learning._optimisers import LEARNING_RATE
from etm_jax.networks.learning._score import score
from etm_jax.training._strategy import first_strategy_state, strategy_step
from etm_jax.training._training import Training

# From a key, a network, the optimiser's state and the difficulties to a network, a state and the loss before the step.
Step = Callable[[Key, Genome, Any, Array], tuple[Genome, Any, Scalar]]


@pytree
class TrainState:
    """A whole training between two chunks; enough to resume from, bit for bit.

    Attributes:
        key: of the episodes; every step and every look folds its number into it.
        chunk: chunks done.
        step: gradient steps done, or a strategy's, those left out included.
        genome: the network, as the optimiser moves it.
        optimiser: its state, or the strategy's.
        difficulty: present difficulty of each task, 0 to 1.
        solved: looks in a row, up to now, at which every task was solved at full difficulty.
    """

    key: Key
    chunk: Int[Array, ""]
    step: Int[Array, ""]
    genome: Genome
    optimiser: optax.OptState
    difficulty: Float[Array, " task"]
    solved: Int[Array, ""]


@pytree
class ChunkRecord:
    """What happened in one chunk.

    Attributes:
        loss: mean over the steps that were taken.
        score: of the network on fresh episodes.
        difficulty: of each task, in the steps and in the score.
        learning_rate: after the last step; NaN where it is not known.
        skipped: steps left out because a loss or a gradient was not finite.
    """

    loss: Scalar
    score: Result
    difficulty: Float[Array, " task"]
    learning_rate: Scalar
    skipped: IntScalar


def init(training: Training, key: Key) -> TrainState:
    """The state before the first step. The key is consumed."""
    key_network, key_run = jax.random.split(key)
    suite = training.suite
    genome = random_genome(key_network, training.bounds, suite.input_size, suite.output_size)
    genome = replace(genome, learning=neutral())
    if training.strategy is None:
        optimiser = training.optimiser.init(genome.params)
    else:
        optimiser = first_strategy_state(jax.random.fold_in(key_run, 0), training.strategy, genome.params)
    return TrainState(
        key=key_run,
        chunk=jnp.array(0, jnp.int32),
        step=jnp.array(0, jnp.int32),
        genome=genome,
        optimiser=optimiser,
        difficulty=jnp.full(len(suite.names), training.config.curriculum.start, float),
        solved=jnp.array(0, jnp.int32),
    )


def network_of(state: TrainState) -> Genome:
    """The network to score and to keep: with the averaged weights where the optimiser averages."""
    return replace(state.genome, params=ae.eval_params(state.optimiser, state.genome.params))


def step_of(training: Training, genome: Genome) -> Step:
    """One step of this training, by gradient or by its strategy, of networks with the genome's architecture."""
    if training.strategy is not None:
        return functools.partial(strategy_step, training.lifetime, training.strategy)
    mask = mask_of(genome, training.bounds)
    return functools.partial(gradient_step, training.lifetime, training.optimiser, mask)


def chunk(training: Training, state: TrainState, last: IntScalar | int) -> tuple[TrainState, ChunkRecord]:
    """Take `steps_per_chunk` steps of learning, or fewer so as not to pass step `last`, and score the network.

    Args:
        training: what is trained.
        state: from `init`, or of the chunk before.
        last: steps of the whole training.

    Returns:
        The next state, and what happened.
    """
    config, suite, lifetime = training.config, training.suite, training.lifetime
    key_learn, key_score = jax.random.split(state.key)
    take = step_of(training, state.genome)

    def step(index: IntScalar, carry: tuple[Params, optax.OptState, Scalar]) -> tuple[Params, optax.OptState, Scalar]:
        params, optimiser, total = carry
        genome = replace(state.genome, params=params)
        genome, optimiser, loss = take(jax.random.fold_in(key_learn, index), genome, optimiser, state.difficulty)
        taken = optax.tree.get(optimiser, "last_finite")
        return genome.params, optimiser, total + jnp.where(taken, loss, 0.0)

    end = jnp.minimum(state.step + config.steps_per_chunk, last)
    start = (state.genome.params, state.optimiser, jnp.zeros(()))
    params, optimiser, total = jax.lax.fori_loop(state.step, end, step, start)
    skipped = num_skipped(optimiser) - num_skipped(state.optimiser)
    after = replace(
        state,
        chunk=state.chunk + 1,
        step=end.astype(state.step.dtype),
        genome=replace(state.genome, params=params),
        optimiser=optimiser,
    )
    key_score = jax.random.fold_in(key_score, state.chunk)
    result = score(lifetime, key_score, network_of(after), state.difficulty, config.score_episodes)
    record = ChunkRecord(
        loss=total / (end - state.step - skipped).astype(total.dtype),
        score=result,
        difficulty=state.difficulty,
        learning_rate=learning_rate_after(training, optimiser, end),
        skipped=skipped,
    )
    curriculum = config.curriculum
    mastered = result.finite & (result.performance >= curriculum.threshold)
    harder = jnp.minimum(state.difficulty + curriculum.step, 1.0)
    full = jnp.all(state.difficulty >= 1) & jnp.all(result.accuracy >= jnp.array(suite.solved))
    after = replace(
        after,
        difficulty=jnp.where(mastered, harder, state.difficulty),
        solved=jnp.where(full, state.solved + 1, 0),
    )
    return after, record


def learning_rate_after(training: Training, optimiser: optax.OptState, step: IntScalar) -> Scalar:
    """The learning rate after a step; NaN where it is not known."""
    if training.adaptive:
        return jnp.asarray(ae.coefficients(optimiser).get(LEARNING_RATE, jnp.nan))
    if training.schedule is None:
        return jnp.asarray(jnp.nan)
    with jax.numpy_dtype_promotion("standard"):  # optax divides whole numbers of steps
        return jnp.asarray(training.schedule(step - num_skipped(optimiser)))


def num_skipped(optimiser: optax.OptState) -> IntScalar:
    """Steps that were left out so far."""
    return optax.tree.get(optimiser, "total_notfinite")
