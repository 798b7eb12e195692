"""The fast loop: what one individual learns by gradient, and how it is scored afterwards."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from etm_jax.models._behaviour import end_of
from etm_jax.networks.learning._config import LifetimeConfig
from etm_jax.networks.learning._score import default_micro_batch, memory_use
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from etm_jax import ae
from etm_jax._typing import IntScalar, Key, Mask, Params, Scalar, pytree
from etm_jax.cells import Unrolled
from etm_jax.environment import EnvironmentSuite, Suite
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome, mask_of, unroll
from etm_jax.networks.genome._learning import FACTORS, Learning
from etm_jax.networks.learning._suites import act
from etm_jax.task import Episode, TaskSuite, before_end, clean_inputs

PLAIN = {"adam": optax.adam, "adamw": optax.adamw, "rmsprop": optax.rmsprop, "sgd": optax.sgd}
# Optimisers under the laws, with the gains that differ from `default_gains`.
ADAPTIVE: dict[str, tuple[Callable[..., optax.GradientTransformationExtraArgs], dict[str, Any]]] = {
    "ae_adam": (ae.ae_adam, {}),
    "ae_adamw": (ae.ae_adamw, {}),
    "ae_sgdm": (ae.ae_sgdm, {}),
    "ae_schedule_free_adamw": (functools.partial(ae.ae_schedule_free_adamw, b2=0.99), {"phase_noise": -0.4}),
}
COEFFICIENT = "learning_rate"
MakeOptimiser = Callable[[Learning], optax.GradientTransformation]


@pytree
class Result:
    """How one individual did on fresh episodes, after learning.

    Attributes:
        performance: by task, 0 at chance and 1 when everything is right.
        accuracy: by task, share of sequences right in every valid step, or of episodes solved.
        loss: the suite's loss.
        cases: what selection may look at one by one, maximised; None for the performances.
        finite: True = the loss on the scoring episodes is finite; what diverges in learning ends here.
        behaviour: what it did, in [0, 1] by name; None where nobody asked.
    """

    performance: Float[Array, "*population task"]
    accuracy: Float[Array, "*population task"]
    loss: Float[Array, "*population"]
    finite: Bool[Array, "*population"]
    cases: Float[Array, "*population case"] | None = None
    behaviour: dict[str, Float[Array, "*population"]] | None = None

    @property
    def by_case(self) -> Float[Array, "*population case"]:
        """The cases, or the performance at each task."""
        return self.performance if self.cases is None else self.cases


def make_optimiser(config: LifetimeConfig) -> MakeOptimiser:
    """The chain of lifetime learning for an individual: clip by global norm, then the optimiser of the settings.

    The individual's learning genes are factors on the rate, and on two gains of the laws where there are laws.
    """

    def make(learning: Learning) -> optax.GradientTransformation:
        rate = config.learning_rate * learning.learning_rate
        if config.optimiser in PLAIN:
            inner = PLAIN[config.optimiser](rate)
        else:
            chain, changes = ADAPTIVE[config.optimiser]
            inner = chain(rate, gains=own_gains(learning, changes))
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), inner)

    return make


def own_gains(learning: Learning, changes: dict[str, Any]) -> ae.Gains:
    """The default gains of a learning rate with an individual's factors on them."""
    gains = ae.default_gains((COEFFICIENT,), **changes)
    return gains._replace(
        meta_step=gains.meta_step * learning.meta_step, step_limit=gains.step_limit * learning.step_limit
    )


def paces_itself(state: optax.OptState) -> bool:
    """Whether an optimiser's state holds the laws, which set its rate: a schedule from outside would fight them."""
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, ae.AEState))
    return any(isinstance(leaf, ae.AEState) for leaf in leaves)


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


def answer(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    *,
    bounds: Bounds,
    suite: TaskSuite,
    num_episodes: int,
    dtype: DTypeLike | None = None,
) -> tuple[Unrolled, Episode]:
    """What one individual does on `num_episodes` fresh episodes of each task. The key is consumed."""
    episode = suite.sample(key, num_episodes, difficulty)
    micro_batch = default_micro_batch(bounds, episode.inputs.shape[0])
    return unroll(genome, clean_inputs(episode), bounds, micro_batch=micro_batch, dtype=dtype), episode


def score(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    *,
    bounds: Bounds,
    suite: Suite,
    num_episodes: int,
    dtype: DTypeLike | None = None,
    behaves: bool = False,
) -> Result:
    """Score one individual on `num_episodes` fresh episodes of each task or environment. The key is consumed.

    If it `behaves`, the result also has what it did.
    """
    if isinstance(suite, EnvironmentSuite):
        lived = act(key, genome, difficulty, bounds, suite, num_episodes, dtype)
        return replace(result_of(suite, lived), behaviour=end_of(suite, lived) if behaves else None)
    run, episode = answer(key, genome, difficulty, bounds=bounds, suite=suite, num_episodes=num_episodes, dtype=dtype)
    result = result_of(suite, run.outputs, episode)
    return replace(result, behaviour=memory_use(run.weightings, before_end(episode), bounds) if behaves else None)


def result_of(suite: Suite, *lived: Any) -> Result:
    """The scores of answers and their episode, or of rollouts."""
    loss = suite.loss(*lived)
    return Result(
        performance=suite.performance(*lived),
        accuracy=suite.accuracy(*lived),
        loss=loss,
        finite=jnp.isfinite(loss),
    )
