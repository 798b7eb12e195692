"""Repeat copy: write a sequence a given number of times, then an end marker (Graves 2014, section 4.2)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from etm_jax.task import Episode, above_chance, bit_right, bits_right
from etm_tasks._answers import CHANCE, BinaryTask, before_marker, closed_performance, ends_right
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import repeat_steps, repeated


@dataclass(frozen=True)
class RepeatCopy(BinaryTask):
    """Write the sequence that was shown several times, then the end marker.

    An episode of length L and r repeats: L steps of random bits, then the delimiter and the number r, each on its own
    channel; then L*r steps without input in which the bits are due r times, and one in which the end marker is due.
    Lengths and repeats are uniform and mixed within a batch. r is normalised to mean 0 and variance 1 over
    `1..max_repeats`, at every difficulty.

    Attributes:
        bits: bits per vector.
        min_length: fewest vectors.
        max_length: most vectors.
        max_repeats: most repeats at difficulty 1; the fewest is 1.

    Raises:
        ValueError: no bits, no repeats, or not `1 <= min_length <= max_length`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("repeat_copy", max_length=3, max_repeats=4)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 18, 10), (4, 18, 9))
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 10
    max_repeats: int = 10

    def __post_init__(self) -> None:
        check_range("repeat_copy", "min_length", "max_length", (self.min_length, self.max_length), least=1)
        if self.bits < 1 or self.max_repeats < 1:
            raise ValueError(f"repeat_copy needs bits >= 1 and max_repeats >= 1, got {self.bits}, {self.max_repeats}")

    @property
    def name(self) -> str:
        """`repeat_copy`."""
        return "repeat_copy"

    @property
    def input_size(self) -> int:
        """The bits, the delimiter and the number of repeats."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """The bits and the end marker."""
        return self.bits + 1

    @property
    def num_steps(self) -> int:
        """The longest sequence, the delimiter, the number, the most repeats, and the end."""
        return repeat_steps(self.max_length, self.max_repeats)

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; difficulty scales the most repeats, not the lengths."""
        key_length, key_repeats, key_bits = jax.random.split(key, 3)
        length = uniform_integers(key_length, (batch_size, 1), self.min_length, self.max_length)
        most = scaled_length(1, self.max_repeats, difficulty)
        repeats = uniform_integers(key_repeats, (batch_size, 1), 1, most)
        bits = jax.random.bernoulli(key_bits, shape=(batch_size, self.max_length, self.bits)).astype(float)
        # One vector more, for the end. Only the marker's channel tells it from the others, so its bits may be 0.
        answers = jnp.pad(bits, ((0, 0), (0, 1), (0, 1))).at[:, -1, -1].set(1)
        return repeated(bits, answers, length, repeats, self.max_repeats)

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """0.9 for the share of right bits before the end plus 0.1 for the end marker, both scaled so that chance is 0.

        The marker is scored half at the end and half before it, so "never" and "always" both score 0.
        """
        content = before_marker(episode)
        bits = replace(content, targets=content.targets[..., : self.bits])
        right = above_chance(bits_right(outputs[..., : self.bits], bits), CHANCE)
        return closed_performance(right, self._marker_right(outputs, episode), episode)

    def end_marker_accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of sequences with the end marker where it is due and not before."""
        return ends_right(self._marker_right(outputs, episode), episode)

    def longer(self, factor: int) -> "RepeatCopy":
        """Repeat copy of exactly `factor * max_length` vectors; the repeats stay `1..max_repeats`."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)

    def _marker_right(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Bool[Array, "batch time"]:
        return bit_right(outputs, episode)[..., self.bits]
