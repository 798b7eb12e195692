"""Functions of whole numbers for automata to compute: inputs and targets."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Int
from rich.table import Table

TESTED = 60  # held-out inputs go up to here at least
FAR = (75, 100, 150, 200, 300, 400, 500)


@dataclass(frozen=True)
class NumberFunction:
    """Base class; a concrete function has a name and `targets`, and may choose other inputs.

    Attributes:
        largest: largest number that evolution sees.

    Raises:
        ValueError: evolution would see fewer than two numbers.
    """

    solved = 1.0
    name = ""
    least = 1  # smallest input
    every = 1  # spacing of the inputs; 2 = every second number
    called = "n"  # title of the input column in `show`

    largest: int = 10

    def __post_init__(self) -> None:
        if self.largest < self.least + self.every:
            raise ValueError(f"{self.name} needs largest >= {self.least + self.every}, got {self.largest}")

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """The values of the function."""
        raise NotImplementedError

    def train_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """The numbers up to `largest`."""
        return column(range(self.least, self.largest + 1, self.every))

    def test_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """The numbers after those, up to 60 or twice `largest`, whichever is greater."""
        first = int(self.train_inputs().max()) + self.every
        return column(range(first, max(TESTED, 2 * self.largest) + 1, self.every))

    def far_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """Numbers from 75 to 500, beyond the test inputs."""
        last = int(self.test_inputs().max())
        return column(number for number in FAR if number > last and number % self.every == 0)

    def show(self) -> Any:
        """Table of the training inputs and their targets."""
        table = Table(title_justify="left")
        for title in (self.called, "due"):
            table.add_column(title, justify="right")
        inputs = self.train_inputs()
        for operands, target in zip(inputs, self.targets(inputs), strict=True):
            table.add_row(" ".join(map(str, operands)), str(target))
        return table


@dataclass(frozen=True)
class Increment(NumberFunction):
    """The number after n: n + 1."""

    name = "increment"

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """n + 1."""
        return inputs[:, 0] + 1


@dataclass(frozen=True)
class PlusTwo(NumberFunction):
    """The number after the next: n + 2."""

    name = "plus_two"

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """n + 2."""
        return inputs[:, 0] + 2


@dataclass(frozen=True)
class Decrement(NumberFunction):
    """The number before n: n - 1."""

    name = "decrement"
    least = 2

    largest: int = 11

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """n - 1."""
        return inputs[:, 0] - 1


@dataclass(frozen=True)
class Doubling(NumberFunction):
    """Twice n: 2n."""

    name = "doubling"

    largest: int = 30

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """2n."""
        return 2 * inputs[:, 0]


@dataclass(frozen=True)
class Quadrupling(NumberFunction):
    """Four times n: 4n."""

    name = "quadrupling"

    largest: int = 20

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """4n."""
        return 4 * inputs[:, 0]


@dataclass(frozen=True)
class Halving(NumberFunction):
    """Half of an even n: n / 2."""

    name = "halving"
    least = every = 2
    called = "even n"

    largest: int = 30

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """n / 2."""
        return inputs[:, 0] // 2


@dataclass(frozen=True)
class SumOfTwo(NumberFunction):
    """The sum of two numbers: a + b."""

    name = "sum_of_two"
    least = 0
    called = "a b"

    largest: int = 5

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """a + b."""
        return inputs.sum(axis=1)

    def train_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """All pairs of numbers up to `largest`."""
        return pairs(range(self.largest + 1))

    def test_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """All pairs of the next `largest + 1` numbers."""
        return pairs(range(self.largest + 1, 2 * self.largest + 2))

    def far_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """All pairs of 75, 200 and 500."""
        return pairs(FAR[::3])


def pairs(numbers: Iterable[int]) -> Int[np.ndarray, "batch 2"]:
    """All ordered pairs."""
    return np.array(list(product(numbers, repeat=2)), np.int32)


def column(numbers: Iterable[int]) -> Int[np.ndarray, "batch 1"]:
    """Numbers as inputs with one operand."""
    return np.array(list(numbers), np.int32)[:, None]
