"""Add numbers: read "a+b=" digit by digit, least significant first, and write the sum in the same way."""

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
    """Write the sum of two numbers that were read as a string.

    An episode: the digits of a, a plus, the digits of b, an equals sign, all least significant first, one symbol a
    step, one-hot; then steps in which the digits of a + b are due, least significant first and without leading zeros,
    and one in which `_` is due, the end. In these steps the input is `_`; with teacher forcing it is, from the second
    on, the symbol that was due a step before. The numbers' lengths are independent, uniform on
    `min_digits..max_digits`, and only a number of one digit may be 0. An easier task has a shorter second number: the
    network learns to find the first one again before it learns to add.

    Attributes:
        min_digits: fewest digits of a number.
        max_digits: most digits of a number.
        teacher_forcing: 1 = right answers so far are inputs, 0 = they are not.

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
        """Two numbers, the signs, their sum, which may have a digit more, and the end."""
        return 2 * self.max_digits + SIGNS + self.max_digits + 2

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """Fresh episodes; difficulty scales the greatest length of the second number. The key is consumed."""
        lengths, digits, tops = uniforms(key, (batch_size, 2, 1), (batch_size, 2, self.max_digits), (batch_size, 2, 1))
        second = scaled_length(self.min_digits, self.max_digits, difficulty)
        length = whole(lengths, self.min_digits, jnp.stack([jnp.array(self.max_digits), second])[None, :, None])
        digits = whole(digits, 0, BASE - 1)
        top = whole(tops, 1, BASE - 1)
        place = jnp.arange(self.max_digits)[None, None]
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
