"""Several objectives: Pareto ranks, crowding distance, hypervolume, and NSGA-II."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key
from etm_jax.selection._by_fitness import tournaments
from etm_jax.selection._scores import Scores, Selection, check_turnover, num_survivors


def dominance(
    objectives: Float[Array, "one objective"], others: Float[Array, "other objective"]
) -> Bool[Array, "one other"]:
    """True = `one` is at least as good as `other` in every objective and better in one; objectives are maximised."""
    one, other = objectives[:, None], others[None]
    return jnp.all(one >= other, axis=-1) & jnp.any(one > other, axis=-1)


def pareto_ranks(objectives: Float[Array, "population objective"]) -> Int[Array, " population"]:
    """The front of each member: 0 for members that none dominates, 1 for members dominated only by these, and so on.

    A member with a NaN objective ranks as if all its objectives were -inf. All pairs are compared at once; a loop then
    takes off one front at a time.

    References:
        Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II, section III-A.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax.selection import pareto_ranks
        >>> pareto_ranks(jnp.array([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [0.0, 0.0]])).tolist()
        [0, 0, 1, 2]
    """
    objectives = jnp.where(jnp.any(jnp.isnan(objectives), axis=1, keepdims=True), -jnp.inf, objectives)
    beats = dominance(objectives, objectives)
    unranked = objectives.shape[0]  # ranks are below it

    def take_front(state: tuple[Array, Array]) -> tuple[Array, Array]:
        ranks, front = state
        left = ranks == unranked
        dominated = jnp.any(beats & left[:, None], axis=0)
        return jnp.where(left & ~dominated, front, ranks), front + 1

    start = (jnp.full(objectives.shape[0], unranked), jnp.array(0))
    return jax.lax.while_loop(lambda state: jnp.any(state[0] == unranked), take_front, start)[0]


def crowding_distance(
    objectives: Float[Array, "population objective"], ranks: Int[Array, " population"]
) -> Float[Array, " population"]:
    """The distance between a member's neighbours on its front, summed over objectives; infinite at the ends.

    Each objective is divided by its range on the front (Deb et al. 2002, section III-B).
    """
    size = objectives.shape[0]

    def along(values: Float[Array, " population"]) -> Float[Array, " population"]:
        order = jnp.lexsort((values, ranks))  # all fronts side by side, each sorted by the objective
        ordered, front = values[order], ranks[order]
        before = jnp.concatenate([jnp.array([-1]), front[:-1]]) == front
        after = jnp.concatenate([front[1:], jnp.array([-1])]) == front
        gap = jnp.roll(ordered, -1) - jnp.roll(ordered, 1)
        low = jax.ops.segment_min(values, ranks, size + 1)
        high = jax.ops.segment_max(values, ranks, size + 1)
        extent = (high - low)[front]
        distance = jnp.where(before & after, jnp.where(extent > 0, gap / extent, 0.0), jnp.inf)
        return jnp.zeros(size).at[order].set(distance)

    finite = jnp.where(jnp.isfinite(objectives), objectives, 0.0)  # -inf of failed members, whose front is theirs alone
    return jnp.sum(jax.vmap(along, in_axes=1)(finite), axis=0)


@dataclass(frozen=True)
class NSGA2Selection:
    """Survivors are the first fronts and the least crowded members of the front that fits only in part.

    Parents win binary tournaments among the survivors, by front and then by crowding distance. With `turnover=0.5` the
    population is NSGA-II's parents and offspring together.

    Attributes:
        turnover: share of the population that is replaced in a generation, in (0, 1].

    Raises:
        ValueError: `turnover` outside (0, 1].

    References:
        Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE Trans. Evol. Comput. 6(2).
    """

    kind: ClassVar[str] = "nsga2"
    keeps_front = True  # beside the population, unless the settings name another archive
    needs = ("objectives",)

    turnover: float = 0.5

    def __post_init__(self) -> None:
        check_turnover(self.turnover)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents by objectives; without them by fitness. The key is consumed."""
        scores = scores.sound(*self.needs)
        order = crowded_order(scores)
        count = num_survivors(scores, self.turnover)
        pool = order[: max(count, scores.num_places - count)]  # at a high turnover too few survive to be parents
        rated = -jnp.arange(pool.size, dtype=float)
        shape = (scores.num_places - count, 2)
        return Selection(order[:count], pool[tournaments(key, rated, scores.alive[pool], shape, size=2)])


def crowded_order(scores: Scores) -> Int[Array, " population"]:
    """Members by front, the least crowded of a front first, failed members last."""
    objectives = scores.by_objective
    ranks = pareto_ranks(objectives)
    return jnp.lexsort((-crowding_distance(objectives, ranks), ranks, ~scores.alive))


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """The volume that points dominate above a reference point; exact, in NumPy.

    The last objective cuts the volume into slices, each a hypervolume of one objective fewer (While et al. 2006, A
    faster algorithm for calculating hypervolume).

    Args:
        points: [point objective], maximised; points not above the reference in every objective are ignored.
        reference: [objective].

    Example:
        >>> import numpy as np
        >>> from etm_jax.selection import hypervolume
        >>> hypervolume(np.array([[2.0, 1.0], [1.0, 2.0]]), np.zeros(2))
        3.0
    """
    points, reference = np.asarray(points, float), np.asarray(reference, float)
    points = points[np.all(points > reference, axis=1)]
    if len(points) == 0:
        return 0.0
    if reference.size == 1:
        return float(points.max() - reference[0])
    points = points[np.argsort(-points[:, -1])]
    floors = np.append(points[1:, -1], reference[-1])
    volume = 0.0
    for count, (top, floor) in enumerate(zip(points[:, -1], floors, strict=True), 1):
        if top > floor:
            volume += (top - floor) * hypervolume(points[:count, :-1], reference[:-1])
    return float(volume)
