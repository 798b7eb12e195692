"""Trajectories side by side, each under its own laws: the better get more steps, coefficients are drawn together."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae._charts import Coefficient
from etm_jax.ae._consensus import budgets, schedule
from etm_jax.ae._trajectories import Swarm, SwarmState, advance_with, assemble, check_numbers, with_work, work_of


def swarm(
    loss_fn: Callable[[Any, Any], jax.Array],
    tx: optax.GradientTransformation,
    sample: Callable[[jax.Array], Any],
    *,
    num_trajectories: int,
    rounds: int,
    steps_per_round: int,
    floor: int,
    lanes: int | None = None,
    strength: float = 0.05,
    sharpness: float = 1.0,
    dither: float = 0.0,
    ranges: Mapping[str, Coefficient] | None = None,
) -> Swarm:
    """Several trainings that share steps and coefficients, but never parameters.

    In a round each trajectory makes the steps of its budget; the smoothed losses give weights (`soft_weights`), and the
    weights give the next budgets (`budgets`) and draw the coefficients together (`consensus`). No lane ever idles,
    however unequal the budgets: `schedule` says which trajectories advance together. The data of a trajectory's n-th
    step does not depend on the lanes.

    Args:
        loss_fn: from parameters and a batch to the loss.
        tx: an optimiser with adaptive evolution in it, `ae_adam` for one.
        sample: from a key to a batch; every step of every trajectory draws its own.
        num_trajectories: trainings.
        rounds: that `run` makes.
        steps_per_round: steps of a round, summed over all trajectories.
        floor: least steps of a trajectory in a round; ten or so tell a new loss from the old.
        lanes: trajectories that advance at a time. It divides `steps_per_round`; no trajectory can have more than
            `steps_per_round / lanes` steps a round, so with as many lanes as trajectories all budgets are equal. By
            default the largest such number with which a budget can reach twice the mean.
        strength: how far a round draws the coefficients together, in [0, 1].
        sharpness: how much the weights favour low losses; 0 treats all alike.
        dither: standard deviation of the noise that the worst trajectory's parameters get after a round, relative to
            their rms.
        ranges: chart and range of coefficients that `ae.COEFFICIENTS` lacks, as `adaptive_evolution` got them.

    Returns:
        A `Swarm`. It costs `num_trajectories` times the memory of one training, and exactly `steps_per_round` steps a
        round.

    Raises:
        ValueError: a number is out of its range, or the optimiser's state does not hold one `AEState`.

    References:
        Jaderberg et al. 2017 (population-based training; here nothing is copied).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax import ae
        >>> train = ae.swarm(
        ...     lambda x, batch: jnp.mean((x - batch) ** 2), ae.ae_adam(1e-2), lambda key: jax.random.normal(key, (4,)),
        ...     num_trajectories=4, rounds=3, steps_per_round=80, floor=10,
        ... )
        >>> state = train.init(jax.random.key(0), lambda key: 5.0 + jax.random.normal(key, (4,)))
        >>> state, history = jax.jit(train.run)(state)
        >>> history.executed.sum(1).tolist()
        [80, 80, 80]
    """
    members, total = num_trajectories, steps_per_round
    check_numbers(members, rounds, strength, sharpness, dither)
    if lanes is None:
        lanes = max(count for count in range(1, max(members // 2, 1) + 1) if total % count == 0)
    if not (1 <= lanes <= members and total % lanes == 0):
        raise ValueError(
            f"lanes must divide steps_per_round and be at most num_trajectories, got {lanes} with "
            f"steps_per_round={total} and num_trajectories={members}; leave it out for a fitting number"
        )
    if not 1 <= floor <= total // members:
        raise ValueError(
            f"floor must satisfy 1 <= num_trajectories * floor <= steps_per_round, got floor={floor} with "
            f"num_trajectories={members} and steps_per_round={total}; everybody must be measured in every round"
        )
    advance = advance_with(loss_fn, tx, sample)

    def spend(state: SwarmState) -> SwarmState:
        def iteration(state: SwarmState, running: jax.Array) -> tuple[SwarmState, None]:
            whole = work_of(state)
            part = jax.vmap(advance)(jax.tree.map(lambda leaf: leaf[running], whole), state.keys[running])
            merged = jax.tree.map(lambda leaf, new: leaf.at[running].set(new, unique_indices=True), whole, part)
            return with_work(state, merged), None

        return jax.lax.scan(iteration, state, schedule(state.budgets, total, lanes))[0]

    def allot(weights: jax.Array) -> jax.Array:
        return budgets(weights, total, floor, total // lanes)

    return assemble(tx, members, rounds, spend, allot, strength, sharpness, dither, ranges)


def ensemble(
    loss_fn: Callable[[Any, Any], jax.Array],
    tx: optax.GradientTransformation,
    sample: Callable[[jax.Array], Any],
    *,
    num_trajectories: int,
    steps: int,
    strength: float = 0.05,
    sharpness: float = 1.0,
    ranges: Mapping[str, Coefficient] | None = None,
) -> Swarm:
    """Trajectories that advance together, with a consensus after every step; a swarm of equal budgets.

    Args:
        loss_fn: from parameters and a batch to the loss.
        tx: an optimiser with adaptive evolution in it.
        sample: from a key to a batch.
        num_trajectories: trainings.
        steps: of each trajectory, that `run` makes.
        strength: how far a step draws the coefficients together, in [0, 1].
        sharpness: how much the consensus listens to low losses; 0 listens to all alike.
        ranges: see `swarm`.

    Returns:
        A `Swarm` whose round is one step of every trajectory.

    Raises:
        ValueError: as `swarm`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax import ae
        >>> train = ae.ensemble(
        ...     lambda x, batch: jnp.sum((x - batch) ** 2), ae.ae_adam(1e-2), lambda key: jnp.ones(2),
        ...     num_trajectories=3, steps=20,
        ... )
        >>> state = train.init(jax.random.key(0), lambda key: jnp.zeros(2), {"learning_rate": [1e-4, 1e-3, 1e-2]})
        >>> state, history = jax.jit(train.run)(state)
        >>> history.coefficients["learning_rate"].shape
        (20, 3)
    """
    check_numbers(num_trajectories, steps, strength, sharpness, 0.0)
    advance = advance_with(loss_fn, tx, sample)

    def spend(state: SwarmState) -> SwarmState:
        return with_work(state, jax.vmap(advance)(work_of(state), state.keys))

    def allot(weights: jax.Array) -> jax.Array:
        return jnp.ones(weights.shape, jnp.int32)

    return assemble(tx, num_trajectories, steps, spend, allot, strength, sharpness, 0.0, ranges)
