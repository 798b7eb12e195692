"""Pareto ranks and crowding: who is dominated by whom, and how lonely a member of a front is."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def dominance(
    objectives: Float[Array, "one objective"], others: Float[Array, "other objective"]
) -> Bool[Array, "one other"]:
    """True = the one is at least as good in every objective and better in some; objectives are maximised."""
    one, other = objectives[:, None], others[None]
    return jnp.all(one >= other, axis=-1) & jnp.any(one > other, axis=-1)


def pareto_ranks(objectives: Float[Array, "population objective"]) -> Int[Array, " population"]:
    """The front that each member is in: 0 for those whom nobody dominates, 1 for those dominated by these only, ...

    A member with NaN among its objectives has failed, and ranks as one with -inf in all of them. All comparisons are
    one operation; the loop then takes one front at a time off.

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
    unranked = objectives.shape[0]  # a rank that no member can have

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
    """How far apart the neighbours of a member lie on its front, summed over objectives; infinite at the ends.

    Each objective counts in shares of its range on the front (Deb et al. 2002, section III-B).
    """
    size = objectives.shape[0]

    def along(values: Float[Array, " population"]) -> Float[Array, " population"]:
        order = jnp.lexsort((values, ranks))
        ordered, front = values[order], ranks[order]
        before = jnp.concatenate([jnp.array([-1]), front[:-1]]) == front
        after = jnp.concatenate([front[1:], jnp.array([-1])]) == front
        gap = jnp.roll(ordered, -1) - jnp.roll(ordered, 1)
        low = jax.ops.segment_min(values, ranks, size + 1)
        high = jax.ops.segment_max(values, ranks, size + 1)
        extent = (high - low)[front]
        distance = jnp.where(before & after, jnp.where(extent > 0, gap / extent, 0.0), jnp.inf)
        return jnp.zeros(size).at[order].set(distance)

    finite = jnp.where(jnp.isfinite(objectives), objectives, 0.0)  # failed members, which are on a front of their own
    return jnp.sum(jax.vmap(along, in_axes=1)(finite), axis=0)


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """The volume that points dominate above a reference point; exact, in NumPy, for the fronts of a report.

    The last objective cuts the volume into slices, each of which is a hypervolume of one objective fewer (While et al.
    2006, A faster algorithm for calculating hypervolume).

    Args:
        points: [point objective], maximised; those not above the reference count for nothing.
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
