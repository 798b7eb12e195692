"""The cells as flax modules, for `nnx.RNN` and any other user of `nnx.RNNCellBase`, and the networks made of them."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from etm_jax._typing import Params
from etm_jax.cells._cell import cell_step, drive_of, join_weights, read_out
from etm_jax.cells._kinds import Carry
from etm_jax.cells._parameters import table_of
from etm_jax.cells._registry import CONTROLLERS, MEMORIES, exact, initial_carry
from etm_jax.cells._spec import Active, CellSpec
from etm_jax.cells._unroll import Unrolled, cell_unroll
from etm_jax.cells._weights import (
    axes_of,
    axis_sizes,
    check_channels,
    initial_params,
    keep_active,
    num_channels_of,
    weight_mask,
)


class Exists(nnx.Variable):
    """A mask: True = the entry exists. No optimiser touches it."""


class MemoryCell(nnx.RNNCellBase):
    """A network with a controller and a memory as a recurrent cell, from its weights and masks.

    The same step serves padded populations; `NTMCell` and its like make one of exact sizes.

    Args:
        params: arrays laid out by `PARAMETERS`, at padded or exact sizes.
        active: which entries of each axis exist.
    """

    def __init__(self, params: Params, active: Active):
        clean = jax.jit(lambda params, active: keep_active(params, weight_mask(active, axes_of(params, active))))
        params = clean(params, active)
        self.params = nnx.Dict(
            {name: nnx.Dict({k: nnx.Param(jnp.asarray(v)) for k, v in block.items()}) for name, block in params.items()}
        )
        self.spec = active.spec
        masks = {name: getattr(active, name) for name in Active.__dataclass_fields__ if name != "spec"}
        self.masks = nnx.Dict({name: Exists(jnp.asarray(mask)) for name, mask in masks.items()})

    def arrays(self) -> tuple[Params, Active]:
        """The weights and masks as the pure functions take them."""
        params = {name: {k: v[...] for k, v in block.items()} for name, block in self.params.items()}
        return params, Active(**{name: mask[...] for name, mask in self.masks.items()}, spec=self.spec)

    @property
    def num_feature_axes(self) -> int:
        """Inputs of a step are vectors."""
        return 1

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None) -> Carry:
        """The state before the first step, for the batch dimensions of `input_shape`."""
        del rngs, carry_init
        params, active = self.arrays()
        carry = initial_carry(active, params["output"]["bias"].dtype)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*input_shape[:-1], *leaf.shape)), carry)

    def __call__(
        self, carry: Carry, inputs: Float[Array, "*batch input"]
    ) -> tuple[Carry, Float[Array, "*batch output"]]:
        """One step; every dimension of `inputs` but the last is a batch dimension.

        Raises:
            ValueError: the inputs have another number of channels than the network.
        """
        params, active = self.arrays()
        check_channels(inputs.shape, num_channels_of(params, self.spec))
        weights = join_weights(params, active)

        def step(carry: Carry, inputs: Float[Array, " input"]) -> tuple[Carry, Float[Array, " output"]]:
            carry, left = cell_step(weights, active, carry, drive_of(params, active, inputs))
            return carry, read_out(params, left.hidden, left.reads)

        for _ in inputs.shape[:-1]:
            step = jax.vmap(step)
        return step(carry, inputs)


class SizedCell(MemoryCell):
    """A cell of exact sizes with fresh weights.

    Args:
        input_size: channels in.
        output_size: channels out.
        num_slots: memory slots, at least `2*shift_range + 1`.
        slot_width: numbers in a slot.
        num_read_heads: heads that read.
        num_write_heads: heads that write.
        controller: of `CONTROLLERS`.
        controller_size: hidden units of the controller.
        shift_range: largest distance a head can move in a step; 0 for content addressing only.
        ponder_steps: most steps over one input (adaptive computation time); 1 for none.
        window_size: inputs that a window controller sees.
        num_layers: encoder layers of a window controller.
        attention_heads: of each of these layers.
        attention_width: width of a key and a value of these heads.
        sparse_links: largest entries of a weighting that enter a DNC's temporal links; 0 for all.
        rngs: consumed for the initial weights; None leaves them zero.

    Raises:
        ValueError: a size is below 1, the memory is too short for the shifts, or the controller is unknown.
    """

    memory: ClassVar[str]

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        num_slots: int = 128,
        slot_width: int = 20,
        num_read_heads: int = 1,
        num_write_heads: int = 1,
        controller: str = "lstm",
        controller_size: int = 100,
        shift_range: int = 1,
        ponder_steps: int = 1,
        window_size: int = 4,
        num_layers: int = 1,
        attention_heads: int = 4,
        attention_width: int = 16,
        sparse_links: int = 0,
        rngs: nnx.Rngs | None,
    ):
        if controller not in CONTROLLERS:
            raise ValueError(f"controller must be one of {', '.join(CONTROLLERS)}, got {controller!r}")
        counts = {
            "num_inputs": input_size,
            "num_outputs": output_size,
            "num_slots": num_slots,
            "slot_width": slot_width,
            "num_read_heads": num_read_heads,
            "num_write_heads": num_write_heads,
            "controller_size": controller_size,
            "window_size": window_size,
            "num_layers": num_layers,
            "attention_heads": attention_heads,
        }
        everything = counts | {"ponder_steps": ponder_steps, "attention_width": attention_width}
        if min(everything.values()) < 1 or shift_range < 0 or num_slots < 2 * shift_range + 1:
            raise ValueError(
                f"every size of {type(self).__name__} must be at least 1 and num_slots at least 2*shift_range+1, got "
                f"{everything} with shift_range={shift_range}"
            )
        spec = CellSpec((controller,), (self.memory,), ponder_steps, attention_width, sparse_links)
        gated = "gate" in MEMORIES[self.memory].shares and shift_range > 0
        sizes = axis_sizes(spec, **counts, shift_range=shift_range, gated=gated)
        active = exact(spec, sizes)
        if rngs is None:
            shapes = jax.tree.map(lambda array: [sizes[axis] for axis in array.axes], table_of(spec))
            params = jax.tree.map(np.zeros, shapes, is_leaf=lambda node: isinstance(node, list))
        else:
            draw = jax.jit(lambda key: initial_params(key, active, sizes["input"], output_size, jnp.result_type(float)))
            params = draw(rngs.params())
        super().__init__(params, active)


class NTMCell(SizedCell):
    """A Neural Turing Machine as a recurrent cell; its arguments are those of `SizedCell`.

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

    memory = "ntm"


class TapeCell(SizedCell):
    """A tape as a recurrent cell: soft pointers that shift and sharpen, writing by addition, nothing looked up."""

    memory = "tape"


class HardTapeCell(SizedCell):
    """A tape with heads that stand on one slot each, for evolution: no gradient goes through jumps and moves.

    References:
        Greve, Jacobsen, Risi 2016, Evolving Neural Turing Machines for Reward-based Learning, GECCO.
    """

    memory = "hard_tape"


class DNCCell(SizedCell):
    """A Differentiable Neural Computer as a recurrent cell.

    References:
        Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Nature 538:471.
    """

    memory = "dnc"


class PlainCell(SizedCell):
    """A controller without a memory as a recurrent cell, for comparison. Memory and heads are unused."""

    memory = "none"


class MemoryNetwork(nnx.Module):
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
        return num_channels_of(self.cell.arrays()[0], self.cell.spec)

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
        check_channels(inputs.shape, num_channels_of(params, self.cell.spec), ("batch", "time"))
        return cell_unroll(params, active, jnp.asarray(inputs, params["output"]["bias"].dtype))
