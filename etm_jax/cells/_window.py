"""The window transformer: a controller that attends to the last inputs and the last reads, and to nothing older.

Written for one sequence of one network at padded shape; the caller vmaps. The tokens of a step are the last inputs,
each with the position of its age, and the previous read vectors. They go through pre-LN encoder layers: normalise,
attend, add; normalise, feed forward through a ReLU, add; and one more norm after the last layer. No causal mask is
needed, as every token is past. Only the newest input's token is used then: it drives a recurrent layer of tanh units.
"""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Params, pytree
from etm_jax.cells._kinds import Carry, Controller, Parameter, Sizes
from etm_jax.cells._spec import Active

NORM_EPSILON = 1e-5  # inside the root, so that the gradient of equal units is finite
EXPANSION = 4  # hidden units of a feed-forward layer for each unit of the model: the size of the `expansion` axis

Layer = dict[str, Float[Array, "..."]]  # the arrays of one encoder layer


@pytree
class WindowActive:
    """Which entries of each axis exist. True = exists; the existing entries of `window` come first.

    A window position is an age: 0 is the newest input.
    """

    unit: Bool[Array, "*batch unit"]
    read: Bool[Array, "*batch read"]
    width: Bool[Array, "*batch width"]
    attention_head: Bool[Array, "*batch attention_head"]
    key: Bool[Array, "*batch key"]
    layer: Bool[Array, "*batch layer"]
    window: Bool[Array, "*batch window"]


@pytree
class WindowState:
    """What the controller remembers: the last embedded inputs, the newest first; whether they have come; its output."""

    tokens: Float[Array, "*batch window unit"]
    present: Bool[Array, "*batch window"]
    hidden: Float[Array, "*batch unit"]


def initial_window(active: WindowActive, dtype: jnp.dtype) -> WindowState:
    """The state before the first step: no input has come."""
    num_units, length = active.unit.size, active.window.size
    return WindowState(
        tokens=jnp.zeros((length, num_units), dtype),
        present=jnp.zeros(length, bool),
        hidden=jnp.zeros(num_units, dtype),
    )


def embed(params: Params, inputs: Float[Array, "*lead input"]) -> Float[Array, "*lead unit"]:
    """The tokens of one input or of many, before their positions; done once a sequence, outside its loop."""
    window = params["window"]
    return affine(inputs, window["embedding"], window["embedding_bias"])


def window_step(
    params: Params,
    active: WindowActive,
    state: WindowState,
    embedded: Float[Array, " unit"],
    reads: Float[Array, "read width"],
) -> tuple[WindowState, Float[Array, " unit"]]:
    """One step of the controller.

    All layers but the last are computed for all tokens, the last one for the newest input only. At a padded number of
    layers that is still right, because a layer that does not exist changes nothing.

    Args:
        params: arrays laid out by `PARAMETERS`, zero wherever `active` says that nothing exists.
        active: which entries of each axis exist.
        state: the state after the step before.
        embedded: the step's input, from `embed`.
        reads: what each read head read in the step before, zero where nothing exists.

    Returns:
        The state after the step, and its hidden units.
    """
    window = params["window"]
    present = jnp.concatenate([jnp.ones(1, bool), state.present[:-1]]) & active.window
    inputs = jnp.where(present[:, None], jnp.concatenate([embedded[None], state.tokens[:-1]]), 0)
    remembered = reads @ window["read_kernel"] + window["read_position"]
    tokens = jnp.concatenate([inputs + window["position"], remembered])
    attended = jnp.concatenate([present, active.read])

    def encode_all(tokens: Float[Array, "token unit"], layer: Layer) -> tuple[Float[Array, "token unit"], None]:
        return encode(layer, active, attended, tokens, tokens.shape[0]), None

    layers = {name: window[name] for name, parameter in PARAMETERS.items() if parameter.axes[0] == "layer"}
    if active.layer.size > 1:
        tokens, _ = jax.lax.scan(encode_all, tokens, {name: array[:-1] for name, array in layers.items()})
    (newest,) = encode({name: array[-1] for name, array in layers.items()}, active, attended, tokens, 1)

    summary = layer_norm(newest, window["final_scale"], window["final_offset"], active.unit)
    recurrent = affine(state.hidden, window["recurrent_kernel"], window["state_bias"])
    hidden = jnp.tanh(summary @ window["state_kernel"] + recurrent)
    return WindowState(tokens=inputs, present=present, hidden=hidden), hidden


# Recomputed in the backward pass: as fast as storing everything, which takes 3.5 (one layer) to 8 times (two) as much.
@functools.partial(jax.checkpoint, static_argnums=4)
def encode(
    layer: Layer,
    active: WindowActive,
    attended: Bool[Array, " token"],
    tokens: Float[Array, "token unit"],
    num_rows: int,
) -> Float[Array, "row unit"]:
    """The first `num_rows` tokens after one encoder layer, in which they attend to all tokens."""
    normed = layer_norm(tokens, layer["attention_scale"], layer["attention_offset"], active.unit)
    query = affine(normed[:num_rows], layer["query_kernel"], layer["query_bias"])
    key = affine(normed, layer["key_kernel"], layer["key_bias"])
    value = affine(normed, layer["value_kernel"], layer["value_bias"])
    query = query * jax.lax.rsqrt(jnp.sum(active.key).astype(query.dtype))
    scores = jnp.einsum("rhk,thk->rht", query, key)
    weighting = jax.nn.softmax(scores, where=attended[None, None, :])  # never of nothing: the newest input is there
    mixed = jnp.einsum("rht,thk->rhk", weighting, value)
    rows = tokens[:num_rows] + affine(mixed, layer["out_kernel"], layer["out_bias"])

    normed = layer_norm(rows, layer["feed_scale"], layer["feed_offset"], active.unit)
    wide = jax.nn.relu(affine(normed, layer["feed_in_kernel"], layer["feed_in_bias"]))
    return rows + affine(wide, layer["feed_out_kernel"], layer["feed_out_bias"])


