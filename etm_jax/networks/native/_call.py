"""The kernel as a differentiable JAX function of one individual, in place of `cell_unroll`."""

import ctypes
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from etm_jax._typing import Params
from etm_jax.cells import CONTROLLERS, MEMORIES, CellSpec, Unrolled, table_of
from etm_jax.cells._cell import NO_PONDERING
from etm_jax.cells._registry import gates_of
from etm_jax.cells._weights import check_channels
from etm_jax.networks.native._build import library

SERVED_CONTROLLERS = ("lstm", "gru", "rnn", "feedforward")
SERVED_MEMORIES = ("none", "tape", "ntm")
# The order of `Gene` in layout.h.
GENES = (
    "num_slots",
    "slot_width",
    "num_read_heads",
    "num_write_heads",
    "controller_size",
    "shift_range",
    "addressing",
    "controller",
    "memory",
)
# The order of `Array` in layout.h.
ARRAYS = (
    ("controller", "input_kernel"),
    ("controller", "read_kernel"),
    ("controller", "recurrent_kernel"),
    ("controller", "bias"),
    ("heads", "key_kernel"),
    ("heads", "key_bias"),
    ("heads", "strength_kernel"),
    ("heads", "strength_bias"),
    ("heads", "gate_kernel"),
    ("heads", "gate_bias"),
    ("heads", "location_kernel"),
    ("heads", "location_bias"),
    ("write", "erase_kernel"),
    ("write", "erase_bias"),
    ("write", "add_kernel"),
    ("write", "add_bias"),
    ("output", "controller_kernel"),
    ("output", "read_kernel"),
    ("output", "bias"),
)
MAX_GATES = 4
# Of what one individual's forward pass leaves for the backward pass. Fetching more of it costs as much as computing it
# again: the gradients of 50 individuals of up to 256 slots take as long either way at twice this.
MOST_KEPT_BYTES = 2**26


def why_not(spec: CellSpec, *dtypes: DTypeLike | None) -> str:
    """Why the kernel cannot run networks of these kinds here, in one line; empty where it can.

    Args:
        spec: what is static about the networks.
        *dtypes: of the weights and of the factors of matrix products; None for the weights' own.
    """
    others = [kind for kind in spec.controllers if kind not in SERVED_CONTROLLERS]
    others += [kind for kind in spec.memories if kind not in SERVED_MEMORIES]
    if others:
        return f"it does not know {', '.join(others)}"
    if spec.ponder_steps > 1:
        return "it does not know pondering"
    for dtype in dtypes:
        if dtype is not None and jnp.dtype(dtype) != jnp.float32:
            return f"it computes in float32, not {jnp.dtype(dtype).name}"
    if jax.default_backend() != "cpu":
        return f"it runs on CPUs, not on {jax.default_backend()}"
    return library().reason


class Layout(NamedTuple):
    """What is static about a call.

    Attributes:
        space: the numbers of `Space` in layout.h.
        arrays: block and name of each weight array, in the order given to the kernel.
        heads_and_slots: their padded numbers.
        segment: steps between states that are kept for the backward pass; the others run again there.
        kept: floats that the forward pass leaves for the backward pass.
    """

    space: tuple[int, ...]
    arrays: tuple[tuple[str, str], ...]
    heads_and_slots: tuple[int, int]
    segment: int
    kept: int


def native_unroll(
    architecture: Any,
    params: Params,
    inputs: Float[Array, "*batch time input"],
    spec: CellSpec,
    sizes: Mapping[str, int],
    *,
    rematerialise: bool = False,
) -> Unrolled:
    """`cell_unroll` of one individual at its live sizes, straight from the padded weights.

    Under `vmap` individuals run one after the other. There is no forward-mode derivative.

    Args:
        architecture: the genes of one individual, an attribute each of `GENES`.
        params: weights at padded shape, float32; what does not exist is not read, and its gradient is 0.
        inputs: one row a step, float32; one leading axis at most.
        spec: the kinds that may occur; `why_not` must be empty for it.
        sizes: padded length of every axis, from `axis_sizes`.
        rematerialise: keep the state of about sqrt(time) steps for the backward pass, and run the others again. Done
            anyway where more than `MOST_KEPT_BYTES` would be kept.

    Returns:
        As `cell_unroll`. The weightings cost one more forward pass where they are used.

    Raises:
        ValueError: there is no kernel for this, or an array has another number of channels or another dtype.
    """
    reason = why_not(spec)
    if reason:
        raise ValueError(f"the native kernel cannot run these networks: {reason}; run them without it")
    check_channels(inputs.shape, sizes["input"])
    wrong = {str(array.dtype) for array in (inputs, *jax.tree.leaves(params))} - {"float32"}
    if wrong:
        raise ValueError(f"the native kernel takes float32 arrays, got {', '.join(sorted(wrong))}; convert them")
    if inputs.ndim == 2:
        found = native_unroll(architecture, params, inputs[None], spec, sizes, rematerialise=rematerialise)
        return jax.tree.map(lambda array: array[0], found)
    functions = library().functions
    assert functions is not None
    layout = layout_of(functions, spec, sizes, *inputs.shape[:2], rematerialise=rematerialise)
    return unroll_with(layout, architecture, params, inputs)


