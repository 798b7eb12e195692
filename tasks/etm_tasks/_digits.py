"""Whole numbers as rows of decimal digits, least significant first."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

BASE = 10


def carried(columns: Int[Array, "*lead place"]) -> Int[Array, "*lead place"]:
    """The digits of a number whose columns may hold more than 9; what the last place cannot hold is lost."""

    def place(carry: Array, column: Array) -> tuple[Array, Array]:
        total = column + carry
        return total // BASE, total % BASE

    by_place = jnp.moveaxis(columns, -1, 0)
    return jnp.moveaxis(jax.lax.scan(place, jnp.zeros_like(by_place[0]), by_place)[1], 0, -1)


def written_length(digits: Int[Array, "*lead place"]) -> Int[Array, "*lead"]:
    """How many digits a number has when it is written without leading zeros; 0 has one."""
    places = jnp.arange(1, digits.shape[-1] + 1)
    return jnp.maximum(jnp.max(jnp.where(digits > 0, jnp.broadcast_to(places, digits.shape), 0), axis=-1), 1)


def reversed_to(digits: Int[Array, "*lead place"], length: Int[Array, "*lead"]) -> Int[Array, "*lead place"]:
    """The first `length` digits in opposite order; what follows them means nothing."""
    place = jnp.broadcast_to(jnp.arange(digits.shape[-1]), digits.shape)
    return jnp.take_along_axis(digits, jnp.maximum(length[..., None] - 1 - place, 0), axis=-1)
