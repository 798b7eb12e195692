"""The contract between a function of whole numbers, which automata compute, and the engine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from etm_jax._require import check_suite


@runtime_checkable
class NumberTask(Protocol):
    """A function of one or two whole numbers of at least 0. Frozen and hashable."""

    @property
    def name(self) -> str:
        """A short name."""
        ...

    @property
    def solved(self) -> float:
        """Share of right values, on numbers never evolved on, at which the function counts as solved."""
        ...

    def train_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """The numbers that evolution uses."""
        ...

    def test_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """Other numbers of about the same size."""
        ...

    def far_inputs(self) -> Int[np.ndarray, "batch operand"]:
        """Far larger numbers."""
        ...

    def targets(self, inputs: Int[np.ndarray, "batch operand"]) -> Int[np.ndarray, " batch"]:
        """The values of the function."""
        ...


@dataclass(frozen=True)
class NumberSuite:
    """The function that a run of automata evolves on.

    Attributes:
        tasks: exactly one function.
        weights: its weight in the fitness, positive.

    Raises:
        ValueError: not exactly one function, or a weight that does not fit.

    Example:
        >>> import etm_tasks
        >>> from etm_jax.number_task import NumberSuite
        >>> suite = NumberSuite((etm_tasks.make("doubling"),), (1.0,))
        >>> suite.names, suite.task.targets(suite.task.train_inputs()).tolist()[:3]
        (('doubling',), [2, 4, 6])
    """

    kind: ClassVar[str] = "functions"
    num_steps: ClassVar[float] = math.inf  # an automaton's steps are unknown before it halts
    tasks: tuple[NumberTask, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_suite("function", self.names, self.weights)
        if len(self.tasks) > 1:
            raise ValueError(f"automata evolve on one function of numbers, got {', '.join(self.names)}; keep one")

    @property
    def names(self) -> tuple[str, ...]:
        """The function's name."""
        return tuple(task.name for task in self.tasks)

    @property
    def num_cases(self) -> int:
        """Number of scores that selection may look at one by one: one a training number."""
        return len(self.task.train_inputs())

    def without_longer(self, factor: int) -> dict[str, str]:
        """Why the function has no form `factor` times as long, by its name."""
        del factor
        return dict.fromkeys(self.names, "a function of numbers has no longer form")

    def at_lengths(self, lengths: Sequence[int]) -> dict[int, "NumberSuite"]:
        """The suite at the multiple 1, the only one that it has."""
        del lengths
        return {1: self}

    @property
    def task(self) -> NumberTask:
        """The function."""
        return self.tasks[0]
