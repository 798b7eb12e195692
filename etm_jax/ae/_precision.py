"""Arithmetic in at least float32, whatever the parameters are stored in."""

from typing import Any

import jax
import jax.numpy as jnp

FLOAT32 = jnp.dtype(jnp.float32)


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
