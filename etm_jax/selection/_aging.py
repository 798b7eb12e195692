"""Aging evolution: the oldest go, however good they are."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from etm_jax._require import require_count
from etm_jax._typing import Key
from etm_jax.selection._elites import check_turnover, num_survivors
from etm_jax.selection._scores import Scores, Selection
from etm_jax.selection._tournament import tournaments


@dataclass(frozen=True)
class AgingSelection:
    """Regularised evolution in batches: tournament winners have children, and these replace the oldest members.

    With P members of which L are replaced, nobody lives longer than P/L generations, rounded up: a genome lasts only
    by being good again in its descendants, so one that was lucky once is forgotten. Failed members go first.

    Attributes:
        size: members of a tournament.
        turnover: share of the population that is replaced in a generation, in (0, 1].

    Raises:
        ValueError: `size` below 1 or `turnover` outside (0, 1].

    References:
        Real et al. 2019, Regularized evolution for image classifier architecture search, AAAI; one child at a time
        there.
    """

    kind: ClassVar[str] = "aging"
    size: int = 3
    turnover: float = 0.5

    def __post_init__(self) -> None:
        require_count("the tournament size", self.size, 1)
        check_turnover(self.turnover)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents; without ages, members in front are the oldest. The key is consumed."""
        scores = scores.sound()
        size, count = scores.fitness.size, num_survivors(scores, self.turnover)
        age = jnp.zeros(size, jnp.int32) if scores.age is None else scores.age
        youngest_last = jnp.lexsort((-age, scores.alive))
        return Selection(
            survivors=jnp.flip(youngest_last)[:count],
            parents=tournaments(key, scores.ranked, scores.alive, (scores.num_places - count, 2), self.size),
        )
