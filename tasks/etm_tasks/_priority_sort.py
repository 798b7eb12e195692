"""Priority sort: read bit vectors with priorities, then write the highest in order (Graves 2014, section 4.5)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import BinaryTask
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import vectors_at, with_channels


@dataclass(frozen=True)
class PrioritySort(BinaryTask):
    """Write the vectors with the highest priorities, highest first.

    An episode of n vectors: n steps of random bits, each with a priority uniform on [-1, 1] on its own channel, then
    the delimiter on another channel, then steps without input in which the vectors of the `n * answers / max_vectors`
    (rounded up) highest priorities are due. n is uniform on `min_vectors..max_vectors` and mixed within a batch; with
    `min_vectors=20` every episode is the paper's, 16 of 20.

    Attributes:
        bits: bits per vector.
        min_vectors: fewest vectors.
        max_vectors: most vectors at difficulty 1.
        answers: vectors due if there are `max_vectors`; the same share of fewer.

    Raises:
        ValueError: no bits, not `1 <= min_vectors <= max_vectors`, or not `1 <= answers <= max_vectors`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("priority_sort", max_vectors=10, answers=8)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 19, 10), (4, 19, 8))
    """

    bits: int = 8
    min_vectors: int = 5
    max_vectors: int = 20
    answers: int = 16

    def __post_init__(self) -> None:
        check_range("priority_sort", "min_vectors", "max_vectors", (self.min_vectors, self.max_vectors), least=1)
        check_range("priority_sort", "answers", "max_vectors", (self.answers, self.max_vectors), least=1)
        if self.bits < 1:
            raise ValueError(f"priority_sort needs bits >= 1, got {self.bits}")

    @property
    def name(self) -> str:
        """`priority_sort`."""
        return "priority_sort"

    @property
    def input_size(self) -> int:
        """The bits, the priority and the delimiter."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    @property
    def num_steps(self) -> int:
        """The most vectors, the delimiter, and their answers."""
        return self.max_vectors + 1 + self.answers

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 of `min_vectors` vectors, at 1 of all numbers."""
        key_number, key_priority, key_bits = jax.random.split(key, 3)
        most = scaled_length(self.min_vectors, self.max_vectors, difficulty)
        number = uniform_integers(key_number, (batch_size, 1), self.min_vectors, most)
        shape = (batch_size, self.max_vectors)
        priority = jax.random.uniform(key_priority, shape, minval=-1, maxval=1)
        bits = jax.random.bernoulli(key_bits, shape=(*shape, self.bits)).astype(float)
        # inf sorts padding vectors last.
        order = jnp.argsort(jnp.where(jnp.arange(self.max_vectors)[None] < number, -priority, jnp.inf), axis=1)
        ranked = jnp.take_along_axis(bits, order[..., None], axis=1)

        step = jnp.arange(self.num_steps)[None]
        shown, rank = step < number, step - number - 1
        due = (rank >= 0) & (rank * self.max_vectors < number * self.answers)  # rank < number * share
        return Episode(
            inputs=with_channels(vectors_at(with_channels(bits, priority), step, shown), step == number),
            targets=vectors_at(ranked, rank, due),
            step_valid=due,
        )

    def longer(self, factor: int) -> "PrioritySort":
        """Priority sort of exactly `factor * max_vectors` vectors; the same share is due."""
        vectors = factor * self.max_vectors
        return replace(self, min_vectors=vectors, max_vectors=vectors, answers=factor * self.answers)
