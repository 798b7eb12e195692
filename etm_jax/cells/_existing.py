"""Zero where nothing exists, whatever stands there."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def existing(array: Float[Array, "..."], *exists: Bool[Array, "_"]) -> Float[Array, "..."]:
    """The array, 0 in every entry that does not exist along one of its first axes; gradients there are 0 too."""

    def along(axis: int, mask: Bool[Array, "_"]) -> Bool[Array, "..."]:
        return mask.reshape([-1 if position == axis else 1 for position in range(array.ndim)])

    everywhere = functools.reduce(jnp.logical_and, [along(axis, mask) for axis, mask in enumerate(exists)])
    return jnp.where(everywhere, array, 0)
