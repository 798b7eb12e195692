"""Emergent models: a fixed local rule is applied to a state until the state is final.

y = D(f^T(S_0 + E(x))),    T = min{t >= 1 : H(S_t)}
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from etm_jax._typing import BoolScalar, IntScalar
from etm_jax.automata._genome import at_least

State = Any  # a pytree of arrays of fixed shapes


class EmergentModel(NamedTuple):
    """Pure functions that make up a model; each is for one state and one input, the caller `vmap`s.

    Attributes:
        encode: E, from an input to a state.
        superpose: lays an encoded input over a state, the + of the formula.
        transition: f, one step.
        halts: H, whether a state is final.
        decode: D, from a final state to an output.
    """

    encode: Callable[[Any], State]
    superpose: Callable[[State, State], State]
    transition: Callable[[State], State]
    halts: Callable[[State], Any]
    decode: Callable[[State], Any]


class Answer(NamedTuple):
    """What a model computed from an input.

    Attributes:
        output: decoded from the last state; means nothing where `halted` is False.
        state: the last one, S_T.
        steps: T, or the cap where the model did not halt.
        halted: True = a final state was reached within the cap.
    """

    output: Any
    state: State
    steps: IntScalar
    halted: BoolScalar


class Halted(NamedTuple):
    """Where a computation stopped.

    Attributes:
        state: the last one.
        steps: taken.
        halted: True = that state is final; False = the cap came first.
    """

    state: State
    steps: IntScalar
    halted: BoolScalar


def run_until_halted(
    transition: Callable[[State], State], halts: Callable[[State], Any], state: State, max_steps: int
) -> Halted:
    """Apply a transition until a state is final, at least once and at most `max_steps` times.

    The first state is not tested: an input that looks like an answer still takes one step.

    Args:
        transition: one step.
        halts: whether a state is final.
        state: the first one.
        max_steps: the cap.

    Raises:
        ValueError: `max_steps` is below 1.

    Example:
        >>> from etm_jax.automata import run_until_halted
        >>> state, steps, halted = run_until_halted(lambda n: 2 * n, lambda n: n > 50, 1, max_steps=10)
        >>> int(state), int(steps), bool(halted)
        (64, 6, True)
    """
    at_least(1, max_steps=max_steps)

    def proceeds(so_far: Halted) -> Any:
        return ~so_far.halted & (so_far.steps < max_steps)

    def advance(so_far: Halted) -> Halted:
        state = transition(so_far.state)  # eq. 3
        return Halted(state, so_far.steps + 1, jnp.asarray(halts(state), bool))

    first = jax.tree.map(jnp.asarray, state)
    return jax.lax.while_loop(proceeds, advance, Halted(first, jnp.int32(0), jnp.asarray(False)))


def answer(model: EmergentModel, state: State, value: Any, max_steps: int) -> Answer:
    """Lay an input over a state, and compute until the model halts.

    Args:
        model: the functions.
        state: S_0, what the model knows before.
        value: x, the input.
        max_steps: the cap.

    Raises:
        ValueError: `max_steps` is below 1.

    Example:
        >>> from etm_jax.automata import EM43, answer
        >>> import jax.numpy as jnp
        >>> em = EM43(window=32)
        >>> programme = jnp.zeros(4, jnp.uint8)
        >>> model = em.model(jnp.zeros(64, jnp.uint8).at[15].set(3).at[60].set(3).at[8].set(2), 4)
        >>> found = answer(model, em.initial_state(programme), jnp.asarray(7), max_steps=10)
        >>> int(found.output), int(found.steps)
        (7, 1)
    """
    first = model.superpose(state, model.encode(value))  # eq. 2
    last, steps, halted = run_until_halted(model.transition, model.halts, first, max_steps)
    return Answer(model.decode(last), last, steps, halted)  # eq. 5


def answer_in_turn(model: EmergentModel, state: State, values: Any, max_steps: int) -> Answer:
    """Answer inputs in sequence; each is laid over the state in which the one before ended.

    Args:
        model: the functions.
        state: S_0 of the first input.
        values: inputs along a leading axis.
        max_steps: the cap, of each input.

    Returns:
        Answers along a leading axis; `state` holds the states after each of them.

    Raises:
        ValueError: `max_steps` is below 1.
    """

    def next_one(state: State, value: Any) -> tuple[State, Answer]:
        found = answer(model, state, value, max_steps)
        return found.state, found

    return jax.lax.scan(next_one, state, values)[1]
