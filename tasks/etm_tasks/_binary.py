"""What tasks whose answers are bits have in common."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from etm_jax.task import Episode, above_chance, bit_loss, bits_right, sequences_right
from etm_tasks._draws import whole

CHANCE = 0.5  # of a fair bit


class BinaryTask:
    """Loss and scores of a task whose answers are independent fair bits.

    Attributes:
        solved: accuracy on fresh episodes from which on the task counts as solved.
    """

    solved = 0.99

    def loss(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Mean cross-entropy of the valid bits, in nats."""
        return bit_loss(outputs, episode)

    def accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of sequences right in every bit of every valid step."""
        return sequences_right(outputs, episode)

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of right bits, scaled so that chance is 0 and all right is 1."""
        return above_chance(bits_right(outputs, episode), CHANCE)


def scaled_length(low: int, high: int, difficulty: Float[Array, ""] | float) -> Int[Array, ""]:
    """The greatest length at a difficulty in [0, 1]: `low` at 0, `high` at 1."""
    return low + jnp.round(jnp.clip(difficulty, 0, 1) * (high - low)).astype(jnp.int32)


def uniform_integers(
    key: PRNGKeyArray, shape: tuple[int, ...], low: Int[Array, "..."] | int, high: Int[Array, "..."] | int
) -> Int[Array, "..."]:
    """Whole numbers uniform on `low..high`, both included. The key is consumed."""
    return whole(jax.random.uniform(key, shape), low, high)


def check_range(task: str, low: str, high: str, values: tuple[int, int], least: int) -> None:
    """Raise a ValueError unless `least <= low <= high`."""
    if not least <= values[0] <= values[1]:
        raise ValueError(f"{task} needs {least} <= {low} <= {high}, got {low}={values[0]} and {high}={values[1]}")
