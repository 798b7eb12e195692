"""Parallel trajectories: their state, one step of one of them, and a round for any way of spending steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae._charts import Coefficient
from etm_jax.ae._coefficients import check_scalar
from etm_jax.ae._consensus import consensus, put_state, soft_weights, started_at, with_position
from etm_jax.ae._state import find
from etm_jax.ae._trees import mean_square

SCORE_DECAY = 0.9  # decay of the filter that smooths a trajectory's losses


class SwarmState(NamedTuple):
    """State of a swarm; the leading axis of every array is `trajectories`, except for `key` and `round`.

    Attributes:
        params: parameters.
        opt_states: states of the optimiser, each with an `AEState`.
        scores: smoothed losses, lower is better; not finite where the last loss was not.
        score_weights: weight of each score's filter, 0 before its first step.
        weights: weights of the trajectories, from the scores of the last round.
        budgets: steps of the next round, int32.
        steps: steps so far, int32.
        keys: random keys of each trajectory's data.
        key: random key of the dither.
        round: rounds so far, int32.
    """

    params: Any
    opt_states: Any
    scores: jax.Array
    score_weights: jax.Array
    weights: jax.Array
    budgets: jax.Array
    steps: jax.Array
    keys: jax.Array
    key: jax.Array
    round: jax.Array


class SwarmHistory(NamedTuple):
    """History of the rounds; arrays of `[rounds, trajectories]`.

    Attributes:
        scores: at the end of the round.
        weights: from these scores.
        budgets: steps planned for the round.
        executed: steps actually taken in the round.
        coefficients: after the round's consensus, by name, in their own units.
    """

    scores: jax.Array
    weights: jax.Array
    budgets: jax.Array
    executed: jax.Array
    coefficients: dict[str, jax.Array]


class Swarm(NamedTuple):
    """Pure functions of a swarm, to use under `jax.jit` and `jax.vmap`.

    Attributes:
        init: `init(key, init_params, starts=None)` returns the `SwarmState`. `init_params(key)` makes the parameters of
            one trajectory; `starts` are initial values of coefficients, `{"learning_rate": [trajectories]}`.
        round: one round, from state to state; compiled once for all rounds.
        run: all rounds, from state to `(state, SwarmHistory)`.
    """

    init: Callable[..., SwarmState]
    round: Callable[[SwarmState], SwarmState]
    run: Callable[[SwarmState], tuple[SwarmState, SwarmHistory]]


def best_params(state: SwarmState) -> Any:
    """Parameters of the trajectory with the lowest finite score."""
    return jax.tree.map(lambda leaf: leaf[jnp.argmin(_ranked(state.scores))], state.params)


class Work(NamedTuple):
    """The part of `SwarmState` that a step of a trajectory changes."""

    params: Any
    opt_states: Any
    scores: jax.Array
    score_weights: jax.Array
    steps: jax.Array


def work_of(state: SwarmState) -> Work:
    """The `Work` of a swarm."""
    return Work(*[getattr(state, name) for name in Work._fields])


def with_work(state: SwarmState, work: Work) -> SwarmState:
    """The swarm with its `Work` replaced."""
    return state._replace(**work._asdict())


def advance_with(
    loss_fn: Callable[[Any, Any], jax.Array], tx: optax.GradientTransformation, sample: Callable[[jax.Array], Any]
) -> Callable[[Work, jax.Array], Work]:
    """A function that takes one step of one trajectory."""
    optimiser = optax.with_extra_args_support(tx)

    def advance(work: Work, key: jax.Array) -> Work:
        batch = sample(jax.random.fold_in(key, work.steps))
        check_scalar("the loss", jax.eval_shape(loss_fn, work.params, batch))
        loss, gradients = jax.value_and_grad(loss_fn)(work.params, batch)
        updates, opt_state = optimiser.update(gradients, work.opt_states, work.params, value=loss, grad=gradients)
        was_finite = jnp.isfinite(work.scores)  # after a loss that is not finite the mean restarts
        weight = SCORE_DECAY * jnp.where(was_finite, work.score_weights, 0.0) + (1.0 - SCORE_DECAY)
        score = jnp.where(was_finite, work.scores, 0.0)
        score = score + (1.0 - SCORE_DECAY) / weight * (loss.astype(jnp.float32) - score)
        return Work(optax.apply_updates(work.params, updates), opt_state, score, weight, work.steps + 1)

    return advance


def assemble(
    tx: optax.GradientTransformation,
    members: int,
    rounds: int,
    spend: Callable[[SwarmState], SwarmState],
    allot: Callable[[jax.Array], jax.Array],
    strength: float,
    sharpness: float,
    dither: float,
    ranges: Mapping[str, Coefficient] | None,
) -> Swarm:
    """The functions of a swarm, given how a round spends its steps and how weights turn into budgets."""

    def init(
        key: jax.Array,
        init_params: Callable[[jax.Array], Any],
        starts: Mapping[str, jax.typing.ArrayLike | Sequence[float]] | None = None,
    ) -> SwarmState:
        key_params, key_data, key_noise, key_dither = jax.random.split(key, 4)
        params = jax.vmap(init_params)(jax.random.split(key_params, members))
        opt_states = jax.vmap(tx.init)(params)
        found, names = find(opt_states), _names(tx, params)
        position = started_at(found.position, names, starts, ranges)
        found = with_position(found, position, names, ranges)._replace(start=position)
        if found.key is not None:  # `tx.init` gave all trajectories the same noise key
            found = found._replace(key=jax.random.split(key_noise, members))
        weights = jnp.full((members,), 1.0 / members, jnp.float32)
        return SwarmState(
            params=params,
            opt_states=put_state(opt_states, found),
            scores=jnp.zeros((members,), jnp.float32),
            score_weights=jnp.zeros((members,), jnp.float32),
            weights=weights,
            budgets=allot(weights),
            steps=jnp.zeros((members,), jnp.int32),
            keys=jax.random.split(key_data, members),
            key=key_dither,
            round=jnp.zeros((), jnp.int32),
        )

    def one_round(state: SwarmState) -> SwarmState:
        names = _names(tx, state.params)
        state = spend(state)
        weights = soft_weights(state.scores, sharpness)
        found = find(state.opt_states)
        found = with_position(found, consensus(found.position, weights, strength), names, ranges)
        params, key = state.params, state.key
        if dither > 0:
            key, key_noise = jax.random.split(state.key)
            params = _dithered(key_noise, params, jnp.argmax(_ranked(state.scores)), dither)
        return state._replace(
            params=params,
            opt_states=put_state(state.opt_states, found),
            weights=weights,
            budgets=allot(weights),
            key=key,
            round=state.round + 1,
        )

    def run(state: SwarmState) -> tuple[SwarmState, SwarmHistory]:
        def body(state: SwarmState, _: None) -> tuple[SwarmState, SwarmHistory]:
            new = one_round(state)
            coefficients = find(new.opt_states).hyperparams
            return new, SwarmHistory(new.scores, new.weights, state.budgets, new.steps - state.steps, coefficients)

        return jax.lax.scan(body, state, length=rounds)

    return Swarm(init, one_round, run)


def _names(tx: optax.GradientTransformation, params: Any) -> tuple[str, ...]:
    """Coefficients in the order of `AEState.position`.

    Only a state fresh from `init` has this order in `hyperparams`; `jax.jit` sorts the keys of dicts.
    """
    names: list[str] = []

    def look(params: Any) -> None:
        names.extend(find(tx.init(params)).hyperparams)

    jax.eval_shape(jax.vmap(look), params)
    return tuple(names)


def _ranked(scores: jax.Array) -> jax.Array:
    """Scores with those that are not finite replaced by inf, the worst."""
    return jnp.where(jnp.isfinite(scores), scores, jnp.inf)


def _dithered(key: jax.Array, params: Any, worst: jax.Array, dither: float) -> Any:
    """Add noise to one trajectory's parameters, relative to their rms."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: leaf[worst], params))
    size = dither * jnp.sqrt(mean_square(leaves))
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + (size * jax.random.normal(one, leaf.shape, jnp.float32)).astype(leaf.dtype)
        for one, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.map(lambda leaf, new: leaf.at[worst].set(new), params, jax.tree.unflatten(structure, noisy))


def check_numbers(members: int, rounds: int, strength: float, sharpness: float, dither: float) -> None:
    """Raise a ValueError that names the number out of range."""
    if members < 1 or rounds < 1:
        raise ValueError(f"trajectories and rounds must be at least 1, got {members} and {rounds}")
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength must lie in [0, 1], got {strength}; 0 turns the consensus off")
    if not sharpness >= 0.0 or not dither >= 0.0:
        raise ValueError(f"sharpness and dither must be 0 or above, got {sharpness} and {dither}")
