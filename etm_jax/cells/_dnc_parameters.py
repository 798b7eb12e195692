"""The weight arrays that the DNC's memory has beyond those it shares with the Neural Turing Machine.

Keys and strengths are those of `heads`, erase and add those of `write` in `PARAMETERS`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._layout import HEAD_FAN_IN, OPEN, Parameter, only_for


def shut(sizes: dict[str, int]) -> Float[Array, ""]:
    """A logit that makes a gate all but 0, or a mode all but unused."""
    del sizes
    return jnp.full((), -OPEN)


# A new read head frees nothing, a new write head writes nothing, and nobody follows its links: growing a network keeps
# its function as nearly as a sigmoid closes. Everything starts undecided, at a bias of 0.
DNC_PARAMETERS = only_for(
    "dnc",
    {
        "free_kernel": Parameter(("unit", "read"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "free_bias": Parameter(("read",), closed_axes=(0,), closed=shut),
        "allocation_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0,)),
        "allocation_bias": Parameter(("write",)),
        "write_gate_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "write_gate_bias": Parameter(("write",), closed_axes=(0,), closed=shut),
        "content_mode_kernel": Parameter(("unit", "read"), HEAD_FAN_IN, closed_axes=(0,)),
        "content_mode_bias": Parameter(("read",)),
        "link_mode_kernel": Parameter(("unit", "read", "write", "direction"), HEAD_FAN_IN, closed_axes=(0, 2)),
        "link_mode_bias": Parameter(("read", "write", "direction"), closed_axes=(1,), closed=shut),
    },
)
