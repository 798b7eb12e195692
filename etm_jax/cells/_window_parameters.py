"""The weight arrays of the window transformer: their axes, how they start, and where growth keeps the function."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._layout import Parameter, only_for

EXPANSION = 4  # hidden units of a feed-forward layer for each unit of the model: the size of the `expansion` axis

TOKEN_FAN_IN = (("input",),)  # a position counts as much as one input that is 1
UNIT_FAN_IN = (("unit",),)
STATE_FAN_IN = (("unit",), ("unit",))


def ones(sizes: dict[str, int]) -> Float[Array, ""]:
    """Start at one."""
    del sizes
    return jnp.ones(())


# Growth keeps the function along `layer`, `attention_head` and `width`: what is new starts with zero outgoing weights.
# It cannot along four axes. New units start so too, but every layer norm averages over them; a longer window and one
# more read head are more tokens to attend to; another key width rescales every score.
WINDOW_PARAMETERS = only_for(
    "window",
    {
        "embedding": Parameter(("input", "unit"), TOKEN_FAN_IN),
        "embedding_bias": Parameter(("unit",)),
        "position": Parameter(("window", "unit"), TOKEN_FAN_IN),
        "read_kernel": Parameter(("width", "unit"), (("width",),), closed_axes=(0,)),
        "read_position": Parameter(("read", "unit"), TOKEN_FAN_IN),
        "attention_scale": Parameter(("layer", "unit"), start=ones),
        "attention_offset": Parameter(("layer", "unit")),
        "query_kernel": Parameter(("layer", "unit", "attention_head", "key"), UNIT_FAN_IN, closed_axes=(1, 3)),
        "query_bias": Parameter(("layer", "attention_head", "key")),
        "key_kernel": Parameter(("layer", "unit", "attention_head", "key"), UNIT_FAN_IN, closed_axes=(1,)),
        "key_bias": Parameter(("layer", "attention_head", "key")),
        "value_kernel": Parameter(("layer", "unit", "attention_head", "key"), UNIT_FAN_IN, closed_axes=(1,)),
        "value_bias": Parameter(("layer", "attention_head", "key")),
        "out_kernel": Parameter(
            ("layer", "attention_head", "key", "unit"), (("attention_head", "key"),), closed_axes=(0, 1, 2)
        ),
        "out_bias": Parameter(("layer", "unit")),
        "feed_scale": Parameter(("layer", "unit"), start=ones),
        "feed_offset": Parameter(("layer", "unit")),
        "feed_in_kernel": Parameter(("layer", "unit", "expansion", "unit"), UNIT_FAN_IN, closed_axes=(1,)),
        "feed_in_bias": Parameter(("layer", "expansion", "unit")),
        "feed_out_kernel": Parameter(
            ("layer", "expansion", "unit", "unit"), (("expansion", "unit"),), closed_axes=(0, 2)
        ),
        "feed_out_bias": Parameter(("layer", "unit")),
        "final_scale": Parameter(("unit",), start=ones),
        "final_offset": Parameter(("unit",)),
        "state_kernel": Parameter(("unit", "unit"), STATE_FAN_IN, closed_axes=(0,)),
        "recurrent_kernel": Parameter(("unit", "unit"), STATE_FAN_IN, closed_axes=(0,)),
        "state_bias": Parameter(("unit",)),
    },
)