def unroll_with(
    layout: Layout, architecture: Any, params: Params, inputs: Float[Array, "batch time input"]
) -> Unrolled:
    """`native_unroll` with everything static worked out."""
    batch_size, num_steps = inputs.shape[:2]
    genes = jnp.stack([jnp.asarray(getattr(architecture, name), jnp.int32) for name in GENES])
    arrays = tuple(params[block][name] for block, name in layout.arrays)
    shape = (batch_size, num_steps, *layout.heads_and_slots)
    # A call of its own, which XLA drops where no weighting is used.
    (weightings,) = _call("etm_weightings", [shape], layout, genes, *map(jax.lax.stop_gradient, (inputs, *arrays)))
    return Unrolled(
        outputs=_outputs(layout, genes, inputs, arrays),
        weightings=weightings,
        ponder=jnp.full((batch_size, num_steps), NO_PONDERING, jnp.float32),
    )


def layout_of(
    functions: ctypes.CDLL,
    spec: CellSpec,
    sizes: Mapping[str, int],
    batch_size: int,
    num_steps: int,
    rematerialise: bool = False,
) -> Layout:
    """What is static about a call for networks of these padded sizes."""
    gates = gates_of(spec)
    shift_range = max(sizes["location"] - 2, 0) // 2
    axes = ("input", "output", "slot", "width", "read", "write", "unit")
    lengths = [*(sizes[axis] for axis in axes), shift_range, sizes["location"], sizes["gating"]]
    lengths += [sizes[axis] for axis in ("input_gate", "unit_gate", "gate")]
    places = [own.index(gate) if gate in own else -1 for own in gates for gate in range(MAX_GATES)]
    kinds = [_bits(spec.controllers, CONTROLLERS), _bits(spec.memories, MEMORIES)]
    present = [(block, name) for block, name in ARRAYS if _has(spec, block, name)]
    arguments = [present.index(array) if array in present else -1 for array in ARRAYS]
    space = tuple(int(number) for number in (*lengths, *places, *kinds, *arguments))

    def kept_floats(segment: int) -> int:
        numbers = (ctypes.c_int64(number) for number in (batch_size, num_steps, segment))
        return functions.etm_kept_floats((ctypes.c_int64 * len(space))(*space), *numbers)

    segment = max(num_steps, 1)
    if rematerialise or 4 * kept_floats(segment) > MOST_KEPT_BYTES:
        segment = max(math.isqrt(num_steps), 1)
    heads_and_slots = (sizes["read"] + sizes["write"], sizes["slot"])
    return Layout(space, tuple(present), heads_and_slots, segment, kept_floats(segment))


def _bits(names: tuple[str, ...], registry: Mapping[str, Any]) -> int:
    return sum(1 << list(registry).index(name) for name in names)


def _has(spec: CellSpec, block: str, name: str) -> bool:
    return name in table_of(spec).get(block, {})


def _call(target: str, shapes: list[tuple[int, ...]], layout: Layout, *arguments: Array) -> Sequence[Array]:
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    return call(*arguments, space=np.asarray(layout.space, np.int64), segment=np.int64(layout.segment))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _outputs(
    layout: Layout, genes: Int[Array, " gene"], inputs: Float[Array, "batch time input"], arrays: tuple[Array, ...]
) -> Float[Array, "batch time output"]:
    (outputs,) = _call("etm_forward", [_output_shape(inputs, arrays)], layout, genes, inputs, *arrays)
    return outputs


def _output_shape(inputs: Array, arrays: tuple[Array, ...]) -> tuple[int, ...]:
    return (*inputs.shape[:2], arrays[-1].shape[-1])  # the last array is the output's bias


def _forward(layout: Layout, genes: Array, inputs: Array, arrays: tuple[Array, ...]) -> tuple[Array, Any]:
    shapes = [_output_shape(inputs, arrays), (layout.kept,)]
    outputs, kept = _call("etm_forward", shapes, layout, genes, inputs, *arrays)
    return outputs, (genes, inputs, arrays, kept)


def _backward(layout: Layout, saved: Any, cotangent: Array) -> tuple[None, Array, tuple[Array, ...]]:
    genes, inputs, arrays, kept = saved
    shapes = [array.shape for array in (inputs, *arrays)]
    by_inputs, *by_arrays = _call("etm_backward", shapes, layout, genes, inputs, *arrays, kept, cotangent)
    return None, by_inputs, tuple(by_arrays)


_outputs.defvjp(_forward, _backward)
