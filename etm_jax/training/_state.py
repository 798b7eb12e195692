"""What training is about, and what it remembers from one chunk to the next."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from etm_jax import ae
from etm_jax._typing import Key, pytree
from etm_jax.environment import Suite
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Genome, neutral
from etm_jax.networks.genome._genome import random_genome
from etm_jax.networks.learning._optimisers import make_optimiser
from etm_jax.networks.learning._score import learnable
from etm_jax.training._config import TrainConfig
from etm_jax.training._optimiser import only_finite, schedule_of
from etm_jax.training._strategy import WeightStrategy, first_strategy_state, make_strategy


@dataclass(frozen=True)
class Training:
    """What is trained and on what; static, so one compiled chunk belongs to one training.

    Attributes:
        config: every setting.
        suite: the tasks; or environments, with a strategy.
        stepper: the optimiser; it leaves out steps that are not finite.
        schedule: the learning rate at each step that was taken; None where it is not known.
        strategy: takes the steps in place of the optimiser; None for gradients.
    """

    config: TrainConfig
    suite: Suite
    stepper: optax.GradientTransformationExtraArgs
    schedule: optax.Schedule | None
    strategy: WeightStrategy | None = None

    @property
    def bounds(self) -> Bounds:
        """The search space that holds the network's architecture and no other."""
        return self.config.network.bounds

    @property
    def dtype(self) -> DTypeLike | None:
        """Precision of the factors of matrix products; None for the weights' own."""
        return jnp.bfloat16 if self.config.precision == "bfloat16" else None


@pytree
class TrainState:
    """A whole training between two chunks; enough to go on from, bit for bit.

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
    optimiser: Any
    difficulty: Float[Array, " task"]
    solved: Int[Array, ""]


def make_training(
    config: TrainConfig, suite: Suite, *, optimiser: optax.GradientTransformation | None = None
) -> Training:
    """A training from its settings; an optax chain given here replaces theirs, schedule and strategy included.

    Raises:
        ValueError: the strategy of the settings cannot have such a population, or gradients are asked of environments.
    """
    if optimiser is not None or not config.strategy.name:
        learnable(suite)
    if optimiser is not None:
        return Training(config, suite, only_finite(optimiser), schedule=None)
    if config.strategy.name:
        bounds = config.network.bounds
        draw = jax.jit(lambda key: random_genome(key, bounds, suite.input_size, suite.output_size))
        strategy = make_strategy(config.strategy, draw(jax.random.key(0)), bounds)
        return Training(config, suite, only_finite(optax.identity()), schedule=None, strategy=strategy)
    optimiser = make_optimiser(config.lifetime)(neutral())
    if config.optimiser.startswith("ae_"):
        return Training(config, suite, only_finite(optimiser), schedule=None)
    share = schedule_of(config)
    stepper = only_finite(optax.chain(optimiser, optax.scale_by_schedule(share)))
    return Training(config, suite, stepper, schedule=lambda step: config.learning_rate * share(step))


def init(training: Training, key: Key) -> TrainState:
    """The state before the first step. The key is consumed."""
    key_network, key_run = jax.random.split(key)
    suite = training.suite
    genome = random_genome(key_network, training.bounds, suite.input_size, suite.output_size)
    genome = replace(genome, learning=neutral())
    if training.strategy is None:
        optimiser = training.stepper.init(genome.params)
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
