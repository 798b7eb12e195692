"""Sums over all arrays of a tree, in float32 whatever the dtype of the leaves; and samples of large arrays.

A sum over a parameter-sized array costs a pass through memory, and Adam's step is only three. A cosine of 4,096 entries
of each array is wrong by about 0.01, which is less than it differs between batches.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

FLOAT32 = jnp.dtype(jnp.float32)
SAMPLE = 4096  # entries of a larger array that are looked at, at most
BLOCK = 16  # neighbours looked at together: a cache line of float32. Whole rows would share one input, so say less.
GROUP = 32  # XLA sums this many rows at once on a CPU; of other numbers of rows it is three times slower
LEAST_SAMPLE = BLOCK * GROUP
COVERED = 0.9  # share of an array that the sample must stretch over, if it can


def wide(dtype: Any) -> Any:
    """The dtype to compute in with numbers of a dtype: its own, but at least float32."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits > 32 else FLOAT32


def widest(tree: Any) -> Any:
    """The dtype to compute in with all leaves of a tree."""
    return max((wide(leaf.dtype) for leaf in jax.tree.leaves(tree)), key=lambda dtype: dtype.itemsize, default=FLOAT32)


def widened(tree: Any, dtype: Any) -> Any:
    """A tree with the floats that are narrower than a dtype cast to it."""

    def one(leaf: Any) -> Any:
        return leaf.astype(dtype) if _is_float(leaf) and leaf.dtype.itemsize < dtype.itemsize else leaf

    return jax.tree.map(one, tree)


def stored_like(new: Any, old: Any) -> Any:
    """A tree with its floats in the dtypes of an older one, so that a state keeps its form from step to step."""

    def one(leaf: Any, before: Any) -> Any:
        return leaf.astype(before.dtype) if _is_float(leaf) and _is_float(before) else leaf

    return jax.tree.map(one, new, old)


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", jnp.int32), jnp.floating)


def entries_of(mask: Any) -> jax.Array:
    """How many entries a mask says exist, in float32."""
    counts = [jnp.sum(leaf, dtype=jnp.int32) for leaf in jax.tree.leaves(mask)]
    return sum(counts[1:], counts[0]).astype(jnp.float32) if counts else jnp.zeros((), jnp.float32)


def sizes(tree: Any) -> list[int]:
    """Number of entries of each leaf."""
    return [leaf.size for leaf in jax.tree.leaves(tree)]


def sampled(tree: Any, entries: int | None) -> Any:
    """At most so many entries of each larger leaf, the same of leaves of one shape; all of them with None.

    Blocks at a stride that has no divisor in common with the leaf's size, so that every row and every column has its
    turn.
    """

    def one(leaf: jax.Array) -> jax.Array:
        if entries is None or leaf.size <= entries or _is_split(leaf):
            return leaf
        blocks = leaf.size // BLOCK

        def stride(count: int) -> int:
            return next(step for step in range(blocks // count, 0, -1) if math.gcd(step, leaf.size) == 1)

        counts = range(entries // LEAST_SAMPLE * GROUP, 0, -GROUP)
        count = max(counts, key=lambda count: min(count * stride(count), COVERED * blocks))
        return leaf.reshape(-1)[: blocks * BLOCK].reshape(blocks, BLOCK)[: count * stride(count) : stride(count)]

    return jax.tree.map(one, tree)


def _is_split(leaf: jax.Array) -> bool:
    """Is it sharded explicitly? Then it has no flat form: all of its entries count."""
    return any(axis is not None for axis in jax.typeof(leaf).sharding.spec)


def inner_product(first: Any, second: Any, of: Sequence[int] | None = None) -> jax.Array:
    """Sum of products over two trees, in float32; `of` are sizes of the leaves that samples stand for."""
    parts = []
    for one, other, whole in zip(jax.tree.leaves(first), jax.tree.leaves(second), of or sizes(first), strict=True):
        # cast before the product: that of two small float16 numbers is 0
        part = jnp.sum(one.astype(jnp.float32) * other.astype(jnp.float32))
        parts.append(part if whole == one.size else part * (whole / one.size))
    return sum(parts[1:], parts[0]) if parts else jnp.zeros((), jnp.float32)


def mean_square(tree: Any, count: jax.typing.ArrayLike | None = None, of: Sequence[int] | None = None) -> jax.Array:
    """Mean of squares over all entries of a tree, in float32.

    Args:
        tree: arrays, or samples of them.
        count: how many entries there are, where some do not exist and are 0.
        of: sizes of the leaves that samples stand for.
    """
    if count is None:
        count = float(sum(of or sizes(tree)))  # as a float, since 2^31 parameters and more are no int32
    return inner_product(tree, tree, of) / jnp.maximum(jnp.asarray(count, jnp.float32), 1.0)


class Lengths(NamedTuple):
    """Lengths and angles of trees like the parameters, and of samples of them.

    Attributes:
        sizes: of the leaves.
        count: entries that exist.
        sample: entries of larger leaves that are looked at; None for all.
    """

    sizes: list[int]
    count: jax.typing.ArrayLike
    sample: int | None

    def few(self, tree: Any) -> Any:
        """The sample of a tree."""
        return sampled(tree, self.sample)

    def mean_square(self, tree: Any) -> jax.Array:
        """Of a tree or, estimated, of the one that a sample is of."""
        return mean_square(tree, self.count, self.sizes)
