"""Distances between all pairs of two sets of points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_distances(
    one: Float[Array, "one column"], other: Float[Array, "other column"]
) -> Float[Array, "one other"]:
    """Squared Euclidean distances of all pairs; 0 between equal points, to the bit.

    Column by column, so memory is that of the result however many columns there are. The usual |a|^2 + |b|^2 - 2ab by
    one matrix product loses every distance below 3e-4 of the points' size to float32 rounding.
    """

    def add(total: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        return total + jnp.square(column[0][:, None] - column[1][None]), None

    start = jnp.zeros((one.shape[0], other.shape[0]), one.dtype)
    return jax.lax.scan(add, start, (one.T, other.T))[0]
