"""What training adds to the optimiser of lifetimes: a schedule, and leaving out steps that are not finite."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from etm_jax import ae
from etm_jax._typing import Scalar
from etm_jax.networks.learning._optimisers import paces_itself
from etm_jax.training._config import TrainConfig

NEVER = 2**31 - 2  # in a row, before such a step would be taken after all


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


def schedule_of(config: TrainConfig) -> optax.Schedule:
    """The share of the learning rate at each step that is taken."""
    warmup = config.warmup_steps
    if config.schedule == "cosine":
        then = optax.cosine_decay_schedule(1.0, max(config.steps - warmup, 1), alpha=config.final_learning_rate)
    else:
        then = optax.constant_schedule(1.0)
    grow = optax.linear_schedule(1 / max(warmup, 1), 1.0, max(warmup - 1, 1))
    return optax.join_schedules([grow, then], [warmup])


def learning_rate_of(schedule: optax.Schedule | None, state: optax.OptState, step: jax.Array) -> Scalar:
    """The learning rate after a step; NaN where it is not known."""
    if paces_itself(state):
        return jnp.asarray(ae.coefficients(state).get("learning_rate", jnp.nan))
    taken = step - optax.tree.get(state, "total_notfinite")
    with jax.numpy_dtype_promotion("standard"):  # optax divides whole numbers of steps
        return jnp.asarray(jnp.nan if schedule is None else schedule(taken))
