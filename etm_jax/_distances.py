"""Distances between all pairs of two sets of points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_distances(
    one: Float[Array, "one column"], other: Float[Array, "other column"]
) -> Float[Array, "one other"]:
    """Squared Euclidean distances of all pairs; exactly 0 between equal points. Memory: that of the result."""

    def add(total: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        return total + jnp.square(column[0][:, None] - column[1][None]), None

    # Column by column for the sake of memory. The usual |a|^2 + |b|^2 - 2ab as one matrix product loses every distance
    # below 3e-4 of the points' size to float32 rounding.
    start = jnp.zeros((one.shape[0], other.shape[0]), one.dtype)
    return jax.lax.scan(add, start, (one.T, other.T))[0]
