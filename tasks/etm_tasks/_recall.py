"""Associative recall: after a list of items one is shown again and its successor is due (Graves 2014, section 4.3)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import BinaryTask
from etm_tasks._draws import check_range, scaled_length, uniform_integers
from etm_tasks._vectors import vectors_at, with_channels

CLOSING_STEPS = 2  # the two query delimiters


@dataclass(frozen=True)
class AssociativeRecall(BinaryTask):
    """Answer an item with the item that followed it.

    An episode of n items: n times the item delimiter and `item_length` random bit vectors; then the query delimiter,
    the vectors of a random item other than the last, and the query delimiter again; then `item_length` steps in which
    the next item's vectors are due. The number of items is uniform on `min_items..max_items` and mixed within a batch.

    Attributes:
        bits: bits per vector.
        item_length: vectors per item.
        min_items: fewest items, at least 2.
        max_items: most items at difficulty 1.

    Raises:
        ValueError: no bits, empty items, or not `2 <= min_items <= max_items`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("recall", max_items=3)
        >>> jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4).inputs.shape
        (4, 20, 8)
    """

    bits: int = 6
    item_length: int = 3
    min_items: int = 2
    max_items: int = 6

    def __post_init__(self) -> None:
        check_range("recall", "min_items", "max_items", (self.min_items, self.max_items), least=2)
        if self.bits < 1 or self.item_length < 1:
            raise ValueError(f"recall needs bits >= 1 and item_length >= 1, got {self.bits} and {self.item_length}")

    @property
    def name(self) -> str:
        """`recall`."""
        return "recall"

    @property
    def input_size(self) -> int:
        """The bits, the item delimiter and the query delimiter."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    @property
    def num_steps(self) -> int:
        """The longest list, the query between its delimiters, and the answer."""
        return self.max_items * (self.item_length + 1) + 2 * self.item_length + CLOSING_STEPS

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 of `min_items` items, at 1 of all numbers."""
        key_items, key_query, key_bits = jax.random.split(key, 3)
        most = scaled_length(self.min_items, self.max_items, difficulty)
        items = uniform_integers(key_items, (batch_size, 1), self.min_items, most)
        query = uniform_integers(key_query, (batch_size, 1), 0, items - 2)
        shape = (batch_size, self.max_items, self.item_length, self.bits)
        bits = jax.random.bernoulli(key_bits, shape=shape).astype(float)

        step = jnp.arange(self.num_steps)[None]
        per_item = self.item_length + 1
        query_start = items * per_item  # the first query delimiter
        answer_start = query_start + self.item_length + CLOSING_STEPS
        in_list, in_answer = step < query_start, (step >= answer_start) & (step < answer_start + self.item_length)
        in_query = (step > query_start) & (step < answer_start - 1)
        # The item and vector shown at each step; vector -1 is the delimiter before an item.
        item = jnp.where(in_list, step // per_item, query)
        vector = jnp.where(in_list, step % per_item, step - query_start) - 1
        shown = (in_list & (vector >= 0)) | in_query
        item_delimiter = in_list & (vector < 0)
        query_delimiter = (step == query_start) | (step == answer_start - 1)

        def vectors(item: Array, vector: Array, where: Array) -> Array:
            flat = bits.reshape(batch_size, -1, self.bits)
            return vectors_at(flat, item * self.item_length + vector, where)

        return Episode(
            inputs=with_channels(vectors(item, vector, shown), item_delimiter, query_delimiter),
            targets=vectors(query + 1, step - answer_start, in_answer),
            step_valid=in_answer,
        )

    def longer(self, factor: int) -> "AssociativeRecall":
        """Recall from exactly `factor * max_items` items."""
        return replace(self, min_items=factor * self.max_items, max_items=factor * self.max_items)
