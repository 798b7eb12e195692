"""The tape of `EM43`: cell by cell, and for populations as bits, a round of steps at a time.

Most tapes halt or repeat within a few steps and a few run to the cap, so a round of `ROUND` steps goes over the genomes
that are still open, in blocks of a static size; a genome is open as long as one of its tapes is. A round takes as many
blocks as the open genomes fill, so none is left out. A tape that is the same after a round as before it repeats itself
forever, and is closed as not halted.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt8, UInt32

from etm_jax._typing import BoolScalar, IntScalar
from etm_jax.automata import _planes
from etm_jax.automata._genome import BLANK, BLUE, RED

NUM_SEPARATORS = 2  # blue cells between programme and input
NO_OUTPUT = -10  # of a tape that did not halt, or that halted without a red cell
ROUND = 24  # steps; every cycle whose length divides it is found

Tape = UInt8[Array, "cell"]
Planes = UInt32[Array, "genome 2 word tape"]


def initial_tape(programme: UInt8[Array, "programme_cell"], window: int) -> Tape:
    """S_0: the programme, two blue separators, blank cells."""
    length = programme.shape[0]
    separators = jnp.full(NUM_SEPARATORS, BLUE, jnp.uint8)
    blank = jnp.full(window - length - NUM_SEPARATORS, BLANK, jnp.uint8)
    return jnp.concatenate([programme.astype(jnp.uint8), separators, blank])


def marker_cells(operands: Int[Array, "*batch operand"], length: int) -> Int[Array, "*batch operand"]:
    """Positions of the red markers: the number n is written as n + 1 blank cells and a marker."""
    start = length + NUM_SEPARATORS - 1  # the last separator
    return start + jnp.cumsum(operands + 2, axis=-1)


def fits(markers: Int[Array, "*batch operand"], operands: Int[Array, "*batch operand"], window: int) -> Any:
    """Whether numbers can be written: none is negative, and no marker is on the last cell, which is always blank."""
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
    """Position of the rightmost red cell, -1 where there is none."""
    return jnp.max(jnp.where(tape == RED, jnp.arange(tape.shape[0]), -1))


def output_of(red: Int[Array, "*batch"], origin: Int[Array, "*#batch"], halted: jax.Array) -> Int[Array, "*batch"]:
    """The distance of the rightmost red cell from the origin, `NO_OUTPUT` without a final state or a red cell."""
    return jnp.where(halted & (red >= 0), red - origin, NO_OUTPUT)


def origin_of(markers: Int[Array, "*batch operand"], length: int) -> Int[Array, "*batch"]:
    """The cell that outputs are counted from: the one that would mark 0; of two numbers, the second marker."""
    if markers.shape[-1] == 1:
        return jnp.full_like(markers[..., 0], length + NUM_SEPARATORS + 1)
    return markers[..., -1]


class PopulationRun(NamedTuple):
    """What a population computed.

    Attributes:
        outputs: decoded numbers, `NO_OUTPUT` where there is none.
        steps: until the tape halted, `max_steps` where it did not.
        halted: True = it halted within `max_steps`.
        rounds: rounds of steps done, each over all genomes that were still open.
        blocks: blocks of genomes computed in all rounds; what they executed is this times the size of a block.
    """

    outputs: Int[Array, "population batch"]
    steps: Int[Array, "population batch"]
    halted: Bool[Array, "population batch"]
    rounds: IntScalar
    blocks: IntScalar


class _Tapes(NamedTuple):
    """Tapes of all genomes, or of one block with the genomes as the last axis.

    Attributes:
        planes: their bits.
        steps: done so far.
        is_open: True = the tape still computes.
        halted: True = it reached a final state.
    """

    planes: UInt32[Array, "..."]
    steps: Int[Array, "..."]
    is_open: Bool[Array, "..."]
    halted: Bool[Array, "..."]


def run_population(
    rules: UInt8[Array, "population 64"],
    programmes: UInt8[Array, "population cell"],
    operands: Int[Array, "batch operand"],
    window: int,
    max_steps: int,
    batch_size: int,
) -> PopulationRun:
    """Run every genome on every input until all have halted, repeat themselves, or reach the cap."""
    population, length = programmes.shape
    markers = marker_cells(operands, length)
    can_run = fits(markers, operands, window)
    num_blocks = -(-population // batch_size)
    spare = num_blocks * batch_size - population  # genomes that fill the last block and are never open
    rules, programmes = (jnp.pad(array, ((0, spare), (0, 0))) for array in (rules, programmes))
    polynomials = _planes.polynomials(rules)
    tapes = _first_tapes(programmes, markers, window)
    is_open = can_run[None, :] & (jnp.arange(population + spare) < population)[:, None]
    nothing = jnp.zeros_like(is_open)
    first = _Tapes(tapes, jnp.zeros(is_open.shape, jnp.int32), is_open, nothing)
    inner = _planes.inner_cells(window)

    def proceeds(carry: tuple[_Tapes, IntScalar, IntScalar]) -> jax.Array:
        tapes, rounds, _ = carry
        return (rounds * ROUND < max_steps) & tapes.is_open.any()

    def one_round(carry: tuple[_Tapes, IntScalar, IntScalar]) -> tuple[_Tapes, IntScalar, IntScalar]:
        tapes, rounds, blocks = carry
        genome_open = tapes.is_open.any(1)
        order = jnp.argsort(~genome_open, stable=True)  # open genomes first, so that they fill the first blocks
        needed = -(-jnp.sum(genome_open, dtype=jnp.int32) // batch_size)
        num_steps = jnp.minimum(ROUND, max_steps - rounds * ROUND)

        def one_block(block: IntScalar | int, tapes: _Tapes) -> _Tapes:
            chosen = jax.lax.dynamic_slice_in_dim(order, block * batch_size, batch_size)
            inside = jax.tree.map(lambda array: jnp.moveaxis(array[chosen], 0, -1), tapes)
            after = _advanced(jnp.moveaxis(polynomials[chosen], 0, -1), inside, num_steps, inner)
            return jax.tree.map(
                lambda array, new: array.at[chosen].set(jnp.moveaxis(new, -1, 0), unique_indices=True), tapes, after
            )

        return jax.lax.fori_loop(0, needed, one_block, tapes), rounds + 1, blocks + needed

    last, rounds, blocks = jax.lax.while_loop(proceeds, one_round, (first, jnp.int32(0), jnp.int32(0)))
    last = jax.tree.map(lambda array: array[:population], last)
    reds = _planes.last_reds(jnp.moveaxis(last.planes, -1, 1))
    outputs = output_of(reds, origin_of(markers, length)[None, :], last.halted)
    return PopulationRun(outputs, jnp.where(last.halted, last.steps, max_steps), last.halted, rounds, blocks)


def _first_tapes(programmes: UInt8[Array, "genome cell"], markers: Int[Array, "batch operand"], window: int) -> Planes:
    """S_0 + E(x) as planes of bits. A marker stands on a blank cell, so laying it over sets its bits."""
    without = _planes.packed(jax.vmap(lambda programme: initial_tape(programme, window))(programmes))
    inputs = _planes.packed(jax.vmap(lambda cells: written(cells, window))(markers))
    return without[..., None] | jnp.moveaxis(inputs, 0, -1)[None]


class _Bits(NamedTuple):
    """A block within a round: as `_Tapes`, with the two planes apart."""

    high: _planes.Plane
    low: _planes.Plane
    steps: Int[Array, "tape lane"]
    is_open: Bool[Array, "tape lane"]
    halted: Bool[Array, "tape lane"]


def _advanced(
    polynomial: _planes.Polynomials, tapes: _Tapes, num_steps: IntScalar, inner: UInt32[Array, "word"]
) -> _Tapes:
    """A block after `num_steps` steps of its open tapes; those that halt or repeat themselves are closed."""

    def close(bits: _Bits, stepped: jax.Array | bool) -> _Bits:
        halts_now = bits.is_open & stepped & _planes.halting(bits.high, bits.low)
        return bits._replace(is_open=bits.is_open & ~halts_now, halted=bits.halted | halts_now)

    def one_step(index: IntScalar | int, bits: _Bits) -> _Bits:
        # Halting is tested at the start of the next step: tested at the end of its own, on values that are not stored
        # yet, it would make the compiler evaluate the rules a second time within its sums.
        bits = close(bits, index > 0)
        high, low = bits.high, bits.low
        (high_left, high_right), (low_left, low_right) = _planes.line_neighbours(high), _planes.line_neighbours(low)
        next_high, next_low = _planes.evaluated(polynomial, (high_left, high, high_right), (low_left, low, low_right))
        mask = inner[:, None, None]
        return bits._replace(
            high=jnp.where(bits.is_open[None], next_high & mask, high),
            low=jnp.where(bits.is_open[None], next_low & mask, low),
            steps=bits.steps + bits.is_open.astype(jnp.int32),
        )

    high, low = tapes.planes
    first = _Bits(high, low, tapes.steps, tapes.is_open, tapes.halted)
    last = close(jax.lax.fori_loop(0, num_steps, one_step, first), True)
    repeats = jnp.all((last.high == high) & (last.low == low), axis=0)
    return _Tapes(jnp.stack([last.high, last.low]), last.steps, last.is_open & ~repeats, last.halted)
