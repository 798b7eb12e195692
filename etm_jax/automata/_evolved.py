"""Evolved automata as models, and as a file: rule and programme as digits, and the sizes they were evolved with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from etm_jax._files import read_json, write_atomically
from etm_jax._require import require, require_count
from etm_jax.automata import _tape
from etm_jax.automata._em33 import EM33, RingPolicy, controller
from etm_jax.automata._em43 import EM43, Run
from etm_jax.automata._genome import check_digits

AUTOMATON = "automaton.json"
MOST_BYTES = 2**26
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
        ValueError: the digits do not fit, or the window has no room for the programme.

    Example:
        >>> from etm_jax.automata import EvolvedEM43
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

        A number that needs a longer tape than evolution used gets one of four times its length behind the programme,
        and proportionally more steps.

        Raises:
            ValueError: the inputs are not a batch of whole numbers, or of pairs of them.
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
        """The genome and its live cells, for summary and report."""
        return architecture_of(self)


@dataclass(frozen=True)
class EvolvedEM33:
    """A rule and first states for `EM33`, as a policy.

    Attributes:
        rule: 27 digits.
        programme: a digit a cell of the ring.
        num_variables: numbers observed.
        num_actions: numbers answered.
        bins: input cells of a variable.
        programme_cells: cells after each input cell.
        steps: of the ring for one observation.

    Raises:
        ValueError: a size is below 1, there are more actions than variables, or the digits do not fit.

    Example:
        >>> from etm_jax.automata import EvolvedEM33
        >>> still = EvolvedEM33("0" * 27, "0" * 28, num_variables=2, num_actions=1, bins=2)
        >>> cells, step = still.policy()
        >>> cells.shape
        (28,)
    """

    rule: str
    programme: str
    num_variables: int
    num_actions: int
    bins: int = 8
    programme_cells: int = 6
    steps: int = 24

    def __post_init__(self) -> None:
        for name in ("num_variables", "num_actions", "bins", "steps"):
            require_count(name, getattr(self, name), 1)
        require_count("programme_cells", self.programme_cells, 0)
        most = f"at most num_variables ({self.num_variables})"
        require(self.num_actions <= self.num_variables, "num_actions", most, self.num_actions)
        require(self.steps < 2**31, "steps", "below 2^31", self.steps)
        check_digits("rule", self.rule, states=3, count=27)
        cells = EM33(self.num_variables, self.bins, self.programme_cells, self.steps).num_cells
        check_digits("programme", self.programme, states=3, count=cells)

    @property
    def input_size(self) -> int:
        """Numbers observed."""
        return self.num_variables

    def policy(self) -> RingPolicy:
        """The ring's first cells and its step, as of `controller`."""
        em = EM33(self.num_variables, self.bins, self.programme_cells, self.steps)
        rule, cells = (jnp.array([int(digit) for digit in text], jnp.uint8) for text in (self.rule, self.programme))
        return controller(em, self.num_actions, rule, cells)

    @property
    def architecture(self) -> dict[str, str | int]:
        """The genome and its live cells, for summary and report."""
        return architecture_of(self)


Evolved = TypeVar("Evolved", EvolvedEM43, EvolvedEM33)


def architecture_of(model: "EvolvedEM43 | EvolvedEM33") -> dict[str, str | int]:
    """Rule and programme, and how many cells of it are not blank."""
    live = len(model.programme) - model.programme.count("0")
    return {"rule": model.rule, "programme": model.programme, "live_cells": live}


def digits(cells: Any) -> str:
    """States as text, a digit each."""
    return "".join(map(str, np.asarray(cells).tolist()))


def save_automaton(model: EvolvedEM43 | EvolvedEM33, folder: Path) -> None:
    """Write `automaton.json`; the folder is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / AUTOMATON, json.dumps(vars(model), indent=2) + "\n")


def load_em43(folder: Path) -> EvolvedEM43:
    """Read back an `EvolvedEM43` that `save_automaton` wrote.

    Raises:
        ValueError: the file is missing or damaged, or sizes and digits do not fit.
    """
    return _load(EvolvedEM43, folder)


def load_em33(folder: Path) -> EvolvedEM33:
    """Read back an `EvolvedEM33`; as `load_em43`."""
    return _load(EvolvedEM33, folder)


def _load(kind: type[Evolved], folder: Path) -> Evolved:
    try:
        settings = read_json(folder / AUTOMATON, MOST_BYTES)
        require(isinstance(settings, dict), AUTOMATON, "an object", settings)
        return kind(**settings)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no automaton that can be read: {error}") from None
