"""The one optax chain that networks learn by: clip, optimiser with the learning genes, schedule, warm-up."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from etm_jax import ae
from etm_jax._typing import IntScalar, Params, Scalar
from etm_jax.networks.genome._genes import Learning
from etm_jax.networks.learning._config import LifetimeConfig, Optimiser

HELD = 0.6  # share of a run's generations that learn at the full rate
LEARNING_RATE = "learning_rate"  # the coefficient that the laws move


@dataclass(frozen=True)
class OptimiserKind:
    """An optimiser that the settings can name.

    Attributes:
        make: from a learning rate, and `gains=` if it is adaptive, to an optax transformation.
        adaptive: it sets its learning rate itself, by the laws, so that it takes no schedule and no warm-up.
        gains: where the gains of its laws differ from `ae.default_gains`.
    """

    make: Callable[..., optax.GradientTransformation]
    adaptive: bool = False
    gains: Mapping[str, Any] = field(default_factory=dict)


OPTIMISERS: dict[Optimiser, OptimiserKind] = {
    "adam": OptimiserKind(optax.adam),
    "adamw": OptimiserKind(optax.adamw),
    "rmsprop": OptimiserKind(optax.rmsprop),
    "sgd": OptimiserKind(optax.sgd),
    "ae_adam": OptimiserKind(ae.ae_adam, adaptive=True),
    "ae_adamw": OptimiserKind(ae.ae_adamw, adaptive=True),
    "ae_sgdm": OptimiserKind(ae.ae_sgdm, adaptive=True),
    "ae_schedule_free_adamw": OptimiserKind(
        functools.partial(ae.ae_schedule_free_adamw, b2=0.99), adaptive=True, gains={"phase_noise": -0.4}
    ),
}


def make_chain(
    config: LifetimeConfig,
    learning: Learning,
    decay: optax.Schedule | None = None,
    own: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    """All that is done to the gradients of one network: clip, optimiser, schedule, warm-up.

    Args:
        config: clipping norm, optimiser, learning rate and warm-up.
        learning: the network's learning genes: factors on the learning rate and, under the laws, on two gains.
        decay: share of the learning rate at each step, beside the warm-up; None for neither, as an adaptive optimiser
            needs it: see `is_adaptive`.
        own: the user's chain, in place of clip and optimiser.
    """
    stages = [own] if own is not None else [optax.clip_by_global_norm(config.clip_norm), named(config, learning)]
    if decay is not None:
        # A new optimiser knows no scale yet, and its full first steps would undo what was learned before.
        warmup = functools.partial(warmup_share, config.warmup_steps)
        stages += [optax.scale_by_schedule(decay), optax.scale_by_schedule(warmup)]
    return optax.chain(*stages)


def named(config: LifetimeConfig, learning: Learning) -> optax.GradientTransformation:
    """The optimiser that the settings name, under the learning genes."""
    kind = OPTIMISERS[config.optimiser]
    rate = config.learning_rate * learning.learning_rate
    if not kind.adaptive:
        return kind.make(rate)
    gains = ae.default_gains((LEARNING_RATE,), **kind.gains)
    gains = gains._replace(
        meta_step=gains.meta_step * learning.meta_step, step_limit=gains.step_limit * learning.step_limit
    )
    return kind.make(rate, gains=gains)


def warmup_share(steps: int, step: ArrayLike) -> Scalar:
    """Share of the learning rate at a step of a warm-up over so many steps; 1 after it."""
    return jnp.minimum((jnp.asarray(step) + 1) / max(steps, 1), 1.0)


def learning_rate_scale(config: LifetimeConfig, max_generations: int, generation: IntScalar) -> Scalar:
    """The run's schedule: 1 for `HELD` of the generations, then along a cosine to `final_learning_rate` in the last.

    A rate that falls from the start leaves networks on the plateaus that they learn their way off at the full rate.
    """
    held = int(HELD * (max_generations - 1))
    falling = optax.cosine_decay_schedule(1.0, max(max_generations - 1 - held, 1), alpha=config.final_learning_rate)
    schedule = optax.join_schedules([optax.constant_schedule(1.0), falling], [held])
    return jnp.asarray(schedule(generation.astype(float)))


def is_adaptive(config: LifetimeConfig, own: optax.GradientTransformation | None, params: Params) -> bool:
    """Whether the optimiser sets its learning rate by the laws: a schedule from outside would fight them.

    The settings' optimisers say so in `OPTIMISERS`. Of a user's chain only its state can tell.
    """
    if own is None:
        return OPTIMISERS[config.optimiser].adaptive
    state = jax.eval_shape(own.init, params)
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, ae.AEState))
    return any(isinstance(leaf, ae.AEState) for leaf in leaves)
