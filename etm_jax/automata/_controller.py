"""`EM33` as a recurrent policy: numbers in, actions out, the ring in between."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int, UInt8

from etm_jax._require import require, require_count
from etm_jax.automata import _em33
from etm_jax.automata._checks import check_digits
from etm_jax.automata._em33 import EM33, RingRun

GAIN, CALM = 0.9, 3  # an action is 0.9 (right - left) / (left + right + 3)
RingPolicy = tuple[UInt8[Array, "cell"], Callable[[Array, Array], tuple[Array, Array]]]


def controller(em: EM33, num_actions: int, rule: UInt8[Array, "27"], cells: UInt8[Array, "cell"]) -> RingPolicy:
    """A ring as a recurrent policy.

    Each observed number, cut at -1 and 1, falls into one of the equal bins from -1 to 1. The ring then does its steps,
    and goes on from there at the next observation. With L and R the red cells left and right of the inputs of every
    `num_actions`-th variable, counted from the action's own index, an action is 0.9 (R - L) / (L + R + 3). Many rings,
    under one or several `vmap`s, share one program of words of bits.

    Args:
        em: the sizes.
        num_actions: actions, at most as many as there are variables.
        rule: `[27]`, states.
        cells: `[cell]`, the states to begin with.

    Returns:
        The cells, and `step(cells, observation [variable]) -> (cells, actions [num_actions])`.

    Raises:
        ValueError: there are more actions than variables.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax.automata._em33 import EM33
        >>> from etm_jax.automata._controller import controller
        >>> cells, step = controller(EM33(num_variables=2), 1, jnp.zeros(27, jnp.uint8), jnp.zeros(112, jnp.uint8))
        >>> cells, actions = step(cells, jnp.array([-0.3, 0.7]))
        >>> actions.tolist(), int((cells == 2).sum())  # a blank rule: red inputs, and nothing beside them
        ([0.0], 2)
    """
    if num_actions > em.num_variables:
        raise ValueError(f"num_actions must be at most num_variables ({em.num_variables}), got {num_actions}")
    run = _ring(em)

    def step(cells: Array, observation: Float[Array, " variable"]) -> tuple[Array, Array]:
        if observation.shape != (em.num_variables,):
            expected, found = [em.num_variables], list(observation.shape)
            raise ValueError(f"observation must have shape {expected}, got {found}; vmap over further axes")
        found = run(rule[None], cells[None], binned(observation, em.bins)[None])
        left, right = (_by_action(beside[0], num_actions) for beside in (found.left, found.right))
        return found.cells[0], GAIN * (right - left) / (left + right + CALM)

    return cells, step


def binned(observation: Float[Array, " variable"], bins: int) -> Int[Array, " variable"]:
    """Which of the equal bins from -1 to 1 each number falls into, those beyond the ends into the last ones."""
    return jnp.clip(jnp.floor((observation + 1) / 2 * bins), 0, bins - 1).astype(jnp.int32)


def _by_action(counts: Int[Array, " variable"], num_actions: int) -> Float[Array, " action"]:
    return jnp.stack([jnp.sum(counts[index::num_actions]) for index in range(num_actions)]).astype(float)


@functools.cache
def _ring(em: EM33) -> Callable[[Array, Array, Array], RingRun]:
    """The kernel for a population of rings; a vmap around it makes the population larger, and adds no axis."""

    @custom_vmap
    def run(rules: Array, cells: Array, observed: Array) -> RingRun:
        return _em33.run_rings(rules, cells, observed, em)

    @run.def_vmap
    def _(size: int, batched: list[bool], *arrays: Array) -> tuple[Any, Any]:
        whole = [
            array if has else jnp.broadcast_to(array, (size, *array.shape))
            for array, has in zip(arrays, batched, strict=True)
        ]
        found = run(*(array.reshape(-1, array.shape[-1]) for array in whole))
        found = jax.tree.map(lambda array: array.reshape(size, -1, array.shape[-1]), found)
        return found, jax.tree.map(lambda _: True, found)

    return run


@dataclass(frozen=True)
class EvolvedEM33:
    """A rule and first states for `EM33`, as a policy.

    Attributes:
        rule: 27 digits.
        programme: a digit a cell of the ring.
        num_variables: numbers observed.
        num_actions: numbers answered.
        bins: input cells of a variable.
        programme_cells: cells after each input cell.
        steps: of the ring for one observation.

    Raises:
        ValueError: a size is below 1, there are more actions than variables, or the digits do not fit.

    Example:
        >>> from etm_jax.automata._controller import EvolvedEM33
        >>> still = EvolvedEM33("0" * 27, "0" * 28, num_variables=2, num_actions=1, bins=2)
        >>> cells, step = still.policy()
        >>> cells.shape
        (28,)
    """

    rule: str
    programme: str
    num_variables: int
    num_actions: int
    bins: int = 8
    programme_cells: int = 6
    steps: int = 24

    def __post_init__(self) -> None:
        for name in ("num_variables", "num_actions", "bins", "steps"):
            require_count(name, getattr(self, name), 1)
        require_count("programme_cells", self.programme_cells, 0)
        most = f"at most num_variables ({self.num_variables})"
        require(self.num_actions <= self.num_variables, "num_actions", most, self.num_actions)
        require(self.steps < 2**31, "steps", "below 2^31", self.steps)
        check_digits("rule", self.rule, states=3, count=27)
        cells = EM33(self.num_variables, self.bins, self.programme_cells, self.steps).num_cells
        check_digits("programme", self.programme, states=3, count=cells)

    @property
    def input_size(self) -> int:
        """Numbers observed."""
        return self.num_variables

    def policy(self) -> RingPolicy:
        """The ring's first cells and its step, as of `controller`."""
        em = EM33(self.num_variables, self.bins, self.programme_cells, self.steps)
        rule, cells = (jnp.array([int(digit) for digit in text], jnp.uint8) for text in (self.rule, self.programme))
        return controller(em, self.num_actions, rule, cells)

    @property
    def architecture(self) -> dict[str, str | int]:
        """What there is to say of it, for summary and report."""
        live = int(np.count_nonzero([digit != "0" for digit in self.programme]))
        return {"rule": self.rule, "programme": self.programme, "live_cells": live}
