"""What trajectories share: weights from scores, whole steps from weights, and coefficients drawn together."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from etm_jax.ae._charts import COEFFICIENTS, Coefficient, from_chart, to_chart
from etm_jax.ae._state import AEState

LEAST_WEIGHT = 1e-9  # what a weight of 0 counts as once every other trajectory is at its cap
MARGIN = 1e-5  # shares are rounded down from a little below, so that rounding errors never give out too much
HUGE = 1e36  # scores beyond count as this; their differences still have a reciprocal in float32
ROUNDING = 1e-6  # scores that differ by less, relative to the largest, are equal


def soft_weights(scores: jax.Array, sharpness: jax.typing.ArrayLike = 1.0) -> jax.Array:
    """Weights of trajectories from their scores, whatever the unit of the loss.

        w = softmax(-beta (s - mean s) / std s)

    Mean and deviation are those of the finite scores. One score far above the rest makes the rest look alike, since it
    sets the deviation.

    Args:
        scores: `[trajectories]`, losses; lower is better.
        sharpness: beta; 0 weighs all alike.

    Returns:
        `[trajectories]`, float32, sums to 1. A score that is not finite has weight 0; where none is finite, or all are
        the same, the weights are equal.

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
    # In units of the largest deviation first: the square of a diverged loss is not a float32.
    largest = jnp.max(jnp.abs(deviation))
    differ = largest > ROUNDING * jnp.max(jnp.abs(known))
    unit = jnp.where(differ, deviation / jnp.where(differ, largest, 1.0), 0.0)
    spread = jnp.sqrt(jnp.sum(jnp.square(unit)) / count)
    standard = unit / jnp.where(differ, spread, 1.0)
    return jax.nn.softmax(jnp.where(finite, -jnp.asarray(sharpness, jnp.float32) * standard, -jnp.inf))


def budgets(weights: jax.Array, total: int, floor: int, cap: int | None = None) -> jax.Array:
    """Whole steps for each trajectory that sum to exactly `total`.

    Everybody gets `floor`; the rest is shared in proportion to the weights, up to `cap`, and what a capped trajectory
    cannot take goes to the others, again by weight. Fractions are settled by largest remainder. A larger weight never
    gets fewer steps.

    Args:
        weights: `[trajectories]`, 0 or above, on any scale; one that is not finite counts as 0.
        total: steps to share, static.
        floor: least steps of a trajectory, static.
        cap: most steps of a trajectory, static; no more than `total` by default.

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
    # With the k largest weights at their cap, the others get `level` steps per unit of weight.
    ordered = jnp.sort(raised, descending=True)
    capped = jnp.arange(members, dtype=jnp.float32)
    rest = float(total - members * floor) - capped * float(cap - floor)
    levels = rest / jnp.cumsum(ordered[::-1])[::-1]
    fits = levels * ordered <= cap - floor
    level = levels[jnp.argmax(fits)]
    share = jnp.where(level * raised < cap - floor, level * raised * (1.0 - MARGIN), float(cap - floor))
    share = jnp.where(jnp.any(fits), share, float(cap - floor))  # all at their cap
    steps = jnp.clip(jnp.floor(share).astype(jnp.int32), 0, cap - floor)
    # Largest remainder first; of equal ones, the largest weight.
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
    """Coefficients drawn towards their weighted mean, in their charts.

        z_i <- (1 - kappa) z_i + kappa sum_j w_j z_j

    For rates the mean is geometric, so one that stands decades above the others does not drag them along.

    Args:
        positions: `[trajectories, coefficients]`, in their charts, as `AEState.position` has them.
        weights: `[trajectories]`, 0 or above; a trajectory of weight 0 follows without being heard.
        strength: kappa, in [0, 1]; 0 changes nothing, 1 makes all the same.

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
    """Which trajectory each lane advances in each iteration, with no lane ever idle.

    The budgets are laid end to end, and the line is cut into `lanes` pieces of `total / lanes` iterations. A trajectory
    may run over from the end of one lane into the beginning of the next, but never stands in two at once as long as its
    budget is no more than a piece: `budgets(..., cap=total // lanes)` sees to that.

    Args:
        budgets: `[trajectories]`, int, that sum to `total`; may be traced.
        total: steps, static.
        lanes: how many trajectories advance at a time, static; divides `total`.

    Returns:
        `[iterations, lanes]`, int32 indices of trajectories.

    Raises:
        ValueError: the lanes do not divide the steps.

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
    """The same state with coefficients put elsewhere, in their charts and in their own units alike.

    Args:
        state: of one trajectory or, with leading axes, of many.
        position: `[... coefficients]`, in their charts.
        names: of the coefficients in that order. `state.hyperparams` cannot tell it, since what comes out of `jax.jit`
            has its names sorted.
        ranges: see `swarm`.

    Raises:
        ValueError: a coefficient has no chart.
    """
    known = _charted(names, ranges)
    hyperparams = {name: from_chart(known[name].chart, position[..., i]) for i, name in enumerate(names)}
    return state._replace(position=position, hyperparams=hyperparams)


def started_at(position: jax.Array, names: tuple[str, ...], starts: Any, ranges: Any) -> jax.Array:
    """`[trajectories, coefficients]` with the columns that `starts` names replaced."""
    known = _charted(names, ranges)
    for name, values in (starts or {}).items():
        values = jnp.asarray(values, jnp.float32)
        if name not in names or values.shape != position.shape[:1]:
            raise ValueError(
                f"starts must give {position.shape[0]} numbers to any of {', '.join(names)}, "
                f"got shape {values.shape} for {name!r}"
            )
        chart, low, high = known[name]
        position = position.at[:, names.index(name)].set(to_chart(chart, jnp.clip(values, low, high)))
    return position


def put_state(opt_states: Any, found: AEState) -> Any:
    """The optimiser's states with their `AEState` replaced."""

    def is_ours(node: Any) -> bool:
        return isinstance(node, AEState)

    return jax.tree.map(lambda node: found if is_ours(node) else node, opt_states, is_leaf=is_ours)


def _charted(names: tuple[str, ...], ranges: Mapping[str, Coefficient] | None) -> dict[str, Coefficient]:
    known = COEFFICIENTS | dict(ranges or {})
    for name in names:
        if name not in known:
            raise ValueError(f"coefficient {name!r} has no range; give ranges={{{name!r}: ae.Coefficient(...)}}")
    return known
