"""Tournament selection with elitism."""

from dataclasses import dataclass

import jax.numpy as jnp

from etm_jax._typing import Key
from etm_jax.selection._elites import check_elites, elites, uniform_over
from etm_jax.selection._scores import Scores, Selection


@dataclass(frozen=True)
class TournamentSelection:
    """Each parent is the best of `size` members drawn at random with replacement; the elites stay.

    Attributes:
        size: members of a tournament; more is greedier, 1 is random.
        num_elites: best members that survive unchanged, fewer than the population.

    Raises:
        ValueError: `size` below 1 or `num_elites` below 0.
    """

    size: int = 3
    num_elites: int = 2

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"the tournament size must be at least 1, got {self.size}")
        check_elites(self.num_elites)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents. The key is consumed."""
        survivors = elites(scores, self.num_elites)
        num_children = scores.fitness.size - survivors.size
        entrants = uniform_over(key, scores.alive, (num_children, 2, self.size))
        winners = jnp.argmax(scores.ranked[entrants], axis=-1)
        parents = jnp.take_along_axis(entrants, winners[..., None], axis=-1)[..., 0]
        return Selection(survivors=survivors, parents=parents)
