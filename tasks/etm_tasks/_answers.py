"""Loss and scores by kind of answer: bits, symbols, and answers that end with a marker."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax.task import Episode, above_chance, bit_loss, bits_right, sequences_right

CHANCE = 0.5  # accuracy of guessing a fair bit
END_WEIGHT = 0.1  # weight of the end marker in performance


class BinaryTask:
    """Loss and scores of a task whose answers are independent fair bits.

    Attributes:
        solved: accuracy on new episodes at which the task counts as solved.
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


class SymbolTask:
    """Loss and scores of a task whose answers are one or several symbols of an alphabet per step.

    The output channels are logits, one per symbol, place by place; targets are one-hot.

    Attributes:
        num_symbols: size of the alphabet.
        alphabet: a character for each symbol, for display; empty if there are none.
        solved: accuracy on new episodes at which the task counts as solved.
        extra_scores: names of further scores for a run's summary.
    """

    num_symbols: int
    alphabet: str = ""
    solved = 0.99
    extra_scores = ("symbol_accuracy",)

    def loss(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Mean cross-entropy of the valid symbols, in nats; 0 if no step is valid."""
        valid = episode.step_valid[..., None, None]
        logits = jnp.where(valid, self._by_place(outputs), 0)
        nats = -jnp.sum(jnp.where(valid, self._by_place(episode.targets), 0) * jax.nn.log_softmax(logits), axis=-1)
        return jnp.sum(nats) / jnp.maximum(jnp.sum(valid, dtype=nats.dtype) * logits.shape[-2], 1)

    def accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of sequences right in every symbol of every valid step, among those with a valid step."""
        right = jnp.all(self.right(outputs, episode) | ~episode.step_valid[..., None], axis=(1, 2))
        scored = jnp.any(episode.step_valid, axis=1)
        return jnp.sum(right & scored) / jnp.maximum(jnp.sum(scored), 1)

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of right symbols, scaled so that chance is 0 and all right is 1."""
        return above_chance(self.symbol_accuracy(outputs, episode), 1 / self.num_symbols)

    def symbol_accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of the valid symbols that are right; 0 if no step is valid."""
        right, valid = self.right(outputs, episode), episode.step_valid[..., None]
        return jnp.sum(right & valid) / jnp.maximum(jnp.sum(valid) * right.shape[-1], 1)

    def right(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Bool[Array, "batch time place"]:
        """True where the largest logit is the target's and all logits are finite."""
        logits, targets = self._by_place(outputs), self._by_place(episode.targets)
        chosen = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        return chosen & jnp.all(jnp.isfinite(logits), axis=-1)

    def _by_place(self, channels: Float[Array, "batch time output"]) -> Float[Array, "batch time place symbol"]:
        return channels.reshape(*channels.shape[:-1], -1, self.num_symbols)


def is_end(episode: Episode) -> Bool[Array, "batch time"]:
    """True at the last valid step of each sequence."""
    valid = episode.step_valid
    return valid & (jnp.cumsum(valid, axis=1) == jnp.sum(valid, axis=1, keepdims=True))


def before_marker(episode: Episode) -> Episode:
    """The episode without the end marker's step."""
    return replace(episode, step_valid=episode.step_valid & ~is_end(episode))


def ends_right(marker_right: Bool[Array, "batch time"], episode: Episode) -> Float[Array, ""]:
    """Share of sequences with the marker where it is due and at no earlier valid step."""
    return jnp.mean(jnp.all(marker_right | ~episode.step_valid, axis=1))


def closed_performance(
    content: Float[Array, ""], marker_right: Bool[Array, "batch time"], episode: Episode
) -> Float[Array, ""]:
    """Performance of an answer together with its end marker.

    The marker is scored half on the end steps and half on the steps before, so "never" and "always" both score 0.

    Args:
        content: performance before the marker.
        marker_right: True where the marker is given if and only if it is due.
        episode: the episode.
    """
    end = is_end(episode)
    balanced = (_share(marker_right, end) + _share(marker_right, episode.step_valid & ~end)) / 2
    return content + END_WEIGHT * (above_chance(balanced, 0.5) - content)


def _share(right: Bool[Array, "batch time"], among: Bool[Array, "batch time"]) -> Float[Array, ""]:
    return jnp.sum(right & among) / jnp.maximum(jnp.sum(among), 1)
