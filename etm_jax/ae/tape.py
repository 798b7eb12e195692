"""A differentiable tape: cells and a pointer, which is a distribution over them.

Every function is pure and takes one tape; the caller `vmap`s. The tape is a ring: the first slot follows the last.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LOG_EPSILON = 1e-12  # added inside the logarithm of the sharpening, to keep it finite at a pointer entry of 0


class Tape(NamedTuple):
    """Contents and pointer of a tape.

    Attributes:
        cells: `[slot, width]`, the contents.
        pointer: `[slot]`, weight of the pointer at each slot; sums to 1.
    """

    cells: jax.Array
    pointer: jax.Array


def blank_tape(num_slots: int, width: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Tape:
    """A tape of zeros with its pointer at slot 0.

    Args:
        num_slots: length of the tape.
        width: numbers per slot.
        dtype: dtype of cells and pointer.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> from etm_jax import ae
        >>> ae.tape.blank_tape(3, 2).pointer.tolist()
        [1.0, 0.0, 0.0]
    """
    for name, size in (("num_slots", num_slots), ("width", width)):
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    return Tape(jnp.zeros((num_slots, width), dtype), _first_slot(num_slots, dtype))


def read(tape: Tape) -> jax.Array:
    """The mean of the cells, `[width]`, weighted by the pointer.

        r = sum_i p_i M_i

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> ae.tape.read(ae.tape.Tape(jnp.asarray([[2.0], [4.0]]), jnp.asarray([0.5, 0.5]))).tolist()
        [3.0]
    """
    return tape.pointer @ tape.cells


def write(tape: Tape, value: jax.Array, gate: jax.typing.ArrayLike = 1.0) -> Tape:
    """Write at the pointer: a convex combination of old contents and value (erase and add with one gate).

        M_i <- (1 - g p_i) M_i + g p_i v

    With the whole pointer on one slot and an open gate, that slot gets the value and nothing else changes.

    Args:
        tape: the tape.
        value: `[width]`, v.
        gate: g in [0, 1]; 0 leaves the tape unchanged.

    Raises:
        ValueError: the width of the value is not that of a slot.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> ae.tape.write(ae.tape.blank_tape(2, 2), jnp.asarray([1.0, 2.0])).cells.tolist()
        [[1.0, 2.0], [0.0, 0.0]]
    """
    width = tape.cells.shape[-1]
    if jnp.shape(value) != (width,):
        raise ValueError(f"value must have shape ({width},), the width of a slot, got {jnp.shape(value)}")
    mixed = (gate * tape.pointer)[:, None]
    return tape._replace(cells=(1 - mixed) * tape.cells + mixed * value[None, :])


def move(tape: Tape, shift_logits: jax.Array, sharpness: jax.typing.ArrayLike) -> Tape:
    """Move the pointer by a distribution of shifts around the ring, then sharpen it.

        q_i = sum_{d=-S..S} s_d p_{i-d}        p_i <- q_i^b / sum_j q_j^b

    where s is the softmax of the logits and b = 1 + softplus(sharpness). The power is taken in log space, where
    powers of a diffuse pointer do not underflow and gradients are finite even at a pointer of zeros.

    Args:
        tape: the tape.
        shift_logits: `[2S + 1]`, for shifts from -S to S slots.
        sharpness: any number; at -20 the pointer keeps its shape.

    Raises:
        ValueError: the number of logits is even or exceeds the length of the tape.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> moved = ae.tape.move(ae.tape.blank_tape(4, 1), jnp.asarray([-20.0, -20.0, 20.0]), 0.0)
        >>> moved.pointer.round(3).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """
    num_shifts, num_slots = jnp.size(shift_logits), tape.pointer.shape[-1]
    if jnp.ndim(shift_logits) != 1 or num_shifts % 2 == 0:
        raise ValueError(
            "shift_logits must be a vector of odd length, one logit for each shift from -S to S, "
            f"got shape {jnp.shape(shift_logits)}"
        )
    if num_shifts > num_slots:
        raise ValueError(
            f"shift_logits must be no longer than the tape, got {num_shifts} for {num_slots} slots; "
            "on a ring further shifts repeat the others"
        )
    shift_range = num_shifts // 2
    # Static rolls compile to slices, and so does their gradient; the gradient of a gather would be a scatter.
    rolled = jnp.stack([jnp.roll(tape.pointer, distance) for distance in range(-shift_range, shift_range + 1)])
    shifted = jax.nn.softmax(shift_logits) @ rolled
    power = 1 + jax.nn.softplus(jnp.asarray(sharpness, shifted.dtype))
    return tape._replace(pointer=jax.nn.softmax(power * jnp.log(shifted + LOG_EPSILON)))


def rewind(tape: Tape, gate: jax.typing.ArrayLike = 1.0) -> Tape:
    """Return the pointer to slot 0: a convex combination of the pointer and slot 0.

    Args:
        tape: the tape.
        gate: in [0, 1]; 0 leaves the pointer unchanged.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> ae.tape.rewind(ae.tape.Tape(jnp.zeros((2, 1)), jnp.asarray([0.0, 1.0])), 0.75).pointer.tolist()
        [0.75, 0.25]
    """
    start = _first_slot(tape.pointer.shape[-1], tape.pointer.dtype)
    return tape._replace(pointer=(1 - gate) * tape.pointer + gate * start)


def _first_slot(num_slots: int, dtype: jax.typing.DTypeLike) -> jax.Array:
    return (jnp.arange(num_slots) == 0).astype(dtype)
