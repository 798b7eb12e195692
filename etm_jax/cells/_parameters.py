"""The weight arrays of every cell: their axes, how they start, and how growth keeps the function."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._dnc_parameters import DNC_PARAMETERS
from etm_jax.cells._family import FROM_INPUTS, FROM_UNITS, WITH_KEYS, Family
from etm_jax.cells._hard_tape_parameters import HARD_TAPE_PARAMETERS
from etm_jax.cells._layout import HEAD_FAN_IN, OPEN, Parameter
from etm_jax.cells._window_parameters import WINDOW_PARAMETERS

FORGET = 1  # its place among the gates; the GRU's update gate, which keeps as well, has the same
SHARPENING, SHIFT = 0, 1  # fields of the `location` axis; the shifts -S..S come last
INITIAL_SHARPENING = 2.0  # the logit; heads start by raising weightings to the power 1 + softplus(2) = 3.1
INITIAL_HALT = 1.0  # Graves 2016 (arXiv 1603.08983): few steps at first

CONTROLLER_FAN_IN = (("input",), ("read", "width"), ("unit", "recurrence"))
OUTPUT_FAN_IN = (("unit",), ("read", "width"))
GATED = tuple(FROM_INPUTS)
RECURRENT = tuple(kind for kind, places in FROM_UNITS.items() if places)
WITH_POINTERS = ("tape", "ntm")
WITH_VECTORS = ("tape", "hard_tape", "ntm", "dnc")


def forget_bias(sizes: dict[str, int]) -> Float[Array, "gate 1"]:
    """A gate that keeps what there was starts open."""
    return jnp.where(jnp.arange(sizes["gate"]) == FORGET, 1.0, 0.0)[:, None]


def sharp_location(sizes: dict[str, int]) -> Float[Array, "1 location"]:
    """Location fields that start sharp; at a bias of 0 a focus blurs as it moves, and long sequences are lost."""
    return jnp.where(jnp.arange(sizes["location"]) == SHARPENING, INITIAL_SHARPENING, 0.0)[None]


def closed_location(sizes: dict[str, int]) -> Float[Array, " location"]:
    """Location fields that leave a weighting as it is: no sharpening, no shift."""
    return jnp.full(sizes["location"], -OPEN).at[SHIFT + (sizes["location"] - SHIFT) // 2].set(OPEN)


def closed_gate(sizes: dict[str, int]) -> Float[Array, ""]:
    """A gate that takes the content weighting."""
    del sizes
    return jnp.full((), OPEN)


def closed_erase(sizes: dict[str, int]) -> Float[Array, ""]:
    """A write head that erases nothing."""
    del sizes
    return jnp.full((), -OPEN)


def initial_halt(sizes: dict[str, int]) -> Float[Array, ""]:
    """A network that seldom ponders at first."""
    del sizes
    return jnp.full((), INITIAL_HALT)


# A new unit or read head starts with zero outgoing weights, a new write head writes nothing, and a new memory column
# is neither written nor compared: growing a network keeps its function.
PARAMETERS = {
    "controller": {
        "input_kernel": Parameter(("input", "input_gate", "unit"), CONTROLLER_FAN_IN, kinds=GATED),
        "read_kernel": Parameter(
            ("read", "width", "input_gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,), kinds=GATED
        ),
        "recurrent_kernel": Parameter(
            ("unit", "unit_gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,), kinds=RECURRENT
        ),
        "bias": Parameter(("gate", "unit"), start=forget_bias, kinds=GATED),
    },
    "heads": {
        "key_kernel": Parameter(("unit", "head", "width"), HEAD_FAN_IN, closed_axes=(0, 2), kinds=WITH_KEYS),
        "key_bias": Parameter(("head", "width"), kinds=WITH_KEYS),
        "strength_kernel": Parameter(("unit", "head"), HEAD_FAN_IN, closed_axes=(0,), kinds=WITH_KEYS),
        "strength_bias": Parameter(("head",), kinds=WITH_KEYS),
        "gate_kernel": Parameter(("unit", "head", "gating"), HEAD_FAN_IN, closed_axes=(0, 2), kinds=("ntm",)),
        "gate_bias": Parameter(("head", "gating"), closed_axes=(1,), closed=closed_gate, kinds=("ntm",)),
        "location_kernel": Parameter(
            ("unit", "head", "location"), HEAD_FAN_IN, closed_axes=(0, 2), kinds=WITH_POINTERS
        ),
        "location_bias": Parameter(
            ("head", "location"),
            start=sharp_location,
            closed_axes=(1,),
            closed=closed_location,
            kinds=WITH_POINTERS,
        ),
    },
    "write": {
        "erase_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1), kinds=WITH_KEYS),
        "erase_bias": Parameter(("write", "width"), closed_axes=(0,), closed=closed_erase, kinds=WITH_KEYS),
        "add_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1, 2), kinds=WITH_VECTORS),
        "add_bias": Parameter(("write", "width"), kinds=WITH_VECTORS),
    },
    **DNC_PARAMETERS,
    **HARD_TAPE_PARAMETERS,
    **WINDOW_PARAMETERS,
    "ponder": {
        "halt_kernel": Parameter(("unit", "pondering"), HEAD_FAN_IN, closed_axes=(0,)),
        "halt_bias": Parameter(("pondering",), start=initial_halt, closed_axes=(0,), closed=initial_halt),
    },
    "output": {
        "controller_kernel": Parameter(("unit", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "read_kernel": Parameter(("read", "width", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "bias": Parameter(("output",)),
    },
}


def table_of(family: Family) -> dict[str, dict[str, Parameter]]:
    """The arrays that networks of a family have."""

    def needed(block: str, parameter: Parameter) -> bool:
        if block == "ponder":
            return family.ponder_steps > 1
        return not parameter.kinds or family.has(parameter.kinds)

    chosen = {
        block: {name: parameter for name, parameter in part.items() if needed(block, parameter)}
        for block, part in PARAMETERS.items()
    }
    return {block: part for block, part in chosen.items() if part}


def interface_of(family: Family) -> list[tuple[str, str]]:
    """Block and name of every field that a controller emits to its memory, in order."""
    blocks = ("heads", "write", "dnc", "hard_tape", "ponder")
    table = table_of(family)
    return [
        (block, name.removesuffix("_kernel"))
        for block in blocks
        for name in table.get(block, ())
        if name.endswith("_kernel")
    ]
