"""What trajectories share: weights from scores, step budgets from weights, and a consensus of coefficients."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from etm_jax.ae._charts import COEFFICIENTS, Coefficient, from_chart, to_chart
from etm_jax.ae._state import AEState

LEAST_WEIGHT = 1e-9  # added to each weight, so that weights of 0 share what is left when all others are at their cap
MARGIN = 1e-5  # shares are lowered by this before rounding down, so that rounding never exceeds the total
HUGE = 1e36  # scores are clipped to this; differences then still have a reciprocal in float32
ROUNDING = 1e-6  # scores that differ by less than this, relative to the largest, count as equal


def soft_weights(scores: jax.Array, sharpness: jax.typing.ArrayLike = 1.0) -> jax.Array:
    """Weights of trajectories from their scores, independent of the unit of the loss.

        w = softmax(-beta (s - mean s) / std s)

    Mean and deviation are over the finite scores. One score far above the others sets the deviation and makes the
    others look alike.

    Args:
        scores: `[trajectories]`, losses; lower is better.
        sharpness: beta; 0 gives equal weights.

    Returns:
        `[trajectories]`, float32, sums to 1. A score that is not finite gets weight 0. If no score is finite or all are
        equal, the weights are equal.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> ae.soft_weights(jnp.asarray([1.0, 1.0, jnp.nan])).tolist()
        [0.5, 0.5, 0.0]
    """
    scores = jnp.asarray(scores, jnp.float32)
    finite = jnp.isfinite(scores)
    finite = finite | ~jnp.any(finite)
    known = jnp.where(jnp.isfinite(scores), jnp.clip(scores, -HUGE, HUGE), 0.0)
    count = jnp.sum(finite, dtype=jnp.float32)
    deviation = jnp.where(finite, known - jnp.sum(known / count), 0.0)
    # Divide by the largest deviation before squaring: the square of a diverged loss overflows float32.
    largest = jnp.max(jnp.abs(deviation))
    differ = largest > ROUNDING * jnp.max(jnp.abs(known))
    unit = jnp.where(differ, deviation / jnp.where(differ, largest, 1.0), 0.0)
    spread = jnp.sqrt(jnp.sum(jnp.square(unit)) / count)
    standard = unit / jnp.where(differ, spread, 1.0)
    return jax.nn.softmax(jnp.where(finite, -jnp.asarray(sharpness, jnp.float32) * standard, -jnp.inf))


def budgets(weights: jax.Array, total: int, floor: int, cap: int | None = None) -> jax.Array:
    """An integer number of steps for each trajectory; they sum to exactly `total`.

    Each trajectory gets `floor`. The rest is shared in proportion to the weights, up to `cap`; what capped trajectories
    cannot take goes to the others, again by weight. Fractions go by largest remainder. A larger weight never gets fewer
    steps.

    Args:
        weights: `[trajectories]`, 0 or above, on any scale; one that is not finite, or subnormal, counts as 0.
        total: steps to share, static.
        floor: fewest steps of a trajectory, static.
        cap: most steps of a trajectory, static; `total` by default.

    Returns:
        `[trajectories]`, int32.

    Raises:
        ValueError: no such budgets exist.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> ae.budgets(jnp.asarray([0.97, 0.01, 0.01, 0.01]), total=4000, floor=400).tolist()
        [2728, 424, 424, 424]
    """
    cap = total if cap is None else cap
    members = weights.shape[0]
    if floor < 0 or members * floor > total:
        raise ValueError(
            f"floor must satisfy 0 <= trajectories * floor <= total, got floor={floor} and total={total} with "
            f"{members} trajectories; lower the floor to {total // members}"
        )
    if members * cap < total:
        raise ValueError(
            f"cap must satisfy total <= trajectories * cap, got cap={cap} and total={total} with {members} "
            f"trajectories; raise the cap to {-(-total // members)}"
        )
    weights = jnp.asarray(weights, jnp.float32)
    weights = jnp.where(jnp.isfinite(weights) & (weights > 0), weights, 0.0)
    raised = weights / jnp.maximum(jnp.max(weights), jnp.finfo(jnp.float32).tiny) + LEAST_WEIGHT
    # Water filling: with the k largest weights at their cap, the others get levels[k] steps per unit of weight. The
    # first k at which no further trajectory exceeds the cap is the solution.
    ordered = jnp.sort(raised, descending=True)
    capped = jnp.arange(members, dtype=jnp.float32)
    rest = float(total - members * floor) - capped * float(cap - floor)
    levels = rest / jnp.cumsum(ordered[::-1])[::-1]
    fits = levels * ordered <= cap - floor
    level = levels[jnp.argmax(fits)]
    share = jnp.where(level * raised < cap - floor, level * raised * (1.0 - MARGIN), float(cap - floor))
    share = jnp.where(jnp.any(fits), share, float(cap - floor))  # all at their cap
    steps = jnp.clip(jnp.floor(share).astype(jnp.int32), 0, cap - floor)
    # Largest remainder first; ties go to the larger weight, so that a larger weight never gets fewer steps.
    order = jnp.lexsort((-weights, steps.astype(jnp.float32) - share))

    def give(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        steps, left = state
        has_room = (steps < cap - floor)[order]
        gets = has_room & (jnp.cumsum(has_room, dtype=jnp.int32) <= left)
        return steps.at[order].add(gets.astype(jnp.int32)), left - jnp.sum(gets, dtype=jnp.int32)

    left = total - members * floor - jnp.sum(steps, dtype=jnp.int32)
    steps, _ = jax.lax.while_loop(lambda state: state[1] > 0, give, (steps, left))
    return steps + floor


def consensus(positions: jax.Array, weights: jax.Array, strength: jax.typing.ArrayLike) -> jax.Array:
    """Move coefficients towards their weighted mean, in their charts (transforms).

        z_i <- (1 - kappa) z_i + kappa sum_j w_j z_j

    For rates this is the geometric mean, so one rate decades above the others does not dominate.

    Args:
        positions: `[trajectories, coefficients]`, in their charts, as in `AEState.position`.
        weights: `[trajectories]`, 0 or above; a trajectory of weight 0 moves but does not contribute.
        strength: kappa, in [0, 1]; 0 changes nothing, 1 makes all equal.

    Returns:
        `[trajectories, coefficients]`.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> rates = jnp.asarray([[1e-4], [1e-3], [1e-2], [10.0]])
        >>> drawn = ae.consensus(jnp.log(rates), jnp.ones(4), strength=1.0)
        >>> round(float(jnp.exp(drawn[0, 0])), 5)
        0.01
    """
    strength = jnp.asarray(strength, positions.dtype)
    share = (weights / jnp.sum(weights))[:, None]
    mean = jnp.sum(jnp.where(share > 0, share * positions, 0.0), axis=0, keepdims=True)
    return (1.0 - strength) * positions + strength * mean


def schedule(budgets: jax.Array, total: int, lanes: int) -> jax.Array:
    """The trajectory that each lane advances in each iteration; no lane is ever idle.

    The budgets are laid end to end and cut into `lanes` pieces of `total / lanes` iterations. A trajectory may continue
    from the end of one lane at the start of the next. It is never in two lanes at once if its budget is at most one
    piece, which `budgets(..., cap=total // lanes)` ensures.

    Args:
        budgets: `[trajectories]`, int, summing to `total`; may be traced.
        total: steps, static.
        lanes: trajectories that advance at a time, static; divides `total`.

    Returns:
        `[iterations, lanes]`, int32 indices of trajectories.

    Raises:
        ValueError: `lanes` does not divide `total`.

    References:
        McNaughton 1959, the wrap-around rule.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> ae.schedule(jnp.asarray([3, 2, 1]), total=6, lanes=2).T.tolist()
        [[0, 0, 0], [1, 1, 2]]
    """
    if lanes < 1 or total % lanes:
        raise ValueError(f"lanes must divide the {total} steps of a round, got {lanes}; change either")
    units = jnp.arange(total, dtype=jnp.int32).reshape(lanes, total // lanes).T
    return jnp.searchsorted(jnp.cumsum(budgets), units, side="right").astype(jnp.int32)


def with_position(
    state: AEState,
    position: jax.Array,
    names: tuple[str, ...],
    ranges: Mapping[str, Coefficient] | None = None,
) -> AEState:
    """The state with new coefficients: `position` and `hyperparams` are both replaced.

    Args:
        state: of one trajectory or, with leading axes, of many.
        position: `[... coefficients]`, in their charts.
        names: the coefficients in that order. `state.hyperparams` does not keep it: `jax.jit` sorts the keys of dicts.
        ranges: see `swarm`.

    Raises:
        ValueError: a coefficient has no chart.
    """
    known = _charted(names, ranges)
    hyperparams = {name: from_chart(known[name].chart, position[..., i]) for i, name in enumerate(names)}
    return state._replace(position=position, hyperparams=hyperparams)


def started_at(
    position: jax.Array,
    names: tuple[str, ...],
    starts: Mapping[str, jax.typing.ArrayLike | Sequence[float]] | None,
    ranges: Mapping[str, Coefficient] | None,
) -> jax.Array:
    """Positions `[trajectories, coefficients]` with the columns named in `starts` replaced."""
    known = _charted(names, ranges)
    for name, values in (starts or {}).items():
        values = jnp.asarray(values, jnp.float32)
        if name not in names or values.shape != position.shape[:1]:
            raise ValueError(
                f"starts must give {position.shape[0]} numbers for any of {', '.join(names)}, "
                f"got shape {values.shape} for {name!r}"
            )
        chart, low, high = known[name]
        position = position.at[:, names.index(name)].set(to_chart(chart, jnp.clip(values, low, high)))
    return position


def put_state(opt_states: Any, found: AEState) -> Any:
    """The optimiser state with its `AEState` replaced."""

    def is_ours(node: Any) -> bool:
        return isinstance(node, AEState)

    return jax.tree.map(lambda node: found if is_ours(node) else node, opt_states, is_leaf=is_ours)


def _charted(names: tuple[str, ...], ranges: Mapping[str, Coefficient] | None) -> dict[str, Coefficient]:
    known = COEFFICIENTS | dict(ranges or {})
    for name in names:
        if name not in known:
            raise ValueError(f"coefficient {name!r} has no range; give ranges={{{name!r}: ae.Coefficient(...)}}")
    return known
