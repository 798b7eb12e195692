"""Copy of symbols: read a string over an alphabet and a delimiter, then write the string."""

from dataclasses import dataclass, replace

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import SymbolTask
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import copied


@dataclass(frozen=True)
class VocabCopy(SymbolTask):
    """Write back the string that was shown.

    An episode of length L: L steps of one-hot symbols, each uniform on the alphabet, the delimiter on its own channel,
    then L steps without input in which the symbols are due. Lengths are uniform on `min_length..max_length` and mixed
    within a batch. `symbol_accuracy` is the share of right characters.

    Attributes:
        symbols: size of the alphabet: 97 for the printable ASCII characters and two controls, 100 for Python's
            `string.printable`.
        min_length: fewest symbols.
        max_length: most symbols at difficulty 1.

    Raises:
        ValueError: fewer than 2 symbols, or not `1 <= min_length <= max_length`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("vocab_copy", symbols=97, max_length=20)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 41, 98), (4, 41, 97))
    """

    symbols: int = 97
    min_length: int = 1
    max_length: int = 20

    def __post_init__(self) -> None:
        check_range("vocab_copy", "min_length", "max_length", (self.min_length, self.max_length), least=1)
        if self.symbols < 2:
            raise ValueError(f"vocab_copy needs symbols >= 2, got {self.symbols}")

    @property
    def name(self) -> str:
        """`vocab_copy`."""
        return "vocab_copy"

    @property
    def num_symbols(self) -> int:
        """Size of the alphabet."""
        return self.symbols

    @property
    def input_size(self) -> int:
        """The symbols and the delimiter."""
        return self.symbols + 1

    @property
    def output_size(self) -> int:
        """The symbols."""
        return self.symbols

    @property
    def num_steps(self) -> int:
        """Twice the greatest length, plus the delimiter."""
        return 2 * self.max_length + 1

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 of length `min_length`, at 1 of all lengths."""
        key_length, key_string = jax.random.split(key)
        longest = scaled_length(self.min_length, self.max_length, difficulty)
        length = uniform_integers(key_length, (batch_size, 1), self.min_length, longest)
        string = uniform_integers(key_string, (batch_size, self.max_length), 0, self.symbols - 1)
        return copied(jax.nn.one_hot(string, self.symbols), length)

    def longer(self, factor: int) -> "VocabCopy":
        """Strings of exactly `factor * max_length` symbols."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)
