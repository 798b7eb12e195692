"""The tape of `EM43`, cell by cell: encoder, transition, halting, decoder. The plain form of what `_planes` packs."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8

from etm_jax._typing import BoolScalar, IntScalar
from etm_jax.automata._genome import BLANK, BLUE, RED

NUM_SEPARATORS = 2  # blue cells between programme and input
NO_OUTPUT = -10  # of a tape that did not halt, or that halted without a red cell

Tape = UInt8[Array, "cell"]


def initial_tape(programme: UInt8[Array, "programme_cell"], window: int) -> Tape:
    """S_0: the programme, two blue separators, blank cells."""
    length = programme.shape[0]
    separators = jnp.full(NUM_SEPARATORS, BLUE, jnp.uint8)
    blank = jnp.full(window - length - NUM_SEPARATORS, BLANK, jnp.uint8)
    return jnp.concatenate([programme.astype(jnp.uint8), separators, blank])


def marker_cells(operands: Int[Array, "*batch operand"], length: int) -> Int[Array, "*batch operand"]:
    """Where the red markers stand: each number is written as one more blank cell than it says, and a marker."""
    start = length + NUM_SEPARATORS - 1  # the last separator
    return start + jnp.cumsum(operands + 2, axis=-1)


def fits(markers: Int[Array, "*batch operand"], operands: Int[Array, "*batch operand"], window: int) -> Any:
    """Whether numbers can be written: none is negative, and no marker is on the tape's last cell, which is always 0."""
    return jnp.all((operands >= 0) & (markers <= window - 2), axis=-1)


def written(markers: Int[Array, "operand"], window: int) -> Tape:
    """E(x): red markers on a blank tape."""
    marked = (jnp.arange(window)[:, None] == markers[None, :]).any(1)
    return jnp.where(marked, jnp.uint8(RED), jnp.uint8(BLANK))


def laid_over(tape: Tape, other: Tape) -> Tape:
    """The second tape wherever it isn't blank, the first elsewhere."""
    return jnp.where(other != BLANK, other, tape)


def transition(rule: UInt8[Array, "64"], tape: Tape) -> Tape:
    """All cells at once, each from itself and its neighbours; the two at the ends are always blank."""
    cells = tape.astype(jnp.int32)
    after = rule[16 * cells[:-2] + 4 * cells[1:-1] + cells[2:]]
    return jnp.pad(after, 1)


def halts(tape: Tape) -> BoolScalar:
    """At least half of the cells that aren't blank are blue, and there are such cells."""
    live = jnp.sum(tape != BLANK, dtype=jnp.int32)
    blue = jnp.sum(tape == BLUE, dtype=jnp.int32)
    return (live > 0) & (2 * blue >= live)


def last_red(tape: Tape) -> IntScalar:
    """Where the rightmost red cell is, -1 where there is none."""
    return jnp.max(jnp.where(tape == RED, jnp.arange(tape.shape[0]), -1))


def output_of(red: Int[Array, "*batch"], origin: Int[Array, "*#batch"], halted: jax.Array) -> Int[Array, "*batch"]:
    """The distance of the rightmost red cell from the origin, `NO_OUTPUT` without a final state or a red cell."""
    return jnp.where(halted & (red >= 0), red - origin, NO_OUTPUT)


def origin_of(markers: Int[Array, "*batch operand"], length: int) -> Int[Array, "*batch"]:
    """Where outputs are counted from: the cell that would mark 0; of two numbers, the marker of the second one."""
    if markers.shape[-1] == 1:
        return jnp.full_like(markers[..., 0], length + NUM_SEPARATORS + 1)
    return markers[..., -1]
