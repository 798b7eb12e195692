"""What selectors share: the elites, and uniform draws that never pick a failed member."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from etm_jax._typing import Key
from etm_jax.selection._scores import Scores

NEVER = -1e9  # a log-probability; finite, so that a draw among failed members only is still uniform


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
    return jax.random.categorical(key, jnp.where(alive, 0.0, NEVER), shape=shape)
