"""What is trained, on what and by what: everything about a training that is static."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike

from etm_jax._typing import Key, Scalar
from etm_jax.environment import Suite
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Genome, neutral
from etm_jax.networks.genome._genome import random_genome
from etm_jax.networks.learning._lifetime import Lifetime, learnable
from etm_jax.networks.learning._optimisers import is_adaptive, make_chain, warmup_share
from etm_jax.networks.native import Backend, choose_backend
from etm_jax.training._config import TrainConfig
from etm_jax.training._strategy import WeightStrategy, make_strategy

NEVER = 2**31 - 2  # steps left out in a row before one would be taken after all


@dataclass(frozen=True)
class Training:
    """What is trained and on what; static, so one compiled chunk belongs to one training.

    Attributes:
        config: every setting.
        suite: the tasks; or environments, with a strategy.
        backend: what computes the network.
        optimiser: from gradients to updates; it leaves out steps that are not finite.
        adaptive: the optimiser sets its learning rate itself, by the laws.
        schedule: the learning rate at each step that was taken; None where it is not known.
        strategy: takes the steps in place of the optimiser; None for gradients.
    """

    config: TrainConfig
    suite: Suite
    backend: Backend
    optimiser: optax.GradientTransformationExtraArgs
    adaptive: bool = False
    schedule: optax.Schedule | None = None
    strategy: WeightStrategy | None = None

    @property
    def bounds(self) -> Bounds:
        """The search space that holds the network's architecture and no other."""
        return self.config.network.bounds

    @property
    def lifetime(self) -> Lifetime:
        """How the network learns and is scored."""
        native = self.backend.native
        return Lifetime(self.bounds, self.suite, self.config.lifetime, dtype_of(self.config), native=native)

    @property
    def computed_by(self) -> str:
        """What computes the network, in words."""
        return self.backend.described()


def make_training(
    config: TrainConfig, suite: Suite, *, optimiser: optax.GradientTransformation | None = None
) -> Training:
    """A training from its settings; an optax chain given here replaces theirs, schedule and strategy included.

    Raises:
        ValueError: the strategy of the settings cannot have such a population, gradients are asked of environments, or
            `native` is on where the kernel cannot be used.
    """

    def draw(key: Key) -> Genome:
        return random_genome(key, config.network.bounds, suite.input_size, suite.output_size)

    by_strategy = optimiser is None and bool(config.strategy.name)
    if not by_strategy:
        learnable(suite)
    bounds, dtypes = config.network.bounds, (jnp.result_type(float), dtype_of(config))
    acts = suite.kind == "environments"
    backend = choose_backend(config.native, bounds.spec, *dtypes, step_by_step=acts)
    if by_strategy:
        strategy = make_strategy(config.strategy, jax.jit(draw)(jax.random.key(0)), config.network.bounds)
        return Training(config, suite, backend, only_finite(optax.identity()), strategy=strategy)
    lifetime = config.lifetime
    adaptive = is_adaptive(lifetime, optimiser, jax.eval_shape(draw, jax.random.key(0)).params)
    if optimiser is not None:
        return Training(config, suite, backend, only_finite(optimiser), adaptive)
    if adaptive:
        return Training(config, suite, backend, only_finite(make_chain(lifetime, neutral())), adaptive)
    decay = decay_of(config)

    def schedule(step: ArrayLike) -> Scalar:
        return warmup_share(config.warmup_steps, step) * decay(step) * config.learning_rate

    chain = only_finite(make_chain(lifetime, neutral(), decay))
    return Training(config, suite, backend, chain, schedule=schedule)


def dtype_of(config: TrainConfig) -> DTypeLike | None:
    """Precision of the factors of matrix products; None for the weights' own."""
    return jnp.bfloat16 if config.precision == "bfloat16" else None


def decay_of(config: TrainConfig) -> optax.Schedule:
    """The share of the learning rate at each step that is taken, beside the warm-up."""
    whole = optax.constant_schedule(1.0)
    if config.schedule == "constant":
        return whole
    warmup, alpha = config.warmup_steps, config.final_learning_rate
    cosine = optax.cosine_decay_schedule(1.0, max(config.steps - warmup, 1), alpha=alpha)
    return optax.join_schedules([whole, cosine], [warmup])


def only_finite(optimiser: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """An optimiser for which a step whose loss or gradient is not finite changes nothing.

    The state counts those steps: `total_notfinite` in all, `notfinite_count` in a row.
    """
    return optax.with_extra_args_support(optax.chain(_spoil(), optax.apply_if_finite(optimiser, NEVER)))


def _spoil() -> optax.GradientTransformationExtraArgs:
    """Make the gradients NaN where the loss is not finite, which they alone may not show."""

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del params
        finite = jnp.isfinite(extra_args["value"])
        return jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.nan), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update_fn)
