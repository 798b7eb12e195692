"""A whole network: what `compact` makes of a genome, and what a run exports."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from etm_jax.cells._nnx_cell import MemoryCell
from etm_jax.cells._unroll import Unrolled, cell_unroll
from etm_jax.cells._weights import check_channels, num_channels_of


class NTM(nnx.Module):
    """A whole network: what `compact` makes of a genome, and what a run exports.

    Attributes:
        cell: the recurrent cell.
        architecture: the genes, by name.
    """

    def __init__(self, cell: MemoryCell, architecture: dict[str, int | str]):
        self.cell = cell
        self.architecture = architecture

    @property
    def input_size(self) -> int:
        """Channels of the inputs."""
        return num_channels_of(self.cell.arrays()[0], self.cell.family)

    @property
    def num_weights(self) -> int:
        """How many weights there are."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.cell.arrays()[0]))

    def policy(self) -> tuple[Any, MemoryCell]:
        """What it remembers before the first step, and a step: the cell, `cell(carry, inputs) -> (carry, logits)`."""
        return self.cell.initialize_carry((self.input_size,)), self.cell

    def __call__(self, inputs: Float[Array, "batch time input"]) -> Float[Array, "batch time output"]:
        """The logits of every step; each sequence starts from the initial state.

        Raises:
            ValueError: the inputs are no batch of sequences of the network's channels.
        """
        return self.unroll(inputs).outputs

    def unroll(self, inputs: Float[Array, "batch time input"]) -> Unrolled:
        """The logits, the weightings of every head over the slots, and the price of pondering."""
        params, active = self.cell.arrays()
        check_channels(inputs.shape, num_channels_of(params, self.cell.family), ("batch", "time"))
        return cell_unroll(params, active, jnp.asarray(inputs, params["output"]["bias"].dtype))
