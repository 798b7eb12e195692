"""Selection by fitness alone: tournaments, truncation, uniform draws, and aging."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key
from etm_jax.selection._scores import (
    Scores,
    Selection,
    check_elites,
    check_turnover,
    elites,
    num_survivors,
    uniform_over,
)


def tournaments(
    key: Key, rated: Float[Array, " population"], alive: Bool[Array, " population"], shape: tuple[int, ...], size: int
) -> Int[Array, "..."]:
    """Winners of independent tournaments: the highest rated of `size` members drawn at random. The key is consumed."""
    entrants = uniform_over(key, alive, (*shape, size))
    winners = jnp.argmax(rated[entrants], axis=-1)
    return jnp.take_along_axis(entrants, winners[..., None], axis=-1)[..., 0]


@dataclass(frozen=True)
class TournamentSelection:
    """Each parent is the best of `size` members drawn at random with replacement; the elites survive.

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


@dataclass(frozen=True)
class TruncationSelection:
    """Parents are drawn uniformly from the best members; the elites survive.

    Attributes:
        share: share of the population that may become parents, in (0, 1].
        num_elites: best members that survive unchanged, fewer than the population.

    Raises:
        ValueError: `share` outside (0, 1] or `num_elites` below 0.
    """

    kind: ClassVar[str] = "truncation"
    share: float = 0.5
    num_elites: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"the truncation share must be in (0, 1], got {self.share}")
        check_elites(self.num_elites)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents. The key is consumed."""
        scores = scores.sound()
        survivors = elites(scores, self.num_elites)
        _, best = jax.lax.top_k(scores.ranked, max(round(self.share * scores.fitness.size), 1))
        chosen = uniform_over(key, scores.alive[best], (scores.num_places - survivors.size, 2))
        return Selection(survivors=survivors, parents=best[chosen])


@dataclass(frozen=True)
class UniformSelection:
    """Parents are drawn uniformly from all members; the elites survive.

    Over the cells of a MAP-Elites archive this is the selection of that algorithm; over a population without elites it
    is a random walk, the baseline of every other selector.

    Attributes:
        num_elites: best members that survive unchanged, fewer than the population.

    Raises:
        ValueError: `num_elites` below 0.
    """

    kind: ClassVar[str] = "uniform"
    num_elites: int = 0

    def __post_init__(self) -> None:
        check_elites(self.num_elites)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents. The key is consumed."""
        scores = scores.sound()
        survivors = elites(scores, self.num_elites)
        return Selection(survivors, uniform_over(key, scores.alive, (scores.num_places - survivors.size, 2)))


@dataclass(frozen=True)
class AgingSelection:
    """Aging (regularised) evolution in batches: children of tournament winners replace the oldest members.

    With P members of which L are replaced, no member lives longer than P/L generations, rounded up. A genome lasts
    only if its descendants score well again, so one lucky score is forgotten. Failed members are replaced first.

    Attributes:
        size: members of a tournament.
        turnover: share of the population that is replaced in a generation, in (0, 1].

    Raises:
        ValueError: `size` below 1 or `turnover` outside (0, 1].

    References:
        Real et al. 2019, Regularized evolution for image classifier architecture search, AAAI; there one child at a
        time.
    """

    kind: ClassVar[str] = "aging"
    size: int = 3
    turnover: float = 0.5

    def __post_init__(self) -> None:
        require_count("the tournament size", self.size, 1)
        check_turnover(self.turnover)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents; without ages the first members count as the oldest. The key is consumed."""
        scores = scores.sound()
        size, count = scores.fitness.size, num_survivors(scores, self.turnover)
        age = jnp.zeros(size, jnp.int32) if scores.age is None else scores.age
        youngest_last = jnp.lexsort((-age, scores.alive))
        return Selection(
            survivors=jnp.flip(youngest_last)[:count],
            parents=tournaments(key, scores.ranked, scores.alive, (scores.num_places - count, 2), self.size),
        )
