"""What selectors share: the elites, and uniform draws that never pick a failed member."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from etm_jax._typing import Key
from etm_jax.selection._scores import Scores


def check_elites(num_elites: int) -> None:
    """Raise a ValueError unless `num_elites` is at least 0."""
    if num_elites < 0:
        raise ValueError(f"num_elites must be at least 0, got {num_elites}")


def elites(scores: Scores, num_elites: int) -> Int[Array, " elite"]:
    """The best members; at most one fewer than the population, so that something new is always tried."""
    _, best = jax.lax.top_k(scores.ranked, min(num_elites, scores.fitness.size - 1))
    return best


def uniform_over(key: Key, alive: Bool[Array, " population"], shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Draw members uniformly with replacement among those alive, or among all if none is. The key is consumed."""
    eligible = alive | ~jnp.any(alive)
    first = jnp.argsort(~eligible, stable=True)  # the eligible ones, then the others
    count = jnp.sum(eligible)
    drawn = jnp.floor(jax.random.uniform(key, shape) * count).astype(first.dtype)
    return first[jnp.minimum(drawn, count - 1)]  # a draw just below 1 may round up to the count
