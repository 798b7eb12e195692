"""A grid of real numbers that flows along a 3x3 kernel until its halting cell is full."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import BoolScalar
from etm_jax.automata._formalism import run_until_halted
from etm_jax.automata._genome import at_least

SIDE = 20
# Rows and columns of cells with a meaning.
INPUT_CELLS = ((3, 0), (6, 0))
OUTPUT_CELLS = ((3, 19), (6, 19))
HALTING_CELL = (10, 19)
REWARD_CELL = (15, 19)

Grid = Float[Array, "20 20"]


class GridRun(NamedTuple):
    """What a grid computed.

    Attributes:
        outputs: the two output cells of the last grid.
        steps: until the grid halted, `max_steps` where it did not.
        halted: True = the halting cell reached the threshold.
        grid: the last one, to resume from.
    """

    outputs: Float[Array, "2"]
    steps: Int[Array, ""]
    halted: Bool[Array, ""]
    grid: Grid


@dataclass(frozen=True)
class ConvolutionalModel:
    """Real cells on a 20 x 20 grid that change by a weighted sum of their neighbourhoods, two inputs, two outputs.

        s <- s + rate (K * s),    (K * s)[i, j] = sum_{a,b} K[a, b] s[i + a - 1, j + b - 1]

    K is not flipped. Cells past an edge count as the nearest cell within. The inputs, and the reward if there is one,
    are written before the first step and again after each, and then the halting cell is compared with the threshold.

    Args:
        rate: of change in one step.
        threshold: the grid halts when its halting cell is at least this.
        max_steps: after so many steps a grid counts as one that does not halt.

    Raises:
        ValueError: the rate is not positive, or `max_steps` is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax.automata import ConvolutionalModel
        >>> spread_right = jnp.zeros((3, 3)).at[1, 0].set(1.0)
        >>> found = ConvolutionalModel(max_steps=19).run(spread_right, jnp.zeros((20, 20)), jnp.asarray([1.0, 0.0]))
        >>> bool(found.halted), bool(found.outputs[0] > 0), float(found.outputs[1])
        (False, True, 0.0)
    """

    rate: float = 0.1
    threshold: float = 0.7
    max_steps: int = 100

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, got {self.rate}")
        at_least(1, max_steps=self.max_steps)

    def run(self, kernel: Any, grid: Any, inputs: Any, reward: Any = None) -> GridRun:
        """Run one grid on one pair of inputs; `vmap` it over kernels, grids or inputs.

        A grid that overflows never halts unless its halting cell did first; its outputs may not be finite.

        Args:
            kernel: `[3, 3]`, K.
            grid: `[20, 20]`, the initial state.
            inputs: `[2]`.
            reward: the last reward, held in its cell; None leaves that cell to the kernel.

        Raises:
            ValueError: a shape does not fit.
        """
        dtype = jnp.result_type(float)
        arrays = [jnp.asarray(array, dtype) for array in (kernel, grid, inputs)]
        for name, array, shape in zip(("kernel", "grid", "inputs"), arrays, ((3, 3), (SIDE, SIDE), (2,)), strict=True):
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}; vmap over further axes")
        cells, held = INPUT_CELLS, arrays[2]
        if reward is not None:
            number = jnp.asarray(reward, dtype)
            if number.ndim:
                raise ValueError(f"reward must be one number, got shape {number.shape}; vmap over further axes")
            cells, held = (*cells, REWARD_CELL), jnp.append(held, number)
        return _run(arrays[0], arrays[1], held, cells, self)


@partial(jax.jit, static_argnames=("cells", "model"))
def _run(
    kernel: Float[Array, "3 3"],
    grid: Grid,
    held: Float[Array, "held"],
    cells: tuple[tuple[int, int], ...],
    model: ConvolutionalModel,
) -> GridRun:
    rows, columns = (jnp.asarray(places) for places in zip(*cells, strict=True))

    def clamped(grid: Grid) -> Grid:
        return grid.at[rows, columns].set(held)

    def transition(grid: Grid) -> Grid:
        padded = jnp.pad(grid, 1, mode="edge")
        terms = [kernel[a, b] * padded[a : a + SIDE, b : b + SIDE] for a in range(3) for b in range(3)]
        return clamped(grid + model.rate * jnp.sum(jnp.stack(terms), axis=0))

    def halts(grid: Grid) -> BoolScalar:
        return grid[HALTING_CELL] >= model.threshold

    last, steps, halted = run_until_halted(transition, halts, clamped(grid), model.max_steps)
    outputs = jnp.stack([last[cell] for cell in OUTPUT_CELLS])
    return GridRun(outputs, steps, halted, last)
