"""Sums over all arrays of a tree, in float32 whatever the dtype of the leaves."""

from typing import Any

import jax
import jax.numpy as jnp


def size(tree: Any) -> int:
    """Number of entries."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def inner_product(first: Any, second: Any) -> jax.Array:
    """Sum of products over two trees, in float32."""
    parts = [
        jnp.sum((one * other).astype(jnp.float32))
        for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    ]
    return jnp.sum(jnp.stack(parts))


def mean_square(tree: Any, count: jax.typing.ArrayLike | None = None) -> jax.Array:
    """Mean of squares over all entries of a tree, in float32; of `count` entries, where some do not exist and are 0."""
    squares = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
    return jnp.sum(jnp.stack(squares)) / (size(tree) if count is None else count)