def layer_norm(
    rows: Float[Array, "*row unit"],
    scale: Float[Array, " unit"],
    offset: Float[Array, " unit"],
    active: Bool[Array, " unit"],
) -> Float[Array, "*row unit"]:
    """Mean 0 and variance 1 over the units that exist, then scale and offset."""
    active, scale, offset = (array.reshape((1,) * (rows.ndim - 1) + (-1,)) for array in (active, scale, offset))
    count = jnp.sum(active).astype(rows.dtype)
    centred = jnp.where(active, rows - jnp.sum(rows, axis=-1, keepdims=True) / count, 0)
    variance = jnp.sum(centred * centred, axis=-1, keepdims=True) / count
    return centred * jax.lax.rsqrt(variance + NORM_EPSILON) * scale + offset


def affine(
    rows: Float[Array, "..."], kernel: Float[Array, "..."], bias: Float[Array, "*target"]
) -> Float[Array, "..."]:
    """`rows @ kernel + bias`, where a row and a target may have several axes each."""
    num_targets = bias.size
    num_leading = rows.ndim - (kernel.ndim - bias.ndim)
    lead = rows.shape[:num_leading]
    products = rows.reshape(*lead, -1) @ kernel.reshape(-1, num_targets)
    return (products + bias.reshape((1,) * num_leading + (-1,))).reshape(*lead, *bias.shape)


def window_of(active: Active) -> WindowActive:
    """What a window controller needs to know of what exists."""
    return WindowActive(
        unit=active.unit,
        read=active.read,
        width=active.width,
        attention_head=active.attention_head,
        key=jnp.ones(active.spec.attention_width, bool),
        layer=active.layer,
        window=active.window,
    )


def think(params: Params, active: Active, carry: Carry, embedded: Float[Array, " unit"]) -> Carry:
    """`window_step` on what a network carries."""
    state, hidden = window_step(params, window_of(active), carry.states["window"], embedded, carry.reads)
    return replace(carry, hidden=hidden, states=carry.states | {"window": state})


def cost(sizes: Sizes) -> Any:
    """The encoder, of whose last layer only the newest token is computed, and the recurrent layer."""
    units, inner = sizes.controller_size, sizes.attention_heads * sizes.attention_width
    tokens = sizes.window_size + sizes.num_read_heads
    whole_layer = tokens * (4 * units * inner + 2 * tokens * inner + 8 * units * units)
    last_layer = 2 * tokens * inner * (units + 1) + 2 * units * inner + 8 * units * units
    ends = units * (sizes.num_inputs + sizes.num_read_heads * sizes.slot_width + 2 * units)
    return (sizes.num_layers - 1) * whole_layer + last_layer + ends


TOKEN_FAN_IN = (("input",),)  # a position counts as much as one input that is 1
UNIT_FAN_IN = (("unit",),)
STATE_FAN_IN = (("unit",), ("unit",))


# Growth keeps the function along `layer`, `attention_head` and `width`: what is new starts with zero outgoing weights.
# It cannot along four axes. New units start so too, but every layer norm averages over them; a longer window and one
# more read head are more tokens to attend to; another key width rescales every score.
PARAMETERS = {
    "embedding": Parameter(("input", "unit"), TOKEN_FAN_IN),
    "embedding_bias": Parameter(("unit",)),
    "position": Parameter(("window", "unit"), TOKEN_FAN_IN),
    "read_kernel": Parameter(("width", "unit"), (("width",),), closed_axes=(0,)),
    "read_position": Parameter(("read", "unit"), TOKEN_FAN_IN),
    "attention_scale": Parameter(("layer", "unit"), start=1.0),
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
    "feed_scale": Parameter(("layer", "unit"), start=1.0),
    "feed_offset": Parameter(("layer", "unit")),
    "feed_in_kernel": Parameter(("layer", "unit", "expansion", "unit"), UNIT_FAN_IN, closed_axes=(1,)),
    "feed_in_bias": Parameter(("layer", "expansion", "unit")),
    "feed_out_kernel": Parameter(("layer", "expansion", "unit", "unit"), (("expansion", "unit"),), closed_axes=(0, 2)),
    "feed_out_bias": Parameter(("layer", "unit")),
    "final_scale": Parameter(("unit",), start=1.0),
    "final_offset": Parameter(("unit",)),
    "state_kernel": Parameter(("unit", "unit"), STATE_FAN_IN, closed_axes=(0,)),
    "recurrent_kernel": Parameter(("unit", "unit"), STATE_FAN_IN, closed_axes=(0,)),
    "state_bias": Parameter(("unit",)),
}

WINDOW = Controller(
    "window",
    step=think,
    prepare=embed,
    parameters=PARAMETERS,
    state=lambda active, dtype: initial_window(window_of(active), dtype),
    cost=cost,
    constant_axes={"expansion": EXPANSION},
)
