"""Repeat copy of symbols: write a string a given number of times, then the end symbol."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from etm_jax.task import Episode, above_chance
from etm_tasks._answers import SymbolTask, before_marker, closed_performance, ends_right, is_end
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import repeat_steps, repeated


@dataclass(frozen=True)
class VocabRepeatCopy(SymbolTask):
    r"""Write the string that was shown several times, then the end symbol.

    The layout is that of `RepeatCopy` with one-hot symbols. The last symbol of the alphabet is the end symbol ('\n' in
    an alphabet of characters). Strings are drawn from the other symbols, so it only occurs at the end.

    Attributes:
        symbols: size of the alphabet, including the end symbol.
        min_length: fewest symbols of a string.
        max_length: most symbols of a string.
        max_repeats: most repeats at difficulty 1; the fewest is 1.

    Raises:
        ValueError: fewer than 2 symbols, no repeats, or not `1 <= min_length <= max_length`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("vocab_repeat_copy", max_length=3, max_repeats=4)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 18, 99), (4, 18, 97))
    """

    symbols: int = 97
    min_length: int = 1
    max_length: int = 10
    max_repeats: int = 10

    def __post_init__(self) -> None:
        check_range("vocab_repeat_copy", "min_length", "max_length", (self.min_length, self.max_length), least=1)
        if self.symbols < 2 or self.max_repeats < 1:
            got = f"{self.symbols} and {self.max_repeats}"
            raise ValueError(f"vocab_repeat_copy needs symbols >= 2 and max_repeats >= 1, got {got}")

    @property
    def name(self) -> str:
        """`vocab_repeat_copy`."""
        return "vocab_repeat_copy"

    @property
    def num_symbols(self) -> int:
        """Size of the alphabet, including the end symbol."""
        return self.symbols

    @property
    def input_size(self) -> int:
        """The symbols, the delimiter and the number of repeats."""
        return self.symbols + 2

    @property
    def output_size(self) -> int:
        """The symbols."""
        return self.symbols

    @property
    def num_steps(self) -> int:
        """The longest string, the delimiter, the number, the most repeats, and the end."""
        return repeat_steps(self.max_length, self.max_repeats)

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; difficulty scales the most repeats, not the lengths."""
        key_length, key_repeats, key_string = jax.random.split(key, 3)
        length = uniform_integers(key_length, (batch_size, 1), self.min_length, self.max_length)
        most = scaled_length(1, self.max_repeats, difficulty)
        repeats = uniform_integers(key_repeats, (batch_size, 1), 1, most)
        end = self.symbols - 1
        string = uniform_integers(key_string, (batch_size, self.max_length), 0, end - 1)
        answers = jax.nn.one_hot(jnp.pad(string, ((0, 0), (0, 1)), constant_values=end), self.symbols)
        return repeated(answers[:, :-1], answers, length, repeats, self.max_repeats)

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """0.9 for the share of right symbols before the end plus 0.1 for the end, both scaled so that chance is 0.

        The end symbol is scored half at the end and half before it, so "never" and "always" both score 0.
        """
        right = above_chance(self.symbol_accuracy(outputs, before_marker(episode)), 1 / self.symbols)
        return closed_performance(right, self._marker_right(outputs, episode), episode)

    def end_marker_accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of sequences with the end symbol where it is due and not before."""
        return ends_right(self._marker_right(outputs, episode), episode)

    def longer(self, factor: int) -> "VocabRepeatCopy":
        """Strings of exactly `factor * max_length` symbols; the repeats stay `1..max_repeats`."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)

    def _marker_right(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Bool[Array, "batch time"]:
        said = jnp.argmax(outputs, axis=-1) == self.symbols - 1
        return (said == is_end(episode)) & jnp.all(jnp.isfinite(outputs), axis=-1)
