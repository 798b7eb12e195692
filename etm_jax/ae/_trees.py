"""Arithmetic on pytrees in at least float32: dtypes, sums over all arrays, and samples of large arrays.

Why samples: a sum over a parameter-sized array costs a pass through memory, and Adam's step needs only three. A cosine
estimated from 4,096 entries of each array is off by about 0.01, less than its variation between batches.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

FLOAT32 = jnp.dtype(jnp.float32)
SAMPLE = 4096  # most entries sampled from one array
BLOCK = 16  # contiguous entries: a cache line of float32. Whole rows would all belong to one input and tell less.
GROUP = 32  # XLA sums this many rows at once on a CPU; other numbers of rows are three times slower
LEAST_SAMPLE = BLOCK * GROUP
COVERED = 0.9  # share of the array that the sample should span, if possible


def wide(dtype: Any) -> Any:
    """The dtype to compute in: the given one, but at least float32."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits > 32 else FLOAT32


def widest(tree: Any) -> Any:
    """The dtype to compute in for all leaves of a tree: the widest of theirs, but at least float32."""
    return max((wide(leaf.dtype) for leaf in jax.tree.leaves(tree)), key=lambda dtype: dtype.itemsize, default=FLOAT32)


def widened(tree: Any, dtype: Any) -> Any:
    """A tree with its narrower floats cast to `dtype`."""

    def one(leaf: Any) -> Any:
        return leaf.astype(dtype) if _is_float(leaf) and leaf.dtype.itemsize < dtype.itemsize else leaf

    return jax.tree.map(one, tree)


def stored_like(new: Any, old: Any) -> Any:
    """`new` with its floats cast to the dtypes of `old`, so that a state keeps its dtypes from step to step."""

    def one(leaf: Any, before: Any) -> Any:
        return leaf.astype(before.dtype) if _is_float(leaf) and _is_float(before) else leaf

    return jax.tree.map(one, new, old)


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", jnp.int32), jnp.floating)


def entries_of(mask: Any) -> jax.Array:
    """Number of True entries of a mask, in float32."""
    counts = [jnp.sum(leaf, dtype=jnp.int32) for leaf in jax.tree.leaves(mask)]
    return sum(counts[1:], counts[0]).astype(jnp.float32) if counts else jnp.zeros((), jnp.float32)


def sizes(tree: Any) -> list[int]:
    """Number of entries of each leaf."""
    return [leaf.size for leaf in jax.tree.leaves(tree)]


def sampled(tree: Any, entries: int | None) -> Any:
    """At most `entries` entries of each leaf; the same positions for leaves of one shape. With None, everything."""

    def one(leaf: jax.Array) -> jax.Array:
        if entries is None or leaf.size <= entries or _is_split(leaf):
            return leaf
        blocks = leaf.size // BLOCK

        # A stride coprime to the leaf's size hits every row and every column.
        def stride(count: int) -> int:
            return next(step for step in range(blocks // count, 0, -1) if math.gcd(step, leaf.size) == 1)

        # A coprime stride may be much shorter than blocks / count; prefer fewer blocks that span more of the leaf.
        counts = range(entries // LEAST_SAMPLE * GROUP, 0, -GROUP)
        count = max(counts, key=lambda count: min(count * stride(count), COVERED * blocks))
        return leaf.reshape(-1)[: blocks * BLOCK].reshape(blocks, BLOCK)[: count * stride(count) : stride(count)]

    return jax.tree.map(one, tree)


def _is_split(leaf: jax.Array) -> bool:
    """True if the leaf is sharded explicitly. It cannot be flattened then, so it is not sampled."""
    return any(axis is not None for axis in jax.typeof(leaf).sharding.spec)


def inner_product(first: Any, second: Any, of: Sequence[int] | None = None) -> jax.Array:
    """Sum of products over two trees, in float32; `of` are the full sizes of sampled leaves."""
    parts = []
    for one, other, whole in zip(jax.tree.leaves(first), jax.tree.leaves(second), of or sizes(first), strict=True):
        # Cast before multiplying: the product of two small float16 numbers is 0.
        part = jnp.sum(one.astype(jnp.float32) * other.astype(jnp.float32))
        parts.append(part if whole == one.size else part * (whole / one.size))
    return sum(parts[1:], parts[0]) if parts else jnp.zeros((), jnp.float32)


def mean_square(tree: Any, count: jax.typing.ArrayLike | None = None, of: Sequence[int] | None = None) -> jax.Array:
    """Mean of squares over all entries of a tree, in float32.

    Args:
        tree: arrays, or samples of them.
        count: number of entries that exist, if some are masked (and 0).
        of: full sizes of sampled leaves.
    """
    if count is None:
        count = float(sum(of or sizes(tree)))  # a float, since 2^31 parameters overflow int32
    return inner_product(tree, tree, of) / jnp.maximum(jnp.asarray(count, jnp.float32), 1.0)


class Norms(NamedTuple):
    """Norms of trees like the parameters, exact or estimated from samples.

    Attributes:
        sizes: sizes of the leaves.
        count: number of entries that exist.
        sample: most entries sampled from one leaf; None for all.
    """

    sizes: list[int]
    count: jax.typing.ArrayLike
    sample: int | None

    def sampled(self, tree: Any) -> Any:
        """A sample of the tree."""
        return sampled(tree, self.sample)

    def mean_square(self, tree: Any) -> jax.Array:
        """Mean square of a tree, or an estimate of it from a sample."""
        return mean_square(tree, self.count, self.sizes)
