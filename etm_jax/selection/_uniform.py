"""Uniform selection: parents at random, for archives that do the selecting, and as the baseline of all others."""

from dataclasses import dataclass
from typing import ClassVar

from etm_jax._typing import Key
from etm_jax.selection._elites import check_elites, elites, uniform_over
from etm_jax.selection._scores import Scores, Selection


@dataclass(frozen=True)
class UniformSelection:
    """Parents are any members, with equal chances; the elites stay.

    Over the cells of a MAP-Elites archive this is that algorithm's own choice; over a population, with no elites, it
    is a random walk.

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
