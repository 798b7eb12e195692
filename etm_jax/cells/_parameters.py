"""The weight arrays of every cell: their axes, how they start, and how growth keeps the function."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._gated import FORGET
from etm_jax.cells._heads import SHARPENING, SHIFT
from etm_jax.cells._kinds import HEAD_FAN_IN, OPEN, Parameter
from etm_jax.cells._registry import CONTROLLERS, MEMORIES, sharing
from etm_jax.cells._spec import CellSpec

INITIAL_SHARPENING = 2.0  # the logit; heads start by raising weightings to the power 1 + softplus(2) = 3.1
INITIAL_HALT = 1.0  # Graves 2016 (arXiv 1603.08983): few steps at first

CONTROLLER_FAN_IN = (("input",), ("read", "width"), ("unit", "recurrence"))
OUTPUT_FAN_IN = (("unit",), ("read", "width"))
TAPE_TO_NTM = ("tape", "ntm")

Block = dict[str, Parameter]


def forget_bias(sizes: dict[str, int]) -> Float[Array, "gate 1"]:
    """A gate that keeps what there was starts open."""
    return jnp.where(jnp.arange(sizes["gate"]) == FORGET, 1.0, 0.0)[:, None]


def sharp_location(sizes: dict[str, int]) -> Float[Array, "1 location"]:
    """Location fields that start sharp; at a bias of 0 a focus blurs as it moves, and long sequences are lost."""
    return jnp.where(jnp.arange(sizes["location"]) == SHARPENING, INITIAL_SHARPENING, 0.0)[None]


def closed_location(sizes: dict[str, int]) -> Float[Array, " location"]:
    """Location fields that leave a weighting as it is: no sharpening, no shift.

    The logit of standing still is 0, as far from the others as they are closed: further, and they could not open again.
    """
    if not sizes["location"]:  # with content addressing only
        return jnp.zeros(0)
    # Set, not `where`: XLA would fuse that into the growth of a network, and seeded runs would round otherwise.
    return jnp.full(sizes["location"], -OPEN).at[SHIFT + (sizes["location"] - SHIFT) // 2].set(0.0)


def of_kinds(block: Block, kinds_with: Callable[[str], tuple[str, ...]]) -> Block:
    """The block, each array with the kinds that have it, by its name."""
    return {name: replace(parameter, kinds=kinds_with(name)) for name, parameter in block.items()}


def gated_with(name: str) -> tuple[str, ...]:
    """The controllers that have this array of gated sums."""
    places = {"recurrent_kernel": "from_units"}.get(name, "from_inputs")
    return tuple(kind.name for kind in CONTROLLERS.values() if getattr(kind, places))


def sharing_array(name: str) -> tuple[str, ...]:
    """The memories that share the field of this kernel or bias."""
    return sharing(name.rsplit("_", 1)[0])


# A new unit or read head starts with zero outgoing weights, a new write head writes nothing, and a new memory column
# is neither written nor compared: growing a network keeps its function. So does a feed-forward controller that becomes
# an RNN, and a tape that becomes a Neural Turing Machine whose heads move, which start with what the kinds before lack.
GATED_SUMS = {
    "input_kernel": Parameter(("input", "input_gate", "unit"), CONTROLLER_FAN_IN),
    "read_kernel": Parameter(("read", "width", "input_gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,)),
    "recurrent_kernel": Parameter(
        ("unit", "unit_gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,), after={("feedforward", "rnn"): 0.0}
    ),
    "bias": Parameter(("gate", "unit"), start=forget_bias),
}
HEADS = {
    "key_kernel": Parameter(("unit", "head", "width"), HEAD_FAN_IN, closed_axes=(0, 2)),
    "key_bias": Parameter(("head", "width")),
    "strength_kernel": Parameter(("unit", "head"), HEAD_FAN_IN, closed_axes=(0,)),
    "strength_bias": Parameter(("head",)),
    "gate_kernel": Parameter(("unit", "head", "gating"), HEAD_FAN_IN, closed_axes=(0, 2), after={TAPE_TO_NTM: 0.0}),
    "gate_bias": Parameter(("head", "gating"), closed_axes=(1,), closed=OPEN, after={TAPE_TO_NTM: -OPEN}),
    "location_kernel": Parameter(("unit", "head", "location"), HEAD_FAN_IN, closed_axes=(0, 2)),
    "location_bias": Parameter(("head", "location"), start=sharp_location, closed_axes=(1,), closed=closed_location),
}
WRITE = {
    "erase_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1), after={TAPE_TO_NTM: 0.0}),
    "erase_bias": Parameter(("write", "width"), closed_axes=(0,), closed=-OPEN, after={TAPE_TO_NTM: -OPEN}),
    "add_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1, 2)),
    "add_bias": Parameter(("write", "width")),
}
OWN = {
    kind.name: of_kinds(kind.parameters, lambda _, kind=kind: (kind.name,))
    for kind in (*MEMORIES.values(), *CONTROLLERS.values())
    if kind.parameters
}
PARAMETERS: dict[str, Block] = {
    "controller": of_kinds(GATED_SUMS, gated_with),
    "heads": of_kinds(HEADS, sharing_array),
    "write": of_kinds(WRITE, sharing_array),
    **OWN,
    "ponder": {
        "halt_kernel": Parameter(("unit", "pondering"), HEAD_FAN_IN, closed_axes=(0,)),
        "halt_bias": Parameter(("pondering",), start=INITIAL_HALT, closed_axes=(0,), closed=INITIAL_HALT),
    },
    "output": {
        "controller_kernel": Parameter(("unit", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "read_kernel": Parameter(("read", "width", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "bias": Parameter(("output",)),
    },
}


def table_of(spec: CellSpec) -> dict[str, Block]:
    """The arrays that networks of these kinds have."""

    def needed(block: str, parameter: Parameter) -> bool:
        if block == "ponder":
            return spec.ponder_steps > 1
        return not parameter.kinds or spec.has(parameter.kinds)

    chosen = {
        block: {name: parameter for name, parameter in part.items() if needed(block, parameter)}
        for block, part in PARAMETERS.items()
    }
    return {block: part for block, part in chosen.items() if part}


def interface_of(spec: CellSpec) -> list[tuple[str, str]]:
    """Block and name of every field that a controller emits to its memory, in order."""
    table = table_of(spec)
    return [
        (block, name.removesuffix("_kernel"))
        for block in ("heads", "write", *MEMORIES, "ponder")
        for name in table.get(block, ())
        if name.endswith("_kernel")
    ]
