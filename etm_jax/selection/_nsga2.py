"""NSGA-II: survivors by Pareto front, and on a front by distance from their neighbours."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Int

from etm_jax._typing import Key
from etm_jax.selection._elites import check_turnover, num_survivors
from etm_jax.selection._pareto import crowding_distance, pareto_ranks
from etm_jax.selection._scores import Scores, Selection
from etm_jax.selection._tournament import tournaments


@dataclass(frozen=True)
class NSGA2Selection:
    """The members on the first fronts survive, the most crowded of the last front that fits do not.

    Parents win binary tournaments among the survivors, by front and then by crowding distance. With a turnover of one
    half the population is what NSGA-II calls parents and offspring together.

    Attributes:
        turnover: share of the population that is replaced in a generation, in (0, 1].

    Raises:
        ValueError: `turnover` outside (0, 1].

    References:
        Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE Trans. Evol. Comput. 6(2).
    """

    kind: ClassVar[str] = "nsga2"
    needs = ("objectives",)

    turnover: float = 0.5

    def __post_init__(self) -> None:
        check_turnover(self.turnover)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents by the objectives, or the fitness without them. The key is consumed."""
        scores = scores.sound(*self.needs)
        order = crowded_order(scores)
        count = num_survivors(scores, self.turnover)
        pool = order[: max(count, scores.num_places - count)]  # with a high turnover too few survive to be parents
        rated = -jnp.arange(pool.size, dtype=float)
        shape = (scores.num_places - count, 2)
        return Selection(order[:count], pool[tournaments(key, rated, scores.alive[pool], shape, size=2)])


def crowded_order(scores: Scores) -> Int[Array, " population"]:
    """Members by front, and on a front the least crowded first; failed ones last."""
    objectives = scores.by_objective
    ranks = pareto_ranks(objectives)
    return jnp.lexsort((-crowding_distance(objectives, ranks), ranks, ~scores.alive))
