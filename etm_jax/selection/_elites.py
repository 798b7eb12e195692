"""What selectors share: who survives, and draws that never pick a failed member."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key
from etm_jax.selection._scores import Scores


def check_elites(num_elites: int) -> None:
    """Raise a ValueError unless `num_elites` is a whole number of at least 0."""
    require_count("num_elites", num_elites, 0)


def check_turnover(turnover: float) -> None:
    """Raise a ValueError unless `turnover` is a share above 0."""
    if not 0 < turnover <= 1:
        raise ValueError(f"turnover must be in (0, 1], got {turnover}")


def num_survivors(scores: Scores, turnover: float) -> int:
    """Places left by the offspring, of which there is at least one."""
    return max(scores.num_places - max(round(turnover * scores.num_places), 1), 0)


def elites(scores: Scores, num_elites: int) -> Int[Array, " elite"]:
    """The best members; at most one fewer than the population, so that something new is always tried."""
    _, best = jax.lax.top_k(scores.ranked, min(num_elites, scores.num_places - 1))
    return best


def uniform_over(key: Key, alive: Bool[Array, " population"], shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Draw members uniformly with replacement among those alive, or among all if none is. The key is consumed."""
    eligible = alive | ~jnp.any(alive)
    first = jnp.argsort(~eligible, stable=True)  # the eligible ones, then the others
    count = jnp.sum(eligible)
    chance = jax.random.uniform(key, shape)
    drawn = jnp.floor(chance * count.astype(chance.dtype)).astype(count.dtype)
    return first[jnp.minimum(drawn, count - 1)]  # a draw just below 1 may round up to the count


def proportional(
    key: Key, worth: Float[Array, "*pick population"], alive: Bool[Array, "population"], shape: tuple[int, ...]
) -> Int[Array, "..."]:
    """Draw members with replacement in proportion to their worth, uniformly where nobody is worth anything.

    Args:
        key: consumed.
        worth: of each member, at least 0; what stands at failed members does not matter.
        alive: True = may be drawn, or nobody may and then all.
        shape: of the draws; leading axes of `worth` broadcast against it.
    """
    eligible = alive | ~jnp.any(alive)
    eligible = jnp.broadcast_to(eligible, worth.shape)
    worth = jnp.where(eligible, worth, 0)
    worth = jnp.where(jnp.any(worth > 0, axis=-1, keepdims=True), worth, eligible.astype(worth.dtype))
    return jax.random.categorical(key, jnp.log(worth), shape=shape)
