"""The window transformer: a controller that attends to the last inputs and the last reads, and to nothing older.

Written for one sequence of one network at padded shape; the caller vmaps. The tokens of a step are the last inputs,
each with the position of its age, and the previous read vectors. They go through pre-LN encoder layers: normalise,
attend, add; normalise, feed forward through a ReLU, add; and one more norm after the last layer. No causal mask is
needed, as every token is past. Only the newest input's token is used then: it drives a recurrent layer of tanh units.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Params, pytree
from etm_jax.cells._window_parameters import WINDOW_PARAMETERS

NORM_EPSILON = 1e-5  # inside the root, so that the gradient of equal units is finite
LAYER_ARRAYS = [name for name, parameter in WINDOW_PARAMETERS["window"].items() if parameter.axes[0] == "layer"]

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
        params: arrays laid out by `WINDOW_PARAMETERS`, zero wherever `active` says that nothing exists.
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

    layers = {name: window[name] for name in LAYER_ARRAYS}
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
