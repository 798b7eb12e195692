"""Logic: chains of binary gates whose result carries over to the next step (Graves 2016, section 3.2)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import BinaryTask
from etm_tasks._draws import check_range, scaled_length, uniforms, whole

GATES = {  # the result at (P, Q) = (1, 1), (1, 0), (0, 1), (0, 0)
    "NOR": (0, 0, 0, 1),
    "Xq": (0, 0, 1, 0),
    "ABJ": (0, 1, 0, 0),
    "XOR": (0, 1, 1, 0),
    "NAND": (0, 1, 1, 1),
    "AND": (1, 0, 0, 0),
    "XNOR": (1, 0, 0, 1),
    "if/then": (1, 0, 1, 1),
    "then/if": (1, 1, 0, 1),
    "OR": (1, 1, 1, 0),
}


@dataclass(frozen=True)
class Logic(BinaryTask):
    """Apply a chain of gates to two bits, a new chain at each step.

    A step shows two bits b0 and b1 and a list of gates T1, T2, ..; b(i+1) = Ti(b(i), b(i-1)), and the last one is due
    in the same step. From the second step on b0 is the previous answer and is shown as 0. The number of steps is
    uniform on `min_length..max_length`, the number of gates per step on `1..max_gates`.

    Attributes:
        min_length: fewest steps.
        max_length: most steps at difficulty 1.
        max_gates: most gates per step at difficulty 1.

    Raises:
        ValueError: no gates, or not `1 <= min_length <= max_length`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("logic", max_length=3)
        >>> jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4).inputs.shape
        (4, 3, 102)
    """

    min_length: int = 1
    max_length: int = 10
    max_gates: int = 10

    def __post_init__(self) -> None:
        check_range("logic", "min_length", "max_length", (self.min_length, self.max_length), least=1)
        if self.max_gates < 1:
            raise ValueError(f"logic needs max_gates >= 1, got {self.max_gates}")

    @property
    def name(self) -> str:
        """`logic`."""
        return "logic"

    @property
    def input_size(self) -> int:
        """Two bits, and one channel per gate and kind."""
        return 2 + self.max_gates * len(GATES)

    @property
    def output_size(self) -> int:
        """One bit."""
        return 1

    @property
    def num_steps(self) -> int:
        """The greatest length."""
        return self.max_length

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 `min_length` steps of one gate, at 1 all lengths."""
        shape = (batch_size, self.max_length)
        lengths, bits, numbers, kinds = uniforms(key, (batch_size, 1), (*shape, 2), shape, (*shape, self.max_gates))
        longest = scaled_length(self.min_length, self.max_length, difficulty)
        length = whole(lengths, self.min_length, longest)
        bits = whole(bits, 0, 1)
        number = whole(numbers, 1, scaled_length(1, self.max_gates, difficulty))
        kind = whole(kinds, 0, len(GATES) - 1)

        exists = jnp.arange(self.max_gates)[None, None] < number[..., None]
        valid = jnp.arange(self.max_length)[None] < length
        first = jnp.arange(self.max_length)[None] == 0
        shown_bits = jnp.stack([bits[..., 0] * first.astype(bits.dtype), bits[..., 1]], axis=-1).astype(float)
        gates = jax.nn.one_hot(kind, len(GATES)) * exists[..., None].astype(float)
        inputs = jnp.concatenate([shown_bits, gates.reshape(*shape, -1)], axis=-1)
        answers = jax.vmap(results)(bits, kind, exists)
        return Episode(
            inputs=inputs * valid[..., None].astype(inputs.dtype),
            targets=(answers * valid.astype(answers.dtype))[..., None].astype(float),
            step_valid=valid,
        )

    def longer(self, factor: int) -> "Logic":
        """Logic of exactly `factor * max_length` steps."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)


def results(
    bits: Int[Array, "time 2"], kind: Int[Array, "time gate"], exists: Bool[Array, "time gate"]
) -> Int[Array, " time"]:
    """Answers of one sequence."""
    table = jnp.asarray(np.array(list(GATES.values())), jnp.int32)

    def gate(pair: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        before, last = pair
        kind, exists = inputs
        result = table[kind, 3 - 2 * last - before]  # GATES lists (1, 1) first
        return (jnp.where(exists, last, before), jnp.where(exists, result, last)), None

    def step(answer: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        second, kinds, there = inputs
        (_, answer), _ = jax.lax.scan(gate, (answer, second), (kinds, there))
        return answer, answer

    return jax.lax.scan(step, bits[0, 0], (bits[:, 1], kind, exists))[1]
