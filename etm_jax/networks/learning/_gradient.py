"""The fast loop: what one individual learns by gradient."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax import ae
from etm_jax._typing import IntScalar, Key, Mask, Params, Scalar
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import FACTORS, Genome
from etm_jax.networks.genome._genome import mask_of, unroll
from etm_jax.networks.learning._config import LifetimeConfig
from etm_jax.networks.learning._optimisers import COEFFICIENT, MakeOptimiser, paces_itself
from etm_jax.networks.learning._score import default_micro_batch
from etm_jax.task import TaskSuite, before_end, clean_inputs


def batch_loss(
    params: Params,
    genome: Genome,
    key: Key,
    difficulty: Array,
    bounds: Bounds,
    suite: TaskSuite,
    config: LifetimeConfig,
    dtype: DTypeLike | None,
) -> Scalar:
    """The suite's loss of one individual on fresh episodes, and the price of its pondering. The key is consumed."""
    episode = suite.sample(key, config.batch_size, difficulty)
    micro_batch = default_micro_batch(bounds, episode.inputs.shape[0])
    genome = replace(genome, params=params)
    run = unroll(
        genome,
        clean_inputs(episode),
        bounds,
        rematerialise=config.rematerialise,
        micro_batch=micro_batch,
        dtype=dtype,
    )
    loss = suite.loss(run.outputs, episode)
    if bounds.ponder_steps[1] == 1:
        return loss
    counts = before_end(episode).astype(run.ponder.dtype)
    price = jnp.sum(run.ponder * counts) / jnp.maximum(jnp.sum(counts), 1)
    return loss + config.ponder_cost * price  # Graves 2016, eq. 12, as a mean over the steps


def gradient_step(
    key: Key,
    genome: Genome,
    state: optax.OptState,
    difficulty: Float[Array, " task"],
    scales: Sequence[Scalar | float] = (),
    *,
    stepper: optax.GradientTransformationExtraArgs,
    mask: Mask,
    bounds: Bounds,
    suite: TaskSuite,
    config: LifetimeConfig,
    dtype: DTypeLike | None = None,
    flat: bool = False,
) -> tuple[Genome, optax.OptState, Scalar]:
    """One step of learning on fresh episodes, of a lifetime and of plain training alike.

    Gradients of weights that do not exist are exactly zero, so the optimiser's moments and norms never see them. It
    gets the loss as `value` and which weights exist as `mask`.

    Args:
        key: consumed.
        genome: one individual.
        state: the optimiser's.
        difficulty: of each task, 0 to 1.
        scales: factors on every update.
        stepper: the optimiser.
        mask: which weights of the genome exist.
        bounds: the search space.
        suite: the tasks.
        config: batch size and rematerialisation.
        dtype: precision of the factors of matrix products; None for the weights' own.
        flat: the optimiser, its state and the mask are of one vector of all weights, see `ravel_pytree`.

    Returns:
        The genome after the step, the optimiser's state, and the loss before the step.
    """
    loss, gradients = jax.value_and_grad(batch_loss)(
        genome.params, genome, key, difficulty, bounds, suite, config, dtype
    )
    packed: tuple[Any, Callable[[Any], Any]] = (
        ravel_pytree(genome.params) if flat else (genome.params, lambda tree: tree)
    )
    params, shaped = packed
    gradients = ravel_pytree(gradients)[0] if flat else gradients
    with jax.numpy_dtype_promotion("standard"):  # optax raises decays to whole numbers of steps
        updates, state = stepper.update(gradients, state, params, value=loss, mask=mask)
    for scale in scales:
        updates = jax.tree.map(lambda update, scale=scale: (update * scale).astype(update.dtype), updates)
    return replace(genome, params=shaped(optax.apply_updates(params, updates))), state, loss


def learn(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    update_scale: Scalar | float,
    num_steps: IntScalar | int,
    *,
    bounds: Bounds,
    suite: TaskSuite,
    config: LifetimeConfig,
    make_optimiser: MakeOptimiser,
    dtype: DTypeLike | None = None,
    flat: bool = False,
) -> Genome:
    """One lifetime: gradient steps, each on fresh episodes.

    Under the laws the genome also acquires the rate that its lifetime ended at, and its weights are the averaged ones
    where the chain averages.

    Args:
        key: consumed.
        genome: one individual.
        difficulty: of each task, 0 to 1.
        update_scale: multiplies every update, the run's learning-rate schedule; not under the laws.
        num_steps: of this lifetime.
        bounds: the search space.
        suite: the tasks.
        config: warm-up, batch size and rematerialisation.
        make_optimiser: from an individual's learning genes to any optax chain; it starts anew in every lifetime.
        dtype: precision of the factors of matrix products; None for the weights' own.
        flat: hand the optimiser all weights as one vector, right where it treats every weight by itself; fewer
            operations to compile and to run.
    """
    stepper = optax.with_extra_args_support(make_optimiser(genome.learning))
    shaped = ravel_pytree(genome.params)[1] if flat else lambda params: params

    def packed(tree: Any) -> Any:
        return ravel_pytree(tree)[0] if flat else tree

    start, mask = stepper.init(packed(genome.params)), packed(mask_of(genome, bounds))
    adaptive = paces_itself(start)

    def step(index: IntScalar, carry: tuple[Params, optax.OptState]) -> tuple[Params, optax.OptState]:
        params, state = carry
        # A new optimiser knows no scale yet, and its full first steps would undo what was learnt before.
        warmth = jnp.minimum((index + 1) / max(config.warmup_steps, 1), 1.0)
        stepped, state, _ = gradient_step(
            jax.random.fold_in(key, index),
            replace(genome, params=params),
            state,
            difficulty,
            () if adaptive else (update_scale, warmth),
            stepper=stepper,
            mask=mask,
            bounds=bounds,
            suite=suite,
            config=config,
            dtype=dtype,
            flat=flat,
        )
        return stepped.params, state

    params, state = jax.lax.fori_loop(0, num_steps, step, (genome.params, start))
    genome = replace(genome, params=shaped(ae.eval_params(state, packed(params))))
    return acquire(genome, state, config) if adaptive else genome


def acquire(genome: Genome, state: optax.OptState, config: LifetimeConfig) -> Genome:
    """The genome with the learning rate of an optimiser's state, if the laws moved it, as its own start."""
    coefficients = ae.coefficients(state)
    if COEFFICIENT not in coefficients:
        return genome
    factor = jnp.clip(coefficients[COEFFICIENT] / config.learning_rate, *FACTORS)
    factor = factor.astype(genome.learning.learning_rate.dtype)  # the laws count in float32
    return replace(genome, learning=replace(genome.learning, learning_rate=factor))
