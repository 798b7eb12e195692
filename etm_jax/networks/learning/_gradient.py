"""Gradient learning: the loss of one network, one step, and a lifetime of steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from etm_jax import ae
from etm_jax._typing import IntScalar, Key, Mask, Params, Scalar
from etm_jax.networks.genome._genes import FACTORS, Genome, Learning
from etm_jax.networks.genome._genome import mask_of
from etm_jax.networks.learning._lifetime import Lifetime, learnable, learns_live, unroll_episode
from etm_jax.networks.learning._optimisers import LEARNING_RATE, is_adaptive, make_chain
from etm_jax.networks.native import LiveWeights, at_live_size, where_served
from etm_jax.task import before_end

FLOOR, CAP = 0.5, 2.0  # least and most steps of an individual, as shares of the even ones


def batch_loss(params: Params, lifetime: Lifetime, key: Key, genome: Genome, difficulty: Array) -> Scalar:
    """The suite's loss of one network on fresh episodes, and the price of its pondering.

    Args:
        params: the weights, in place of the genome's.
        lifetime: the tasks, the batch size and how to compute.
        key: consumed.
        genome: one individual.
        difficulty: of each task, 0 to 1.
    """
    config, suite = lifetime.config, learnable(lifetime.suite)
    episode = suite.sample(key, config.batch_size, difficulty)
    run = unroll_episode(lifetime, replace(genome, params=params), episode, rematerialise=config.rematerialise)
    loss = suite.loss(run.outputs, episode)
    if lifetime.bounds.ponder_steps[1] == 1:
        return loss
    counts = before_end(episode).astype(run.ponder.dtype)
    price = jnp.sum(run.ponder * counts) / jnp.maximum(jnp.sum(counts), 1)
    return loss + config.ponder_cost * price  # Graves 2016, eq. 12, as a mean over the steps


def gradient_step(
    lifetime: Lifetime,
    chain: optax.GradientTransformationExtraArgs,
    mask: Mask | Array,
    key: Key,
    genome: Genome,
    state: optax.OptState,
    difficulty: Float[Array, " task"],
) -> tuple[Genome, optax.OptState, Scalar]:
    """One step of learning on fresh episodes, of a lifetime and of plain training alike.

    Gradients of weights that do not exist are exactly zero, so the optimiser's moments and norms never see them.

    Args:
        lifetime: the tasks, the batch size and how to compute.
        chain: the optimiser; it gets the loss as `value` and which weights exist as `mask`.
        mask: which weights of the genome exist, as one vector if the lifetime is `flat`.
        key: consumed.
        genome: one individual.
        state: the chain's.
        difficulty: of each task, 0 to 1.

    Returns:
        The genome after the step, the chain's state, and the loss before the step.
    """
    loss, gradients = jax.value_and_grad(batch_loss)(genome.params, lifetime, key, genome, difficulty)
    params, unpack = pack(lifetime, genome.params)
    gradients, _ = pack(lifetime, gradients)
    with jax.numpy_dtype_promotion("standard"):  # optax raises decays to whole numbers of steps
        updates, state = chain.update(gradients, state, params, value=loss, mask=mask)
    return replace(genome, params=unpack(optax.apply_updates(params, updates))), state, loss


def pack(lifetime: Lifetime, tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Weights, or a tree like them, as the optimiser sees them, and the way back."""
    return ravel_pytree(tree) if lifetime.flat else (tree, lambda tree: tree)


def learn(
    lifetime: Lifetime,
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    scale: Scalar | float,
    num_steps: IntScalar | int,
) -> Genome:
    """One lifetime: gradient steps, each on fresh episodes, with an optimiser that starts again in every lifetime.

    Under the laws the genome also acquires the rate that its lifetime ended at, and its weights are the averaged ones
    where the chain averages.

    Args:
        lifetime: the tasks, the optimiser and how to compute.
        key: consumed.
        genome: one individual.
        difficulty: of each task, 0 to 1.
        scale: share of the learning rate that the run's schedule leaves to this lifetime; not under the laws.
        num_steps: of this lifetime.
    """

    def learn_padded() -> Genome:
        return _learn(lifetime, mask_of(genome, lifetime.bounds), key, genome, difficulty, scale, num_steps)

    def learn_live() -> Genome:
        def function(live: LiveWeights, exists: Bool[Array, " live"]) -> tuple[LiveWeights, Learning]:
            mask, small = replace(live, vector=exists), replace(genome, params=live)
            learnt = _learn(lifetime, mask, key, small, difficulty, scale, num_steps)
            return learnt.params, learnt.learning

        sizes = bounds.axis_sizes(lifetime.suite.input_size, lifetime.suite.output_size)
        params, learning = at_live_size(function, genome.architecture, genome.params, bounds.spec, sizes)
        return replace(genome, params=params, learning=learning)

    bounds = lifetime.bounds
    if not learns_live(lifetime, genome.params):
        return learn_padded()
    return where_served(genome.architecture, bounds.spec, learn_live, learn_padded)


def _learn(
    lifetime: Lifetime,
    mask: Mask | LiveWeights,
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    scale: Scalar | float,
    num_steps: IntScalar | int,
) -> Genome:
    """`learn`, given which weights exist; the genome may have live weights."""
    config, own = lifetime.config, lifetime.optimiser
    adaptive = is_adaptive(config, own, genome.params)
    chain = make_chain(config, genome.learning, None if adaptive else optax.constant_schedule(scale), own)
    (packed, _), (mask, _) = pack(lifetime, genome.params), pack(lifetime, mask)
    start = chain.init(packed)

    def step(index: IntScalar, carry: tuple[Params, optax.OptState]) -> tuple[Params, optax.OptState]:
        params, state = carry
        key_step = jax.random.fold_in(key, index)
        stepped = gradient_step(lifetime, chain, mask, key_step, replace(genome, params=params), state, difficulty)
        return stepped[0].params, stepped[1]

    params, state = jax.lax.fori_loop(0, num_steps, step, (genome.params, start))
    packed, unpack = pack(lifetime, params)
    genome = replace(genome, params=unpack(ae.eval_params(state, packed)))
    return acquire(genome, state, config.learning_rate) if adaptive else genome


def acquire(genome: Genome, state: optax.OptState, learning_rate: float) -> Genome:
    """The genome with the learning rate that the laws ended at as its own start, if they moved it.

    Args:
        genome: one individual.
        state: of an adaptive optimiser.
        learning_rate: of the settings, which the gene is a factor on.
    """
    coefficients = ae.coefficients(state)
    if LEARNING_RATE not in coefficients:
        return genome
    factor = jnp.clip(coefficients[LEARNING_RATE] / learning_rate, *FACTORS)
    factor = factor.astype(genome.learning.learning_rate.dtype)  # the laws count in float32
    return replace(genome, learning=replace(genome.learning, learning_rate=factor))


def lifetime_steps(
    steps: int, fitness: Float[Array, " population"], known: Bool[Array, " population"]
) -> Int[Array, " population"]:
    """Steps of each individual's next lifetime; they sum to the population's even share exactly.

    Weights are those of the swarm, the softmax of standardised fitness. An individual without a known fitness counts
    as average.

    Args:
        steps: of each individual, if shared evenly.
        fitness: of the individual in the generation before or, at birth, of its first parent.
        known: True = there is such a fitness.
    """
    average = jnp.sum(jnp.where(known, fitness, 0.0)) / jnp.maximum(jnp.sum(known), 1)
    weights = ae.soft_weights(-jnp.where(known, fitness, average))
    floor, cap = int(FLOOR * steps), int(CAP * steps)
    return ae.budgets(weights, fitness.size * steps, floor, cap)
