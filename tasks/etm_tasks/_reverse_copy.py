"""Reverse copy: read a sequence of random bit vectors and a delimiter, then write the sequence backwards."""

from dataclasses import dataclass, replace

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import BinaryTask
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import copied


@dataclass(frozen=True)
class ReverseCopy(BinaryTask):
    """Write back the sequence that was shown, last vector first.

    An episode of `Copy` with the answer reversed: a stack instead of a queue.

    Attributes:
        bits: bits per vector.
        min_length: fewest vectors.
        max_length: most vectors at difficulty 1.

    Raises:
        ValueError: no bits, or not `1 <= min_length <= max_length`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("reverse_copy", bits=8, max_length=20)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 41, 9), (4, 41, 8))
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 20

    def __post_init__(self) -> None:
        check_range("reverse_copy", "min_length", "max_length", (self.min_length, self.max_length), least=1)
        if self.bits < 1:
            raise ValueError(f"reverse_copy needs bits >= 1, got {self.bits}")

    @property
    def name(self) -> str:
        """`reverse_copy`."""
        return "reverse_copy"

    @property
    def input_size(self) -> int:
        """The bits and the delimiter."""
        return self.bits + 1

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    @property
    def num_steps(self) -> int:
        """Twice the greatest length, plus the delimiter."""
        return 2 * self.max_length + 1

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 of length `min_length`, at 1 of all lengths."""
        key_length, key_bits = jax.random.split(key)
        longest = scaled_length(self.min_length, self.max_length, difficulty)
        length = uniform_integers(key_length, (batch_size, 1), self.min_length, longest)
        bits = jax.random.bernoulli(key_bits, shape=(batch_size, self.max_length, self.bits)).astype(float)
        return copied(bits, length, reverse=True)

    def longer(self, factor: int) -> "ReverseCopy":
        """Reverse copy of exactly `factor * max_length` vectors."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)
