"""Tapes as bits: 32 cells in a word, the two bits of a state in two planes, one genome in each lane.

Planes are `[word, tape, lane]` with lanes innermost, so that every operation of a step is one vector operation over
genomes and reads their rules as it reads their tapes.

A rule is evaluated as a polynomial. Each bit of the next state is a function of six bits x_0..x_5; over the integers
modulo 2, where + is exclusive or, every such function is one sum of products

    g(x) = sum_{m=0..63} c_m prod_{i in m} x_i

and Horner's scheme, one bit after another, needs one "and" and one "exclusive or" for each of 63 pairs. A tree of
selections (b if x else a) would need one operation more a pair.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt8, UInt32

WORD = 32  # cells in a word
ALL_ONES = np.uint32(0xFFFFFFFF)
BITS = 6  # that the next state of a cell depends on: two of each of three cells

Plane = UInt32[Array, "word tape lane"]
Polynomials = UInt32[Array, "2 64 lane"]


def num_words(window: int) -> int:
    """Words that hold a tape; the last one may be used in part."""
    return -(-window // WORD)


def packed(tapes: UInt8[Array, "*batch cell"]) -> UInt32[Array, "*batch 2 word"]:
    """Bits of cells: high and low ones."""
    *batch, window = tapes.shape
    spare = num_words(window) * WORD - window
    cells = jnp.pad(tapes.astype(jnp.uint32), [(0, 0)] * len(batch) + [(0, spare)])
    cells = cells.reshape(*batch, 1, -1, WORD)
    bits = jnp.concatenate([cells >> 1, cells & 1], axis=-3)
    places = jnp.arange(WORD, dtype=jnp.uint32).reshape((1,) * bits[..., 0].ndim + (WORD,))
    return jnp.sum(bits << places, axis=-1, dtype=jnp.uint32)


def unpacked(planes: UInt32[Array, "*batch 2 word"], window: int) -> UInt8[Array, "*batch cell"]:
    """Cells of the two planes of bits."""
    places = jnp.arange(WORD, dtype=jnp.uint32).reshape((1,) * planes.ndim + (WORD,))
    bits = (planes[..., None] >> places) & 1
    cells = 2 * bits[..., 0, :, :] + bits[..., 1, :, :]
    return cells.reshape(*cells.shape[:-2], -1)[..., :window].astype(jnp.uint8)


def polynomials(rules: jax.Array) -> UInt32[Array, "genome 2 64"]:
    """Coefficients of both bits of each rule `[genome, 64]`, each as a word of equal bits."""
    rules = rules.astype(jnp.uint32)
    coefficients = jnp.stack([(rules >> 1) & 1, rules & 1], axis=1)
    for bit in range(BITS):  # c_m is the sum of the function over all subsets of m
        pairs = coefficients.reshape(*coefficients.shape[:2], -1, 2, 2**bit)
        without, with_bit = pairs[..., 0, :], pairs[..., 1, :]
        coefficients = jnp.stack([without, without ^ with_bit], axis=-2).reshape(coefficients.shape)
    return coefficients * ALL_ONES


def inner_cells(window: int) -> UInt32[Array, "word"]:
    """A word mask of the cells that may be live: all but the two at the ends."""
    cells = np.zeros(window, np.uint8)
    cells[1:-1] = 1
    return packed(jnp.asarray(cells))[1]


def line_neighbours(plane: Plane) -> tuple[Plane, Plane]:
    """The plane of each cell's left neighbour, and that of its right one."""
    nothing = jnp.zeros_like(plane[:1])
    before = jnp.concatenate([nothing, plane[:-1]])
    after = jnp.concatenate([plane[1:], nothing])
    return (plane << 1) | (before >> (WORD - 1)), (plane >> 1) | (after << (WORD - 1))


def ring_neighbours(plane: Plane, window: int) -> tuple[Plane, Plane]:
    """As `line_neighbours`, on a ring of `window` cells; bits past them must be 0 and may not be so after."""
    left, right = line_neighbours(plane)
    last = (window - 1) % WORD  # the place of the last cell in the last word
    left = left.at[0].set(left[0] | ((plane[-1] >> last) & 1))
    right = right.at[-1].set(right[-1] | ((plane[0] & 1) << last))
    return left, right


def evaluated(
    polynomial: Polynomials, high: tuple[Plane, Plane, Plane], low: tuple[Plane, Plane, Plane]
) -> tuple[Plane, Plane]:
    """The next high and low bits.

    Args:
        polynomial: coefficients of both bits.
        high: high bits of the left neighbour, the cell, the right neighbour.
        low: low bits of the same.
    """
    variables = [bits[cell] for cell in (2, 1, 0) for bits in (low, high)]  # as the table's index, lowest bit first

    def one(coefficients: UInt32[Array, "64 lane"]) -> Plane:
        terms = [coefficients[entry][None, None, :] for entry in range(2**BITS)]
        for variable in variables:
            terms = [rest ^ (variable & factor) for rest, factor in zip(terms[::2], terms[1::2], strict=True)]
        return terms[0]

    return one(polynomial[0]), one(polynomial[1])


def counts(plane: Plane) -> Int[Array, "tape lane"]:
    """Ones of every tape."""
    return jnp.sum(jax.lax.population_count(plane).astype(jnp.int32), axis=0)


def halting(high: Plane, low: Plane) -> Bool[Array, "tape lane"]:
    """As `_tape.halts`: blue is both bits, live is one of them."""
    live, blue = counts(high | low), counts(high & low)
    return (live > 0) & (2 * blue >= live)


def last_reds(planes: UInt32[Array, "*batch 2 word"]) -> Int[Array, "*batch"]:
    """As `_tape.last_red`: red is the high bit alone."""
    red = planes[..., 0, :] & ~planes[..., 1, :]
    highest = WORD - 1 - jax.lax.clz(red).astype(jnp.int32)
    words = jnp.arange(red.shape[-1]).reshape((1,) * (red.ndim - 1) + (-1,))
    return jnp.max(jnp.where(red != 0, highest + WORD * words, -1), axis=-1)
