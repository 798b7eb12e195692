"""`EM33`: a cellular automaton of three states on a ring, run for a fixed number of steps; and the ring as a policy."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from etm_jax._typing import IntScalar
from etm_jax.automata import _planes
from etm_jax.automata._genome import RED, at_least, in_range, whole_numbers

STATES = 3
GAIN, CALM = 0.9, 3  # an action is 0.9 (right - left) / (left + right + 3)
RingPolicy = tuple[UInt8[Array, "cell"], Callable[[Array, Array], tuple[Array, Array]]]


class RingRun(NamedTuple):
    """What rings hold after their steps.

    Attributes:
        cells: the states, to resume from at the next observation.
        left: for each variable, how many of its input cells have a red cell immediately to their left.
        right: the same to their right.
    """

    cells: UInt8[Array, "population cell"]
    left: Int[Array, "population variable"]
    right: Int[Array, "population variable"]


@dataclass(frozen=True)
class EM33:
    """Three states, neighbourhoods of three cells, a ring without halting.

    Each of `num_variables` observed numbers is shown in one of `bins`: an input cell for each bin, red where the number
    is and blank elsewhere, held so through all steps. `programme_cells` other cells follow each input cell. A genome is
    a rule table of 27 states and the first states of all cells. The ring keeps its states from one observation to the
    next.

    Args:
        num_variables: numbers observed.
        bins: input cells of each.
        programme_cells: cells after each input cell.
        steps: of the automaton for one observation.

    Raises:
        ValueError: a size is below 1, or the ring has fewer than three cells.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax.automata import EM33
        >>> em = EM33(num_variables=1, bins=2, programme_cells=2, steps=1)
        >>> copies_left = jnp.asarray([left for left in range(3) for _ in range(9)])
        >>> cells, left, right = em.run_population(copies_left[None], jnp.zeros((1, 6), jnp.uint8), jnp.asarray([[0]]))
        >>> cells.tolist(), left.tolist(), right.tolist()
        ([[2, 2, 0, 0, 0, 0]], [[0]], [[1]])
    """

    num_variables: int = 4
    bins: int = 8
    programme_cells: int = 6
    steps: int = 24

    def __post_init__(self) -> None:
        at_least(1, num_variables=self.num_variables, bins=self.bins, steps=self.steps)
        at_least(0, programme_cells=self.programme_cells)
        at_least(3, cells=self.num_cells)

    @property
    def num_cells(self) -> int:
        """Cells of the ring."""
        return self.num_variables * self.bins * (1 + self.programme_cells)

    def run_population(self, rules: Any, cells: Any, observed: Any) -> RingRun:
        """Show every ring its observation and let it run.

        Args:
            rules: `[population, 27]`, states; entry `9 left + 3 centre + right` is what a cell becomes.
            cells: `[population, cell]`, states: those of the genome, or what an earlier call returned.
            observed: `[population, variable]`, the bin of each number.

        Returns:
            States after `steps` steps, and the red cells beside the inputs.

        Raises:
            ValueError: a shape does not fit, a state or a bin does not exist.
        """
        rules = whole_numbers("rules", rules, (None, STATES**3))
        population = rules.shape[0]
        at_least(1, population=population)
        cells = whole_numbers("cells", cells, (population, self.num_cells))
        observed = whole_numbers("observed", observed, (population, self.num_variables))
        in_range("rules", rules, 0, STATES - 1)
        in_range("cells", cells, 0, STATES - 1)
        in_range("observed", observed, 0, self.bins - 1)
        return run_rings(rules.astype(jnp.uint8), cells.astype(jnp.uint8), observed.astype(jnp.int32), self)

    def run(self, rule: Any, cells: Any, observed: Any) -> RingRun:
        """As `run_population`, for one ring: `[27]`, `[cell]`, `[variable]`, and results without the first axis."""
        one = (jnp.asarray(array)[None] for array in (rule, cells, observed))
        return jax.tree.map(lambda array: array[0], self.run_population(*one))


@functools.partial(jax.jit, static_argnames=("sizes",))
def run_rings(
    rules: UInt8[Array, "population 27"],
    cells: UInt8[Array, "population cell"],
    observed: Int[Array, "population variable"],
    sizes: EM33,
) -> RingRun:
    window, spacing = sizes.num_cells, 1 + sizes.programme_cells
    is_input = jnp.arange(window) % spacing == 0
    shown = _shown(observed, sizes)

    def planes(cells: UInt8[Array, "genome cell"]) -> UInt32[Array, "2 word 1 genome"]:
        return jnp.moveaxis(_planes.packed(cells), 0, -1)[:, :, None, :]

    # The kernel of bits knows four states only; the fourth never occurs here.
    polynomial = jnp.moveaxis(_planes.polynomials(_four_states(rules)), 0, -1)
    programme = planes((~is_input)[None].astype(jnp.uint8))[1]  # the cells that the rule may change
    red = planes(jnp.where(shown, jnp.uint8(RED), jnp.uint8(0)))[0]
    first = planes(cells)

    def one_step(_: IntScalar, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        high, low = state
        high_left, high_right = _planes.ring_neighbours(high, window)
        low_left, low_right = _planes.ring_neighbours(low, window)
        high, low = _planes.evaluated(polynomial, (high_left, high, high_right), (low_left, low, low_right))
        # Input cells keep what is shown: red is the high bit alone.
        return high & programme | red, low & programme

    start = (first[0] & programme | red, first[1] & programme)
    high, low = jax.lax.fori_loop(0, sizes.steps, one_step, start)
    after = _planes.unpacked(jnp.moveaxis(jnp.stack([high, low])[:, :, 0, :], -1, 0), window)
    is_red = after == RED

    def beside(shift: int) -> Int[Array, "population variable"]:
        seen = jnp.roll(is_red, shift, axis=1)[:, ::spacing]
        return jnp.sum(seen.reshape(-1, sizes.num_variables, sizes.bins), axis=2, dtype=jnp.int32)

    return RingRun(after, beside(1), beside(-1))


def _shown(observed: Int[Array, "population variable"], sizes: EM33) -> Bool[Array, "population cell"]:
    """Which cells are red inputs."""
    chosen = observed[:, :, None] == jnp.arange(sizes.bins)[None, None, :]
    spread = chosen.reshape(observed.shape[0], -1, 1) & (jnp.arange(1 + sizes.programme_cells) == 0)[None, None, :]
    return spread.reshape(observed.shape[0], -1)


def _four_states(rules: UInt8[Array, "population 27"]) -> UInt8[Array, "population 64"]:
    """The same rules for four states; entries of the fourth are never read."""
    table = rules.reshape(-1, STATES, STATES, STATES)
    return jnp.pad(table, [(0, 0), (0, 1), (0, 1), (0, 1)]).reshape(-1, 64)


def controller(em: EM33, num_actions: int, rule: UInt8[Array, "27"], cells: UInt8[Array, "cell"]) -> RingPolicy:
    """A ring as a recurrent policy.

    Each observed number, clipped to -1 to 1, falls into one of the equal bins from -1 to 1. The ring then does its
    steps, and resumes from there at the next observation. With L and R the red cells left and right of the inputs of
    every `num_actions`-th variable, counted from the action's own index, an action is 0.9 (R - L) / (L + R + 3). Many
    rings, under one or several `vmap`s, share one program of words of bits.

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
        >>> from etm_jax.automata import EM33, controller
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
    """The kernel for a population of rings. A `vmap` around it adds to the population instead of adding an axis."""

    @custom_vmap
    def run(rules: Array, cells: Array, observed: Array) -> RingRun:
        return run_rings(rules, cells, observed, em)

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
