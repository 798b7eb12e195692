"""Parallel trajectories, each under its own laws: better ones get more steps, and a consensus couples coefficients."""

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
    """Train several trajectories that share steps and coefficients, but never parameters.

    In a round each trajectory takes as many steps as its budget. The smoothed losses then give weights
    (`soft_weights`); the weights set the next budgets (`budgets`) and a consensus of the coefficients (`consensus`).
    `schedule` assigns trajectories to lanes so that no lane idles, however unequal the budgets. The data of a
    trajectory's n-th step does not depend on the lanes.

    Args:
        loss_fn: from parameters and a batch to the loss.
        tx: an optimiser with adaptive evolution in it, such as `ae_adam`.
        sample: from a key to a batch; each step of each trajectory draws its own.
        num_trajectories: number of trajectories.
        rounds: number of rounds of `run`.
        steps_per_round: steps in a round, summed over all trajectories.
        floor: fewest steps of a trajectory in a round; about ten are enough to update its score.
        lanes: trajectories that advance at a time; must divide `steps_per_round`. A trajectory gets at most
            `steps_per_round / lanes` steps in a round, so with as many lanes as trajectories all budgets are equal.
            Default: the largest number with which a budget can reach twice the mean.
        strength: how far a round moves the coefficients towards their consensus, in [0, 1].
        sharpness: how much the weights favour low losses; 0 gives equal weights.
        dither: standard deviation of the noise added to the worst trajectory's parameters after a round, relative to
            their rms.
        ranges: chart and range of coefficients missing from `ae.COEFFICIENTS`, as passed to `adaptive_evolution`.

    Returns:
        A `Swarm`. It needs `num_trajectories` times the memory of one training and takes exactly `steps_per_round`
        steps in a round.

    Raises:
        ValueError: a number is out of range, or the optimiser's state does not hold exactly one `AEState`.

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
            f"steps_per_round={total} and num_trajectories={members}; leave it out to use a valid default"
        )
    if not 1 <= floor <= total // members:
        raise ValueError(
            f"floor must satisfy 1 <= num_trajectories * floor <= steps_per_round, got floor={floor} with "
            f"num_trajectories={members} and steps_per_round={total}; every trajectory needs a step in each round"
        )
    advance = advance_with(loss_fn, tx, sample)

    def spend(state: SwarmState) -> SwarmState:
        def iteration(state: SwarmState, running: jax.Array) -> tuple[SwarmState, None]:
            # Gather the running trajectories, advance them, scatter back. `running` has no duplicates (`schedule`).
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
    """A swarm with equal budgets: all trajectories advance together, with a consensus after every step.

    Args:
        loss_fn: from parameters and a batch to the loss.
        tx: an optimiser with adaptive evolution in it.
        sample: from a key to a batch.
        num_trajectories: number of trajectories.
        steps: number of steps of `run`, for each trajectory.
        strength: how far a step moves the coefficients towards their consensus, in [0, 1].
        sharpness: how much the consensus favours low losses; 0 gives equal weights.
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
