"""Random numbers for samplers. One draw is split into all arrays: on CPU each draw takes 0.3 s to compile."""

import math
from itertools import accumulate

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def uniforms(key: PRNGKeyArray, *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Independent arrays of the given shapes, uniform on [0, 1)."""
    sizes = [math.prod(shape) for shape in shapes]
    parts = jnp.split(jax.random.uniform(key, (sum(sizes),)), list(accumulate(sizes))[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def whole(draws: Float[Array, "..."], low: Int[Array, "..."] | int, high: Int[Array, "..."] | int) -> Int[Array, "..."]:
    """Turn uniform draws into integers uniform on `low..high`, both included."""
    count = jnp.asarray(high - low + 1)
    return low + jnp.minimum(jnp.floor(draws * count.astype(draws.dtype)).astype(jnp.int32), high - low)


def one_of(draws: Float[Array, " item"], allowed: Bool[Array, " item"]) -> Int[Array, ""]:
    """Index of a random allowed item, all equally likely, from one uniform draw per item."""
    return jnp.argmax(jnp.where(allowed, draws, -1.0))


def scaled_length(low: int, high: int, difficulty: Float[Array, ""] | float) -> Int[Array, ""]:
    """The greatest length at a difficulty in [0, 1]: `low` at 0, `high` at 1."""
    return low + jnp.round(jnp.clip(difficulty, 0, 1) * (high - low)).astype(jnp.int32)


def uniform_integers(
    key: PRNGKeyArray, shape: tuple[int, ...], low: Int[Array, "..."] | int, high: Int[Array, "..."] | int
) -> Int[Array, "..."]:
    """Integers uniform on `low..high`, both included."""
    return whole(jax.random.uniform(key, shape), low, high)


def check_range(task: str, low: str, high: str, values: tuple[int, int], least: int) -> None:
    """Raise a ValueError unless `least <= low <= high`."""
    if not least <= values[0] <= values[1]:
        raise ValueError(f"{task} needs {least} <= {low} <= {high}, got {low}={values[0]} and {high}={values[1]}")
