"""Loss and scores by the kind of answer: bits, symbols, and answers that close with an end marker."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax.task import Episode, above_chance, bit_loss, bits_right, sequences_right

CHANCE = 0.5  # of a fair bit
END_WEIGHT = 0.1  # of the marker in performance; the rest is what it closes


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


class SymbolTask:
    """Loss and scores of a task whose answers are symbols: one, or several side by side, of an alphabet at each step.

    The output channels are one logit a symbol, for one place after the other; targets are one-hot.

    Attributes:
        num_symbols: of the alphabet.
        alphabet: a character for each symbol, to show them as; empty where they have none.
        solved: accuracy on fresh episodes from which on the task counts as solved.
        extra_scores: names of the scores that a run's summary holds besides.
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
        """True where the greatest logit is the target's and finite."""
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
    """The episode with the end marker's step no longer valid."""
    return replace(episode, step_valid=episode.step_valid & ~is_end(episode))


def ends_right(marker_right: Bool[Array, "batch time"], episode: Episode) -> Float[Array, ""]:
    """Share of sequences with the marker where it is due and at no valid step before."""
    return jnp.mean(jnp.all(marker_right | ~episode.step_valid, axis=1))


def closed_performance(
    content: Float[Array, ""], marker_right: Bool[Array, "batch time"], episode: Episode
) -> Float[Array, ""]:
    """Performance of an answer and of its end marker together.

    The marker's steps and those before count half each, so that neither "never" nor "always" scores.

    Args:
        content: performance before the marker.
        marker_right: True where the marker is said if and only if it is due.
        episode: the episode.
    """
    end = is_end(episode)
    balanced = (_share(marker_right, end) + _share(marker_right, episode.step_valid & ~end)) / 2
    return content + END_WEIGHT * (above_chance(balanced, 0.5) - content)


def _share(right: Bool[Array, "batch time"], among: Bool[Array, "batch time"]) -> Float[Array, ""]:
    return jnp.sum(right & among) / jnp.maximum(jnp.sum(among), 1)
