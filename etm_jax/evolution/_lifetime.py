"""The fast loop: what one individual learns by gradient, and how it is scored afterwards."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from etm_jax import ae
from etm_jax._typing import Key, Params, Scalar, pytree
from etm_jax.config import LifetimeConfig
from etm_jax.genomes import Bounds, Genome, apply, mask_of
from etm_jax.task import TaskSuite, clean_inputs

OPTIMISERS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
    "ae_adam": ae.ae_adam,
    "ae_adamw": ae.ae_adamw,
    "ae_sgdm": ae.ae_sgdm,
}


@pytree
class Result:
    """How one individual did on fresh episodes, after learning.

    Attributes:
        performance: by task, 0 at chance and 1 when everything is right.
        accuracy: by task, share of sequences right in every valid step.
        loss: the suite's loss.
        finite: True = the loss on the scoring episodes is finite; what diverges in learning ends here.
    """

    performance: Float[Array, "*population task"]
    accuracy: Float[Array, "*population task"]
    loss: Float[Array, "*population"]
    finite: Bool[Array, "*population"]


def make_optimiser(config: LifetimeConfig) -> optax.GradientTransformation:
    """The default chain of lifetime learning: clip by global norm, then the optimiser of the settings."""
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), OPTIMISERS[config.optimiser](config.learning_rate))


def batch_loss(
    params: Params,
    genome: Genome,
    key: Key,
    difficulty: Array,
    bounds: Bounds,
    suite: TaskSuite,
    config: LifetimeConfig,
) -> Scalar:
    """The suite's loss of one individual on fresh episodes. The key is consumed."""
    episode = suite.sample(key, config.batch_size, difficulty)
    genome = replace(genome, params=params)
    outputs = jax.vmap(lambda inputs: apply(genome, inputs, bounds, rematerialise=config.rematerialise))(
        clean_inputs(episode)
    )
    return suite.loss(outputs, episode)


def learn(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    update_scale: Scalar | float,
    *,
    bounds: Bounds,
    suite: TaskSuite,
    config: LifetimeConfig,
    optimiser: optax.GradientTransformation,
) -> Genome:
    """One lifetime: `config.steps` gradient steps, each on fresh episodes.

    Gradients of weights that do not exist are exactly zero, so the optimiser's moments and norms never see them. It
    gets the loss as `value` and which weights exist as `mask`.

    Args:
        key: consumed.
        genome: one individual.
        difficulty: of each task, 0 to 1.
        update_scale: multiplies every update; the run's learning-rate schedule.
        bounds: the search space.
        suite: the tasks.
        config: steps, batch size and rematerialisation.
        optimiser: any optax chain; its state starts anew in every lifetime.
    """

    stepper, mask = optax.with_extra_args_support(optimiser), mask_of(genome, bounds)

    def step(carry: tuple[Params, optax.OptState], now: tuple[Key, Scalar]):
        (params, state), (key, scale) = carry, now
        loss, gradients = jax.value_and_grad(batch_loss)(params, genome, key, difficulty, bounds, suite, config)
        updates, state = stepper.update(gradients, state, params, value=loss, mask=mask)
        updates = jax.tree.map(lambda update: update * scale.astype(update.dtype), updates)
        return (optax.apply_updates(params, updates), state), None

    # An optimiser that has just started knows no scale yet, and its full first steps would undo what was learnt before.
    warmth = jnp.minimum((jnp.arange(config.steps) + 1.0) / max(config.warmup_steps, 1), 1.0)
    steps = (jax.random.split(key, config.steps), update_scale * warmth)
    (params, _), _ = jax.lax.scan(step, (genome.params, optimiser.init(genome.params)), steps)
    return replace(genome, params=params)


def score(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    *,
    bounds: Bounds,
    suite: TaskSuite,
    num_episodes: int,
) -> Result:
    """Score one individual on `num_episodes` fresh episodes of each task. The key is consumed."""
    episode = suite.sample(key, num_episodes, difficulty)
    outputs = jax.vmap(lambda inputs: apply(genome, inputs, bounds))(clean_inputs(episode))
    loss = suite.loss(outputs, episode)
    return Result(
        performance=suite.performance(outputs, episode),
        accuracy=suite.accuracy(outputs, episode),
        loss=loss,
        finite=jnp.isfinite(loss),
    )
