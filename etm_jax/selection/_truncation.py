"""Truncation selection with elitism."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from etm_jax._typing import Key
from etm_jax.selection._elites import check_elites, elites, uniform_over
from etm_jax.selection._scores import Scores, Selection


@dataclass(frozen=True)
class TruncationSelection:
    """Parents are drawn uniformly from the best members; the elites stay.

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
