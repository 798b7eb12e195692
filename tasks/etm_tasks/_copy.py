"""Copy: read a sequence of random bit vectors and a delimiter, then write the sequence (Graves 2014, section 4.1)."""

from dataclasses import dataclass, replace

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import BinaryTask
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import copied


@dataclass(frozen=True)
class Copy(BinaryTask):
    """Write back the sequence that was shown.

    An episode of length L: L steps of random bits, the delimiter on its own channel, then L steps without input in
    which the bits are due. Lengths are uniform on `min_length..max_length` and mixed within a batch.

    Attributes:
        bits: bits per vector.
        min_length: fewest vectors. 0 allows empty episodes, which no score counts.
        max_length: most vectors at difficulty 1.

    Raises:
        ValueError: no bits, or not `0 <= min_length <= max_length` with `max_length >= 1`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("copy", bits=8, max_length=20)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 41, 9), (4, 41, 8))
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 20

    def __post_init__(self) -> None:
        check_range("copy", "min_length", "max_length", (self.min_length, self.max_length), least=0)
        if self.bits < 1 or self.max_length < 1:
            raise ValueError(f"copy needs bits >= 1 and max_length >= 1, got {self.bits} and {self.max_length}")

    @property
    def name(self) -> str:
        """`copy`."""
        return "copy"

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
        return copied(bits, length)

    def longer(self, factor: int) -> "Copy":
        """Copy of exactly `factor * max_length` vectors."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)
