"""The weight arrays of the Neural Turing Machine: their axes, how they start, and how growth keeps the function."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._layout import Parameter

GATES = 4  # input, forget, cell candidate, output
GATE, SHARPENING, SHIFT = 0, 1, 2  # fields of the `location` axis; the shifts -S..S come last
INITIAL_SHARPENING = 2.0  # the logit; heads start by raising weightings to the power 1 + softplus(2) = 3.1
OPEN = 10.0  # a logit that makes a sigmoid or softmax all but 1

CONTROLLER_FAN_IN = (("input",), ("read", "width"), ("unit",))
HEAD_FAN_IN = (("unit",),)
OUTPUT_FAN_IN = (("unit",), ("read", "width"))


def forget_bias(sizes: dict[str, int]) -> Float[Array, "gate 1"]:
    """A forget gate that starts open."""
    return jnp.zeros((sizes["gate"], 1)).at[1].set(1.0)


def sharp_location(sizes: dict[str, int]) -> Float[Array, "1 location"]:
    """Location fields that start sharp; at a bias of 0 a focus blurs as it moves, and long sequences are lost."""
    return jnp.where(jnp.arange(sizes["location"]) == SHARPENING, INITIAL_SHARPENING, 0.0)[None]


def closed_location(sizes: dict[str, int]) -> Float[Array, " location"]:
    """Location fields that leave a content weighting as it is: gate 1, no sharpening, no shift."""
    bias = jnp.full(sizes["location"], -OPEN)
    return bias.at[GATE].set(OPEN).at[SHIFT + (sizes["location"] - SHIFT) // 2].set(OPEN)


def closed_erase(sizes: dict[str, int]) -> Float[Array, ""]:
    """A write head that erases nothing."""
    del sizes
    return jnp.full((), -OPEN)


# A new unit or read head starts with zero outgoing weights, a new write head writes nothing, and a new memory column
# is neither written nor compared: growing a network keeps its function.
NTM_PARAMETERS = {
    "controller": {
        "input_kernel": Parameter(("input", "gate", "unit"), CONTROLLER_FAN_IN),
        "read_kernel": Parameter(("read", "width", "gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,)),
        "recurrent_kernel": Parameter(("unit", "gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,)),
        "bias": Parameter(("gate", "unit"), start=forget_bias),
    },
    "heads": {
        "key_kernel": Parameter(("unit", "head", "width"), HEAD_FAN_IN, closed_axes=(0, 2)),
        "key_bias": Parameter(("head", "width")),
        "strength_kernel": Parameter(("unit", "head"), HEAD_FAN_IN, closed_axes=(0,)),
        "strength_bias": Parameter(("head",)),
        "location_kernel": Parameter(("unit", "head", "location"), HEAD_FAN_IN, closed_axes=(0, 2)),
        "location_bias": Parameter(
            ("head", "location"), start=sharp_location, closed_axes=(1,), closed=closed_location
        ),
    },
    "write": {
        "erase_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "erase_bias": Parameter(("write", "width"), closed_axes=(0,), closed=closed_erase),
        "add_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1, 2)),
        "add_bias": Parameter(("write", "width")),
    },
    "output": {
        "controller_kernel": Parameter(("unit", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "read_kernel": Parameter(("read", "width", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "bias": Parameter(("output",)),
    },
}
