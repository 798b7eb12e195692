"""Many genomes, many inputs: blocks of the genomes that still compute, a round of steps at a time.

Most tapes halt or repeat within a few steps and a few run to the cap. So a round of `ROUND` steps goes over the open
genomes only, in blocks of a static size; a genome is open as long as one of its tapes is. Nothing can overflow: a round
takes as many blocks as there are open genomes to fill them. A tape that is after a round what it was before repeats
itself for ever and is closed without having halted.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt8, UInt32

from etm_jax._typing import IntScalar
from etm_jax.automata import _planes, _tape

ROUND = 24  # steps; every cycle whose length divides it is found

Planes = UInt32[Array, "genome 2 word tape"]


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
    """Tapes of all genomes, or of one block with the genomes as the last axis."""

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
    markers = _tape.marker_cells(operands, length)
    can_run = _tape.fits(markers, operands, window)
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
        order = jnp.argsort(~genome_open, stable=True)  # open genomes first
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
    outputs = _tape.output_of(reds, _tape.origin_of(markers, length)[None, :], last.halted)
    return PopulationRun(outputs, jnp.where(last.halted, last.steps, max_steps), last.halted, rounds, blocks)


def _first_tapes(programmes: UInt8[Array, "genome cell"], markers: Int[Array, "batch operand"], window: int) -> Planes:
    """S_0 + E(x) as planes of bits. A marker stands on a blank cell, so to lay it over is to set its bits."""
    without = _planes.packed(jax.vmap(lambda programme: _tape.initial_tape(programme, window))(programmes))
    inputs = _planes.packed(jax.vmap(lambda cells: _tape.written(cells, window))(markers))
    return without[..., None] | jnp.moveaxis(inputs, 0, -1)[None]


def _advanced(
    polynomial: _planes.Polynomials, tapes: _Tapes, num_steps: IntScalar, inner: UInt32[Array, "word"]
) -> _Tapes:
    """A block after `num_steps` steps of its open tapes; those that halt or repeat themselves are closed.

    Halting is tested at the start of the step after. Tested at the end of its own step, on values that are not stored
    yet, it would make the compiler evaluate the rules a second time within its sums.
    """

    def close(high: jax.Array, low: jax.Array, is_open: jax.Array, halted: jax.Array, stepped: jax.Array | bool):
        halts_now = is_open & stepped & _planes.halting(high, low)
        return is_open & ~halts_now, halted | halts_now

    def one_step(index: IntScalar | int, tapes: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        high, low, steps, is_open, halted = tapes
        is_open, halted = close(high, low, is_open, halted, index > 0)
        (high_left, high_right), (low_left, low_right) = _planes.line_neighbours(high), _planes.line_neighbours(low)
        next_high, next_low = _planes.evaluated(polynomial, (high_left, high, high_right), (low_left, low, low_right))
        mask = inner[:, None, None]
        high = jnp.where(is_open[None], next_high & mask, high)
        low = jnp.where(is_open[None], next_low & mask, low)
        return high, low, steps + is_open.astype(jnp.int32), is_open, halted

    high, low = tapes.planes
    after = jax.lax.fori_loop(0, num_steps, one_step, (high, low, tapes.steps, tapes.is_open, tapes.halted))
    last_high, last_low, steps, is_open, halted = after
    is_open, halted = close(last_high, last_low, is_open, halted, True)
    repeats = jnp.all((last_high == high) & (last_low == low), axis=0)
    return _Tapes(jnp.stack([last_high, last_low]), steps, is_open & ~repeats, halted)
