"""What heads do: find slots, write and read, by the equations of Graves et al. 2014 (arXiv 1410.5401), section 3.

Addressing takes a leading `head` axis and a `slot_active` mask, and returns exactly 0 in slots that do not exist. A
memory is held as [width, slot]: the long axis last, where processors work on many numbers at once.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

MASKED = -1e9  # finite: a softmax over nothing but -inf is NaN
NORM_EPSILON = 1e-6  # inside the root, so that the gradient at zero memory is finite
LOG_EPSILON = 1e-12
SHARPENING, SHIFT = 0, 1  # fields of the `location` axis; the shifts -S..S come last

Contents = Float[Array, "width slot"]
Reads = Float[Array, "read width"]


def masked_softmax(logits: Float[Array, "*head slot"], active: Bool[Array, " slot"]) -> Float[Array, "*head slot"]:
    """Softmax over the active entries; 0 in the others, all 0 if none is active."""
    active = active.reshape((1,) * (logits.ndim - 1) + (-1,))
    return jax.nn.softmax(jnp.where(active, logits, MASKED), axis=-1) * active.astype(logits.dtype)


def content_weighting(
    key: Float[Array, "head width"],
    strength: Float[Array, " head"],
    memory: Float[Array, "width slot"],
    slot_active: Bool[Array, " slot"],
) -> Float[Array, "head slot"]:
    """Focus on the slots whose content resembles the key: `softmax(strength * cosine(key, slot))`."""
    per_key = strength * jax.lax.rsqrt(jnp.sum(key * key, axis=-1) + NORM_EPSILON)
    per_slot = jax.lax.rsqrt(jnp.sum(memory * memory, axis=0) + NORM_EPSILON)
    scores = (key * per_key[:, None]) @ memory * per_slot[None, :]  # strength * cosine: Graves 2014, eq. 6
    return masked_softmax(scores, slot_active)  # Graves 2014, eq. 5


def shift_up(weighting: Float[Array, "head slot"], slot_active: Bool[Array, " slot"]) -> Float[Array, "head slot"]:
    """Move the focus one slot on, the last existing slot going to slot 0.

    Concatenation and a patch at the wrap-around, not a gather: the gradient of a gather is a scatter.
    """
    last, active = (mask[None, :].astype(weighting.dtype) for mask in (is_last(slot_active), slot_active))
    wrapped = jnp.sum(weighting * last, axis=-1, keepdims=True)
    return jnp.concatenate([wrapped, weighting[:, :-1]], axis=-1) * active


def shift_down(weighting: Float[Array, "head slot"], slot_active: Bool[Array, " slot"]) -> Float[Array, "head slot"]:
    """Move the focus one slot back, slot 0 going to the last existing slot."""
    first = weighting[:, :1]
    last = is_last(slot_active)[None, :].astype(weighting.dtype)
    return jnp.concatenate([weighting[:, 1:], jnp.zeros_like(first)], axis=-1) + first * last


def is_last(slot_active: Bool[Array, " slot"]) -> Bool[Array, " slot"]:
    """True at the last existing slot only."""
    return slot_active & ~jnp.concatenate([slot_active[1:], jnp.zeros_like(slot_active[:1])])


def circular_shift(
    weighting: Float[Array, "head slot"],
    shift: Float[Array, "head shift"],
    slot_active: Bool[Array, " slot"],
) -> Float[Array, "head slot"]:
    """Convolve with the shift distribution over -S..S, modulo the number of slots that exist (Graves 2014, eq. 8)."""
    shift_range = shift.shape[-1] // 2
    shifted = shift[:, shift_range, None] * weighting
    up = down = weighting
    for distance in range(1, shift_range + 1):
        up, down = shift_up(up, slot_active), shift_down(down, slot_active)
        shifted += shift[:, shift_range + distance, None] * up + shift[:, shift_range - distance, None] * down
    return shifted


def sharpen(
    weighting: Float[Array, "head slot"],
    sharpening: Float[Array, " head"],
    slot_active: Bool[Array, " slot"],
) -> Float[Array, "head slot"]:
    """Raise to the power `sharpening` and renormalise (Graves 2014, eq. 9).

    Done in log space: in float32 the sum of powers of a diffuse weighting underflows, and 0/0 or lost mass follows.
    """
    return masked_softmax(sharpening[:, None] * jnp.log(weighting + LOG_EPSILON), slot_active)


@jax.custom_vjp
def write_then_read(
    memory: Float[Array, "width slot"],
    write_weightings: Float[Array, "write slot"],
    read_weightings: Float[Array, "read slot"],
    erase: Float[Array, "write width"],
    add: Float[Array, "write width"],
) -> tuple[Float[Array, "width slot"], Float[Array, "read width"]]:
    """Erase by every write head, then add by every write head, then read what stands there now.

    The backward pass recomputes the new memory from the old one as two thin matrix products instead of storing one
    memory for each write head, which makes a training step nearly twice as fast. There is no forward-mode derivative.

    Args:
        memory: before the step.
        write_weightings: of each write head over the slots.
        read_weightings: of each read head over the slots.
        erase: in (0, 1), of each write head.
        add: of each write head.

    Returns:
        The memory after the step, and what each read head reads from it.
    """
    for head in range(erase.shape[0]):
        memory = memory * (1 - erase[head, :, None] * write_weightings[head, None, :])  # Graves 2014, eq. 3
    for head in range(add.shape[0]):
        memory = memory + add[head, :, None] * write_weightings[head, None, :]  # Graves 2014, eq. 4
    return memory, read_weightings @ memory.T  # Graves 2014, eq. 2


def write_then_read_as_products(
    memory: Float[Array, "width slot"],
    write_weightings: Float[Array, "write slot"],
    read_weightings: Float[Array, "read slot"],
    erase: Float[Array, "write width"],
    add: Float[Array, "write width"],
) -> tuple[Float[Array, "width slot"], Float[Array, "read width"]]:
    """`write_then_read`, with the erasures of all heads as one matrix product.

    Multiplied out, `prod_h (1 - w_h e_h^T)` is a sum over the subsets of the heads, each a product of one column over
    the slots and one row over the width: 2^writes of them, cheap to differentiate for the few heads there are.
    """
    columns, rows = jnp.ones((1, memory.shape[1]), memory.dtype), jnp.ones((1, memory.shape[0]), memory.dtype)
    for head in range(erase.shape[0]):
        columns = jnp.concatenate([columns, -columns * write_weightings[head, None, :]])
        rows = jnp.concatenate([rows, rows * erase[head, None, :]])
    memory = memory * (rows.T @ columns) + add.T @ write_weightings
    return memory, read_weightings @ memory.T


def _forward(*arguments: Array) -> tuple[tuple[Contents, Reads], tuple[Array, ...]]:
    return write_then_read(*arguments), arguments


def _backward(arguments: tuple[Array, ...], cotangents: tuple[Contents, Reads]) -> tuple[Array, ...]:
    return jax.vjp(write_then_read_as_products, *arguments)[1](cotangents)


write_then_read.defvjp(_forward, _backward)
