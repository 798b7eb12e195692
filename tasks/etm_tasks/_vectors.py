"""Episode layouts of the copy tasks: sequences of vectors that are shown and then due."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax.task import Episode

Vectors = Float[Array, "batch length width"]
Count = Int[Array, "batch 1"]


def vectors_at(
    vectors: Vectors, position: Int[Array, "#batch time"], where: Bool[Array, "#batch time"]
) -> Float[Array, "batch time width"]:
    """At each step the vector at `position`, or zeros where `where` is False."""
    index = jnp.clip(position, 0, vectors.shape[1] - 1)
    index = jnp.broadcast_to(index, (vectors.shape[0], index.shape[1]))
    return jnp.take_along_axis(vectors, index[..., None], axis=1) * where[..., None].astype(vectors.dtype)


def with_channels(
    vectors: Float[Array, "batch time width"], *channels: Float[Array, "batch time"] | Bool[Array, "batch time"]
) -> Float[Array, "batch time input"]:
    """The vectors with further channels appended."""
    return jnp.concatenate([vectors, *(channel.astype(vectors.dtype)[..., None] for channel in channels)], axis=-1)


def copied(vectors: Vectors, length: Count, *, reverse: bool = False) -> Episode:
    """The first `length` vectors, the delimiter on its own channel, then `length` steps in which they are due.

    Args:
        vectors: padded to the longest episode.
        length: number of vectors in each episode.
        reverse: True = due from last to first.
    """
    step = jnp.arange(2 * vectors.shape[1] + 1)[None]
    due = (step > length) & (step <= 2 * length)
    position = 2 * length - step if reverse else step - length - 1
    return Episode(
        inputs=with_channels(vectors_at(vectors, step, step < length), step == length),
        targets=vectors_at(vectors, position, due),
        step_valid=due,
    )


def repeated(
    vectors: Vectors, answers: Float[Array, "batch answer output"], length: Count, repeats: Count, most_repeats: int
) -> Episode:
    """The first `length` vectors, the delimiter, the number of repeats, then the answers `repeats` times and the end.

    Delimiter and number have their own channels; the number is normalised to mean 0 and variance 1 over
    `1..most_repeats`.

    Args:
        vectors: padded to the longest episode.
        answers: the targets for the vectors, followed by the target at the end.
        length: number of vectors in each episode, at least 1.
        repeats: number of repeats in each episode, `1..most_repeats`.
        most_repeats: most repeats at full difficulty.
    """
    longest = vectors.shape[1]
    step = jnp.arange(repeat_steps(longest, most_repeats))[None]
    start = length + 2
    end = start + length * repeats
    deviation = math.sqrt((most_repeats**2 - 1) / 12) or 1.0  # of a uniform integer; 0 if there is only one
    number = (repeats.astype(vectors.dtype) - (most_repeats + 1) / 2) / deviation
    due = (step >= start) & (step <= end)
    return Episode(
        inputs=with_channels(
            vectors_at(vectors, step, step < length),
            step == length,
            number * (step == length + 1).astype(vectors.dtype),
        ),
        targets=vectors_at(answers, jnp.where(step < end, (step - start) % length, longest), due),
        step_valid=due,
    )


def repeat_steps(longest: int, most_repeats: int) -> int:
    """Length of the longest episode of `repeated`: vectors, delimiter, number, repeats, end."""
    return longest + 2 + longest * most_repeats + 1
