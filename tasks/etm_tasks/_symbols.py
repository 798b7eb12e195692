"""What tasks whose answers are symbols have in common."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax.task import Episode, above_chance


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
