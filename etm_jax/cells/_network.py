"""The NTM as flax modules: a recurrent cell for `nnx.RNN`, and the whole network that a run exports."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from etm_jax._typing import Params
from etm_jax.cells._ntm import NTMActive, NTMCarry, NTMDrive, drive_of, initial_carry, join_weights, ntm_step, read_out
from etm_jax.cells._ntm_parameters import SHIFT
from etm_jax.cells._unroll import ntm_unroll
from etm_jax.cells._weights import axes_of, initial_params, keep_active, map_table, weight_mask


class Exists(nnx.Variable):
    """A mask: True = the entry exists. No optimiser touches it."""


class NTMCell(nnx.RNNCellBase):
    """A Neural Turing Machine as a recurrent cell.

    The same step serves padded populations; here its sizes are exact unless it was made by `from_params` with masks.

    Args:
        input_size: channels in.
        output_size: channels out.
        num_slots: memory slots, at least `2*shift_range + 1`.
        slot_width: numbers in a slot.
        num_read_heads: heads that read.
        num_write_heads: heads that write.
        controller_size: hidden units of the LSTM controller.
        shift_range: largest distance a head can move in a step; 0 for content addressing only.
        rngs: consumed for the initial weights; None leaves them zero.

    Raises:
        ValueError: a size is below 1, or the memory is too short for the shifts.

    References:
        Graves, Wayne, Danihelka 2014, Neural Turing Machines, arXiv 1410.5401.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from etm_jax.cells import NTMCell
        >>> rnn = nnx.RNN(NTMCell(9, 8, num_slots=16, slot_width=6, controller_size=10, rngs=nnx.Rngs(0)))
        >>> rnn(jnp.ones((2, 5, 9))).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        num_slots: int = 128,
        slot_width: int = 20,
        num_read_heads: int = 1,
        num_write_heads: int = 1,
        controller_size: int = 100,
        shift_range: int = 1,
        rngs: nnx.Rngs | None,
    ):
        sizes = {
            "input": input_size,
            "output": output_size,
            "gate": 4,
            "unit": controller_size,
            "slot": num_slots,
            "width": slot_width,
            "read": num_read_heads,
            "write": num_write_heads,
            "head": num_read_heads + num_write_heads,
            "location": 2 + 2 * shift_range + 1 if shift_range else 0,
        }
        too_small = [axis for axis, size in sizes.items() if size < 1 and axis != "location"]
        if too_small or shift_range < 0 or num_slots < 2 * shift_range + 1:
            raise ValueError(
                f"every size of an NTMCell must be at least 1 and num_slots at least 2*shift_range+1, got {sizes} "
                f"with shift_range={shift_range}"
            )
        active = NTMActive(**{axis: jnp.asarray(np.ones(sizes[axis], bool)) for axis in NTMActive.__dataclass_fields__})
        if rngs is None:
            params = map_table(lambda parameter: np.zeros([sizes[axis] for axis in parameter.axes], np.float32))
        else:
            draw = jax.jit(lambda key, active: initial_params(key, active, sizes, jnp.result_type(float)))
            params = draw(rngs.params(), active)
        self._hold(params, active)

    @classmethod
    def from_params(cls, params: Params, active: NTMActive) -> "NTMCell":
        """A cell that holds these weights and masks, at padded or exact sizes."""
        num_reads, slot_width, _, num_units = params["controller"]["read_kernel"].shape
        cell = cls(
            params["controller"]["input_kernel"].shape[0],
            params["output"]["bias"].shape[0],
            num_slots=active.slot.size,
            slot_width=slot_width,
            num_read_heads=num_reads,
            num_write_heads=active.write.size,
            controller_size=num_units,
            shift_range=max(active.location.size - SHIFT, 0) // 2,
            rngs=None,
        )
        clean = jax.jit(lambda params, active: keep_active(params, weight_mask(axes_of(params, active))))
        cell._hold(clean(params, active), active)
        return cell

    def _hold(self, params: Params, active: NTMActive) -> None:
        blocks = {
            name: nnx.Dict({k: nnx.Param(jnp.asarray(v)) for k, v in block.items()}) for name, block in params.items()
        }
        self.params = nnx.Dict(blocks)
        self.masks = nnx.Dict(
            {name: Exists(jnp.asarray(getattr(active, name))) for name in NTMActive.__dataclass_fields__}
        )

    def arrays(self) -> tuple[Params, NTMActive]:
        """The weights and masks as the pure functions take them."""
        params = {name: {k: v[...] for k, v in block.items()} for name, block in self.params.items()}
        return params, NTMActive(**{name: mask[...] for name, mask in self.masks.items()})

    @property
    def num_feature_axes(self) -> int:
        """Inputs of a step are vectors."""
        return 1

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None) -> NTMCarry:
        """The state before the first step, for the batch dimensions of `input_shape`."""
        del rngs, carry_init
        params, active = self.arrays()
        carry = initial_carry(active, params["output"]["bias"].dtype)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*input_shape[:-1], *leaf.shape)), carry)

    def __call__(
        self, carry: NTMCarry, inputs: Float[Array, "*batch input"]
    ) -> tuple[NTMCarry, Float[Array, "*batch output"]]:
        """One step; every dimension of `inputs` but the last is a batch dimension."""
        params, active = self.arrays()
        weights = join_weights(params)

        def step(carry: NTMCarry, drive: NTMDrive) -> NTMCarry:
            return ntm_step(weights, active, carry, drive)

        for _ in inputs.shape[:-1]:
            step = jax.vmap(step)
        carry = step(carry, drive_of(params, inputs))
        return carry, read_out(params, carry.hidden, carry.reads)


class NTM(nnx.Module):
    """A whole network: what `compact` makes of a genome, and what a run exports.

    Attributes:
        cell: the recurrent cell.
        architecture: the genes, by name.
    """

    def __init__(self, cell: NTMCell, architecture: dict[str, int | str]):
        self.cell = cell
        self.architecture = architecture

    def __call__(self, inputs: Float[Array, "batch time input"]) -> Float[Array, "batch time output"]:
        """The logits of every step; each sequence starts from the initial state."""
        return self.unroll(inputs)[0]

    def unroll(
        self, inputs: Float[Array, "batch time input"]
    ) -> tuple[Float[Array, "batch time output"], Float[Array, "batch time head slot"]]:
        """The logits, and the weightings of every head (read heads first) over the slots."""
        params, active = self.cell.arrays()
        return ntm_unroll(params, active, inputs)
