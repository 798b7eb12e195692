"""Add numbers: read "a+b=" digit by digit, least significant first, and write the sum the same way."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._addition import BASE, carried, written_length
from etm_tasks._answers import SymbolTask
from etm_tasks._draws import check_range, scaled_length, uniforms, whole

VOCABULARY = "0123456789+= _"
PLUS, EQUALS, END = (VOCABULARY.index(symbol) for symbol in "+=_")
SIGNS = 2  # the plus and the equals sign


@dataclass(frozen=True)
class AddNumbers(SymbolTask):
    """Write the sum of two numbers read as a string.

    The inputs are one-hot symbols, one per step: the digits of a, a plus, the digits of b, an equals sign; numbers are
    written least significant digit first. The targets then are the digits of a + b, least significant first and without
    leading zeros, and the end symbol `_`. During the answer the input is `_`; with teacher forcing, from the second
    answer step on, it is the previous target. Both lengths are independent and uniform on `min_digits..max_digits`;
    only a one-digit number may be 0. Difficulty scales the second number's length: the network learns to recall the
    first number before it learns to add.

    Attributes:
        min_digits: fewest digits of a number.
        max_digits: most digits of a number.
        teacher_forcing: 1 = the previous target is an input, 0 = it is not.

    Raises:
        ValueError: `teacher_forcing` is neither 0 nor 1, or not `1 <= min_digits <= max_digits`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("add_numbers", max_digits=4)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 16, 14), (4, 16, 14))
    """

    num_symbols = len(VOCABULARY)
    alphabet = VOCABULARY

    min_digits: int = 1
    max_digits: int = 20
    teacher_forcing: int = 0

    def __post_init__(self) -> None:
        check_range("add_numbers", "min_digits", "max_digits", (self.min_digits, self.max_digits), least=1)
        if self.teacher_forcing not in (0, 1):
            raise ValueError(f"add_numbers needs teacher_forcing 0 or 1, got {self.teacher_forcing}")

    @property
    def name(self) -> str:
        """`add_numbers`."""
        return "add_numbers"

    @property
    def input_size(self) -> int:
        """The symbols."""
        return self.num_symbols

    @property
    def output_size(self) -> int:
        """The symbols."""
        return self.num_symbols

    @property
    def num_steps(self) -> int:
        """Two numbers, the signs, their sum (one digit longer at most), and the end."""
        return 2 * self.max_digits + SIGNS + self.max_digits + 2

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; difficulty scales the greatest length of the second number."""
        lengths, digits, tops = uniforms(key, (batch_size, 2, 1), (batch_size, 2, self.max_digits), (batch_size, 2, 1))
        second = scaled_length(self.min_digits, self.max_digits, difficulty)
        length = whole(lengths, self.min_digits, jnp.stack([jnp.array(self.max_digits), second])[None, :, None])
        digits = whole(digits, 0, BASE - 1)
        top = whole(tops, 1, BASE - 1)
        place = jnp.arange(self.max_digits)[None, None]
        # The most significant digit is not 0, except in the number 0, so that a number has exactly `length` digits.
        digits = jnp.where((place == length - 1) & (length > 1), top, digits)
        digits = jnp.where(place < length, digits, 0)
        total = carried(jnp.pad(jnp.sum(digits, axis=1), ((0, 0), (0, 1))))
        due = jnp.pad(total, ((0, 0), (0, 1)))
        num_due = written_length(total)[:, None]
        due = jnp.where(jnp.arange(due.shape[1])[None] < num_due, due, END)

        step = jnp.arange(self.num_steps)[None]
        plus = length[:, 0]
        equals = plus + 1 + length[:, 1]
        answer = step - equals - 1
        valid = (answer >= 0) & (answer <= num_due)

        def symbols(row: Int[Array, "batch place"], position: Int[Array, "#batch time"]) -> Int[Array, "batch time"]:
            return jnp.take_along_axis(row, jnp.clip(position, 0, row.shape[1] - 1), axis=1)

        # Lengths differ within a batch, so each phase is computed at every step and selected by the step.
        question = jnp.where(step < plus, symbols(digits[:, 0], step), symbols(digits[:, 1], step - plus - 1))
        question = jnp.where(step == plus, PLUS, jnp.where(step == equals, EQUALS, question))
        given = symbols(due, answer - 1) if self.teacher_forcing else END
        shown = jnp.where(step <= equals, question, jnp.where(answer == 0, END, given))
        known = (step <= equals) | valid
        return Episode(
            inputs=jax.nn.one_hot(shown, self.num_symbols) * known[..., None].astype(float),
            targets=jax.nn.one_hot(symbols(due, answer), self.num_symbols) * valid[..., None].astype(float),
            step_valid=valid,
        )

    def longer(self, factor: int) -> "AddNumbers":
        """Sums of two numbers of exactly `factor * max_digits` digits."""
        return replace(self, min_digits=factor * self.max_digits, max_digits=factor * self.max_digits)
