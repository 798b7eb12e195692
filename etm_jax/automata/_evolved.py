"""An evolved automaton of `EM43` as a model that takes numbers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from etm_jax._require import require, require_count
from etm_jax.automata import _tape
from etm_jax.automata._checks import check_digits
from etm_jax.automata._em43 import EM43, Run

MOST = 2**24  # cells of a tape, or steps


@dataclass(frozen=True)
class EvolvedEM43:
    """A rule and a programme for `EM43`.

    Attributes:
        rule: 64 digits.
        programme: a digit a cell.
        window: cells of the tape it was evolved with.
        max_steps: steps after which a tape counted as one that does not halt.

    Raises:
        ValueError: there are other digits, or more or fewer, or the window has no place for the programme.

    Example:
        >>> from etm_jax.automata._evolved import EvolvedEM43
        >>> same = EvolvedEM43(rule="0" * 8 + "2" + "0" * 6 + "3" + "0" * 44 + "3" + "0" * 3, programme="0000")
        >>> same([3, 7]).outputs.tolist()
        [3, 7]
    """

    rule: str
    programme: str
    window: int = 200
    max_steps: int = 800

    def __post_init__(self) -> None:
        check_digits("rule", self.rule, states=4, count=64)
        check_digits("programme", self.programme, states=3)
        for name in ("window", "max_steps"):
            require_count(name, getattr(self, name), 1)
            require(getattr(self, name) <= MOST, name, f"at most {MOST}", getattr(self, name))
        least = len(self.programme) + 5
        require(self.window >= least, "window", f"at least {least}, the programme's length + 5", self.window)

    def __call__(self, inputs: Int[np.ndarray, "batch *operand"] | list[int]) -> Run:
        """Outputs, steps and whether the tape halted, for numbers of any size: the tape grows with them.

        A number that asks for a longer tape than evolution used gets one of four times its length behind the
        programme, and as many steps more.

        Raises:
            ValueError: the inputs are no batch of whole numbers, or of pairs of them.
        """
        numbers = np.asarray(inputs)
        shaped = numbers.ndim == 1 or (numbers.ndim == 2 and numbers.shape[1] in (1, 2))
        if not (shaped and numbers.size and np.issubdtype(numbers.dtype, np.integer)):
            found = f"{numbers.dtype} of shape {list(numbers.shape)}"
            raise ValueError(f"inputs must be whole numbers of shape [batch] or [batch, 2], at least one, got {found}")
        need = 4 * (int(numbers.reshape(len(numbers), -1).sum(axis=1).max()) + 4)
        window = max(self.window, len(self.programme) + need)
        steps = self.max_steps * -(-window // self.window)
        rule, programme = (np.array([[int(digit) for digit in text]]) for text in (self.rule, self.programme))
        found = EM43(window, steps).run_population(rule, programme, numbers)
        return Run(found.outputs[0], found.steps[0], found.halted[0])

    def history(self, *number: int) -> UInt8[np.ndarray, "time cell"]:
        """The tape before the first step and after every one until it halts, or until `max_steps`.

        Args:
            number: the input, one number or two.
        """
        rule, programme = (np.array([int(digit) for digit in text], np.uint8) for text in (self.rule, self.programme))
        em, markers = EM43(self.window, self.max_steps), _tape.marker_cells(jnp.array(number), len(programme))
        steps = int(em.run(rule, programme, np.array([number])).steps[0])
        first = _tape.laid_over(em.initial_state(programme), _tape.written(markers, self.window))

        def step(tape: Array, _: None) -> tuple[Array, Array]:
            after = _tape.transition(jnp.asarray(rule), tape)
            return after, after

        return np.concatenate([first[None], jax.lax.scan(step, first, None, length=steps)[1]])

    @property
    def architecture(self) -> dict[str, str | int]:
        """What there is to say of it, for summary and report."""
        return {
            "rule": self.rule,
            "programme": self.programme,
            "live_cells": sum(digit != "0" for digit in self.programme),
        }
