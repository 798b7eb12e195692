"""Which networks the kernel serves, and what is static about a call: the padded space and the passes over a batch."""

import ctypes
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Int

from etm_jax.cells import CONTROLLERS, MEMORIES, CellSpec, table_of
from etm_jax.cells._registry import gates_of
from etm_jax.networks.native._build import library

SERVED_CONTROLLERS = ("lstm", "gru", "rnn", "feedforward")
SERVED_MEMORIES = ("none", "tape", "ntm")
T = TypeVar("T")
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
# Of the traces of one individual, which stay in memory. Fetching more costs as much as computing it again: the
# gradients of 50 individuals of up to 256 slots take as long either way at twice this.
MOST_TRACE_BYTES = 2**26


def why_not(spec: CellSpec, *dtypes: DTypeLike | None) -> str:
    """Why the kernel cannot run any network of these kinds here, in one line; empty where it can.

    Args:
        spec: what is static about the networks.
        *dtypes: of the weights and of the factors of matrix products; None for the weights' own.
    """
    if set(spec.controllers).isdisjoint(SERVED_CONTROLLERS) or set(spec.memories).isdisjoint(SERVED_MEMORIES):
        return f"it does not know {', '.join(unserved(spec))}"
    if spec.ponder_steps > 1:
        return "it does not know pondering"
    for dtype in dtypes:
        if dtype is not None and jnp.dtype(dtype) != jnp.float32:
            return f"it computes in float32, not {jnp.dtype(dtype).name}"
    if jax.default_backend() != "cpu":
        return f"it runs on CPUs, not on {jax.default_backend()}"
    return library().reason


def unserved(spec: CellSpec) -> list[str]:
    """The kinds that the kernel does not know."""
    others = [kind for kind in spec.controllers if kind not in SERVED_CONTROLLERS]
    return others + [kind for kind in spec.memories if kind not in SERVED_MEMORIES]


def serves(architecture: Any) -> Bool[Array, "..."]:
    """Whether the kernel knows the kinds of an individual, or of each of a population."""
    controllers = [list(CONTROLLERS).index(kind) for kind in SERVED_CONTROLLERS]
    memories = [list(MEMORIES).index(kind) for kind in SERVED_MEMORIES]
    known = jnp.isin(architecture.controller, np.asarray(controllers))
    return known & jnp.isin(architecture.memory, np.asarray(memories))


def where_served(architecture: Any, spec: CellSpec, by_kernel: Callable[[], T], by_xla: Callable[[], T]) -> T:
    """The one for an individual that the kernel serves, else the other; both are compiled only where both may occur."""
    return jax.lax.cond(serves(architecture), by_kernel, by_xla) if unserved(spec) else by_kernel()


class Layout(NamedTuple):
    """What is static about networks of one padded shape.

    Attributes:
        functions: the library's.
        space: the numbers of `Space` in layout.h.
        arrays: block and name of each weight array, in the order given to the kernel.
        shapes: theirs.
        heads_and_slots: their padded numbers.
        live: length of a vector that holds the live weights of any individual.
    """

    functions: ctypes.CDLL
    space: tuple[int, ...]
    arrays: tuple[tuple[str, str], ...]
    shapes: tuple[tuple[int, ...], ...]
    heads_and_slots: tuple[int, int]
    live: int


class Passes(NamedTuple):
    """What is static about the passes over a batch.

    Attributes:
        segment: steps between states that are kept for the backward pass, which runs the others again.
        kept: floats that the forward pass leaves for the backward pass.
    """

    segment: int
    kept: int


def layout_for(spec: CellSpec, sizes: Mapping[str, int]) -> Layout:
    """What is static about networks of these padded sizes.

    Raises:
        ValueError: there is no kernel for them.
    """
    reason = why_not(spec)
    if reason:
        raise ValueError(f"the native kernel cannot run these networks: {reason}; run them without it")
    functions = library().functions
    assert functions is not None
    return layout_of(functions, spec, sizes)


def layout_of(functions: ctypes.CDLL, spec: CellSpec, sizes: Mapping[str, int]) -> Layout:
    """`layout_for` with a given library."""
    gates = gates_of(spec)
    shift_range = max(sizes["location"] - 2, 0) // 2
    axes = ("input", "output", "slot", "width", "read", "write", "unit")
    lengths = [*(sizes[axis] for axis in axes), shift_range, sizes["location"], sizes["gating"]]
    lengths += [sizes[axis] for axis in ("input_gate", "unit_gate", "gate")]
    places = [own.index(gate) if gate in own else -1 for own in gates for gate in range(MAX_GATES)]
    kinds = [_bits(spec.controllers, SERVED_CONTROLLERS, CONTROLLERS), _bits(spec.memories, SERVED_MEMORIES, MEMORIES)]
    table = table_of(spec)
    present = [(block, name) for block, name in ARRAYS if name in table.get(block, {})]
    arguments = [present.index(array) if array in present else -1 for array in ARRAYS]
    space = tuple(int(number) for number in (*lengths, *places, *kinds, *arguments))
    shapes = tuple(tuple(sizes[axis] for axis in table[block][name].axes) for block, name in present)
    heads_and_slots = (sizes["read"] + sizes["write"], sizes["slot"])
    live = functions.etm_live_length((ctypes.c_int64 * len(space))(*space))
    return Layout(functions, space, tuple(present), shapes, heads_and_slots, live)


def passes_of(layout: Layout, batch_size: int, num_steps: int, *, rematerialise: bool = False) -> Passes:
    """What is static about passes over a batch of this size."""

    functions = layout.functions
    space, sizes = (ctypes.c_int64 * len(layout.space))(*layout.space), [batch_size, num_steps]
    segment = max(num_steps, 1)
    if rematerialise or 4 * functions.etm_trace_floats(space, *map(ctypes.c_int64, sizes)) > MOST_TRACE_BYTES:
        segment = max(math.isqrt(num_steps), 1)
    return Passes(segment, functions.etm_kept_floats(space, *map(ctypes.c_int64, [*sizes, segment])))


def genes_of(architecture: Any) -> Int[Array, " gene"]:
    """The genes of one individual as the kernel takes them."""
    return jnp.stack([jnp.asarray(getattr(architecture, name), jnp.int32) for name in GENES])


def _bits(names: tuple[str, ...], served: tuple[str, ...], registry: Mapping[str, Any]) -> int:
    return sum(1 << list(registry).index(name) for name in names if name in served)
