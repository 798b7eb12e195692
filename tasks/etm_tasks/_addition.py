"""Addition: after each number of a list, give the sum so far (Graves 2016, section 3.3)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import SymbolTask
from etm_tasks._draws import check_range, scaled_length, uniforms, whole

BASE = 10
NO_DIGIT = BASE  # the eleventh symbol


@dataclass(frozen=True)
class Addition(SymbolTask):
    """Add up a list of numbers and give the sum after each number but the first.

    A step shows one number, most significant digit first: each digit is one-hot on its own ten channels, unused
    channels are 0. Digits are uniform, so a number may start with zeros. The target is the sum without leading zeros,
    most significant digit first; unused places hold an eleventh symbol, "no digit". The number of numbers is uniform on
    `min_length..max_length`, the number of digits of each on `1..digits`.

    Attributes:
        digits: most digits of a number at difficulty 1.
        min_length: fewest numbers, at least 2.
        max_length: most numbers at difficulty 1.
        sum_digits: digits of the answer.

    Raises:
        ValueError: no digits, not `2 <= min_length <= max_length`, or the sum may need more than `sum_digits`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("addition", digits=3)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 5, 30), (4, 5, 66))
    """

    num_symbols = BASE + 1

    digits: int = 5
    min_length: int = 2
    max_length: int = 5
    sum_digits: int = 6

    def __post_init__(self) -> None:
        check_range("addition", "min_length", "max_length", (self.min_length, self.max_length), least=2)
        if self.digits < 1:
            raise ValueError(f"addition needs digits >= 1, got {self.digits}")
        needed = len(str(self.max_length * (BASE**self.digits - 1)))
        if self.sum_digits < needed:
            raise ValueError(
                f"addition needs sum_digits >= {needed} for {self.max_length} numbers of {self.digits} digits, "
                f"got {self.sum_digits}; raise it, also to leave room for longer(factor)"
            )

    @property
    def name(self) -> str:
        """`addition`."""
        return "addition"

    @property
    def input_size(self) -> int:
        """Ten channels per digit."""
        return BASE * self.digits

    @property
    def output_size(self) -> int:
        """Eleven symbols per place of the sum."""
        return self.num_symbols * self.sum_digits

    @property
    def num_steps(self) -> int:
        """The most numbers."""
        return self.max_length

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 `min_length` numbers of one digit, at 1 all lengths."""
        shape = (batch_size, self.max_length)
        lengths, widths, digits = uniforms(key, (batch_size, 1), shape, (*shape, self.digits))
        longest = scaled_length(self.min_length, self.max_length, difficulty)
        length = whole(lengths, self.min_length, longest)
        width = whole(widths, 1, scaled_length(1, self.digits, difficulty))
        digits = whole(digits, 0, BASE - 1)  # most significant first

        shown_step = jnp.arange(self.max_length)[None] < length
        shown_digit = (jnp.arange(self.digits)[None, None] < width[..., None]) & shown_step[..., None]
        inputs = jax.nn.one_hot(digits, BASE) * shown_digit[..., None].astype(float)

        # Padding numbers produce further sums, which step_valid excludes.
        # Least significant digit first, so that the digits of all numbers line up.
        number = jnp.where(jnp.arange(self.digits)[None, None] < width[..., None], reversed_to(digits, width), 0)
        columns = jnp.cumsum(jnp.pad(number, ((0, 0), (0, 0), (0, self.sum_digits - self.digits))), axis=1)
        total = carried(columns)
        written = written_length(total)
        place = jnp.arange(self.sum_digits)[None, None]
        symbols = jnp.where(place < written[..., None], reversed_to(total, written), NO_DIGIT)
        due = shown_step & (jnp.arange(self.max_length)[None] > 0)
        targets = jax.nn.one_hot(symbols, self.num_symbols) * due[..., None, None].astype(float)
        return Episode(inputs=inputs.reshape(*shape, -1), targets=targets.reshape(*shape, -1), step_valid=due)

    def longer(self, factor: int) -> "Addition":
        """Addition of exactly `factor * max_length` numbers.

        Raises:
            ValueError: the sum may need more than `sum_digits`; the default has room for twice the length.
        """
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)


def carried(columns: Int[Array, "*lead place"]) -> Int[Array, "*lead place"]:
    """The decimal digits of column sums, least significant first; a carry out of the last place is lost."""

    def place(carry: Array, column: Array) -> tuple[Array, Array]:
        total = column + carry
        return total // BASE, total % BASE

    by_place = jnp.moveaxis(columns, -1, 0)
    return jnp.moveaxis(jax.lax.scan(place, jnp.zeros_like(by_place[0]), by_place)[1], 0, -1)


def written_length(digits: Int[Array, "*lead place"]) -> Int[Array, "*lead"]:
    """Number of digits without leading zeros; 1 for the number 0."""
    places = jnp.arange(1, digits.shape[-1] + 1)
    return jnp.maximum(jnp.max(jnp.where(digits > 0, jnp.broadcast_to(places, digits.shape), 0), axis=-1), 1)


def reversed_to(digits: Int[Array, "*lead place"], length: Int[Array, "*lead"]) -> Int[Array, "*lead place"]:
    """The first `length` digits in reverse order; later entries are arbitrary."""
    place = jnp.broadcast_to(jnp.arange(digits.shape[-1]), digits.shape)
    return jnp.take_along_axis(digits, jnp.maximum(length[..., None] - 1 - place, 0), axis=-1)
