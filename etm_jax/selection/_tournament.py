"""Tournament selection with elitism."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key
from etm_jax.selection._elites import check_elites, elites, uniform_over
from etm_jax.selection._scores import Scores, Selection


def tournaments(
    key: Key, rated: Float[Array, " population"], alive: Bool[Array, " population"], shape: tuple[int, ...], size: int
) -> Int[Array, "..."]:
    """Winners of independent tournaments: the highest rated of `size` members drawn at random. The key is consumed."""
    entrants = uniform_over(key, alive, (*shape, size))
    winners = jnp.argmax(rated[entrants], axis=-1)
    return jnp.take_along_axis(entrants, winners[..., None], axis=-1)[..., 0]


@dataclass(frozen=True)
class TournamentSelection:
    """Each parent is the best of `size` members drawn at random with replacement; the elites stay.

    Attributes:
        size: members of a tournament; more is greedier, 1 is random.
        num_elites: best members that survive unchanged, fewer than the population.

    Raises:
        ValueError: `size` below 1 or `num_elites` below 0.
    """

    kind: ClassVar[str] = "tournament"
    size: int = 3
    num_elites: int = 2

    def __post_init__(self) -> None:
        require_count("the tournament size", self.size, 1)
        check_elites(self.num_elites)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents. The key is consumed."""
        scores = scores.sound()
        survivors = elites(scores, self.num_elites)
        shape = (scores.num_places - survivors.size, 2)
        return Selection(survivors, tournaments(key, scores.ranked, scores.alive, shape, self.size))
