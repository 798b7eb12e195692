"""The weight arrays of the hard-head tape beyond those it shares with the Neural Turing Machine.

The written vector is `add` of `write` in `PARAMETERS`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._dnc_parameters import shut
from etm_jax.cells._layout import HEAD_FAN_IN, OPEN, Parameter, only_for

INITIAL_JUMP = -1.0  # at 0 a head without any input would jump in every step


def seldom(sizes: dict[str, int]) -> Float[Array, ""]:
    """Heads that jump only where an input tells them to."""
    del sizes
    return jnp.full((), INITIAL_JUMP)


def staying(sizes: dict[str, int]) -> Float[Array, " move"]:
    """A head that stays where it is: it lengthens no tape."""
    return jnp.where(jnp.arange(sizes["move"]) == 1, OPEN, 0.0)


# A new head writes all but nothing, and neither jumps nor moves: growing a network keeps its function as nearly as a
# sigmoid closes.
HARD_TAPE_PARAMETERS = only_for(
    "hard_tape",
    {
        "write_gate_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "write_gate_bias": Parameter(("write",), closed_axes=(0,), closed=shut),
        "jump_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "jump_bias": Parameter(("write",), start=seldom, closed_axes=(0,), closed=shut),
        "shift_kernel": Parameter(("unit", "write", "move"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "shift_bias": Parameter(("write", "move"), closed_axes=(0,), closed=staying),
    },
)
