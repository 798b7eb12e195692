"""Random numbers for samplers: one draw, cut up. On CPU every draw costs a third of a second of compile time."""

import math
from itertools import accumulate

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def uniforms(key: PRNGKeyArray, *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Independent arrays uniform on [0, 1), of the shapes given. The key is consumed."""
    sizes = [math.prod(shape) for shape in shapes]
    parts = jnp.split(jax.random.uniform(key, (sum(sizes),)), list(accumulate(sizes))[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def whole(draws: Float[Array, "..."], low: Int[Array, "..."] | int, high: Int[Array, "..."] | int) -> Int[Array, "..."]:
    """Uniform draws as whole numbers uniform on `low..high`, both included."""
    count = jnp.asarray(high - low + 1)
    return low + jnp.minimum(jnp.floor(draws * count.astype(draws.dtype)).astype(jnp.int32), high - low)


def one_of(draws: Float[Array, " item"], allowed: Bool[Array, " item"]) -> Int[Array, ""]:
    """The index of one of those that are allowed, all with equal chance, from one uniform draw an item."""
    return jnp.argmax(jnp.where(allowed, draws, -1.0))
