"""`EM43`: a cellular automaton of four states on a line that computes with whole numbers until it halts."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt8

from etm_jax._typing import IntScalar
from etm_jax.automata import _tape
from etm_jax.automata._formalism import EmergentModel, Halted, run_until_halted
from etm_jax.automata._genome import BLUE, RED, at_least, in_range, whole_numbers
from etm_jax.automata._tape import PopulationRun, run_population

MAX_OPERANDS = 2


class Run(NamedTuple):
    """What one genome computed, for each input.

    Attributes:
        outputs: decoded numbers, `NO_OUTPUT` where there is none.
        steps: until the tape halted, `max_steps` where it did not.
        halted: True = it halted within `max_steps`.
    """

    outputs: Int[Array, "batch"]
    steps: Int[Array, "batch"]
    halted: Bool[Array, "batch"]


@dataclass(frozen=True)
class EM43:
    """Four states, neighbourhoods of three cells, a tape of `window` cells.

    A genome is a rule table of 64 states and a programme. The tape is the programme, two blue separators, and the
    number n as n + 1 blank cells and a red marker. All cells change at once by the rule, the ends of the tape stay
    blank, and the tape halts when at least half of its live cells are blue. The output is how far the rightmost red
    cell is from where the marker of 0 would stand. Two numbers are written one behind the other, and the output is
    counted from the marker of the second.

    The numbers that fit are up to `largest_input(L)` for a programme of L cells. A larger or negative one is refused;
    within a trace, where values are unknown, its tape never halts. Of a state only the two low bits count there.

    Args:
        window: cells of the tape; any number.
        max_steps: after so many steps a tape counts as one that does not halt.

    Raises:
        ValueError: a size is too small.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.automata import EM43, constrain_rule
        >>> keep = constrain_rule(jnp.zeros(64, jnp.uint8))
        >>> outputs, steps, halted = EM43(window=64).run(keep, jnp.zeros(10, jnp.uint8), jnp.arange(4))
        >>> outputs.tolist(), steps.tolist(), halted.all().item()
        ([0, 1, 2, 3], [1, 1, 1, 1], True)
    """

    window: int = 200
    max_steps: int = 800

    def __post_init__(self) -> None:
        at_least(6, window=self.window)  # a programme of one cell, two separators, 0, and the last cell
        at_least(1, max_steps=self.max_steps)

    def largest_input(self, programme_length: int) -> int:
        """The largest number that can be written beside a programme; of two, their sum plus 2 must not exceed it.

        Example:
            >>> from etm_jax.automata import EM43
            >>> EM43(window=200).largest_input(32)
            163
        """
        return self.window - 2 - (programme_length + _tape.NUM_SEPARATORS + 1)

    def run(self, rule: Any, programme: Any, inputs: Any) -> Run:
        """Run one genome on inputs, cell by cell, until all tapes have halted.

        For many genomes `run_population` gives the same at a hundred times the speed.

        Args:
            rule: `[64]`, states; entry `16 left + 4 centre + right` is what a cell becomes. `constrain_rule` restores
                the entries that should never change.
            programme: `[cell]`, states 0 to 2.
            inputs: `[batch]` or `[batch, 1]`, whole numbers, or `[batch, 2]`, pairs of them.

        Returns:
            Outputs, steps and whether each tape halted, `[batch]` each.

        Raises:
            ValueError: a shape does not fit, a state does not exist, or a number is outside the window.
        """
        rule = _checked_states("rule", rule, (64,), BLUE)
        programme = _checked_states("programme", programme, (None,), RED)
        operands = self._operands(inputs, programme.shape[0])
        return _run(rule, programme, operands, self.window, self.max_steps)

    def run_population(self, rules: Any, programmes: Any, inputs: Any, batch_size: int = 64) -> PopulationRun:
        """Run a population on the same inputs, with the results of `run`.

        Cells are bits, 32 to a word, and genomes that are done make room for others: see "How it is fast" in the guide.
        Cost on a CPU: about 300 bit operations for 32 cells of a tape and a step.

        Args:
            rules: `[population, 64]`, as in `run`.
            programmes: `[population, cell]`.
            inputs: as in `run`.
            batch_size: genomes computed together; the results do not depend on it.

        Returns:
            Outputs, steps and whether each tape halted, `[population, batch]` each, and how much was computed.

        Raises:
            ValueError: as `run`, or the numbers of rules and programmes differ.
        """
        at_least(1, batch_size=batch_size)
        rules = _checked_states("rules", rules, (None, 64), BLUE)
        programmes = _checked_states("programmes", programmes, (rules.shape[0], None), RED)
        at_least(1, population=rules.shape[0])
        operands = self._operands(inputs, programmes.shape[1])
        batch_size = min(batch_size, rules.shape[0])
        return _run_population(rules, programmes, operands, self.window, self.max_steps, batch_size)

    def initial_state(self, programme: Any) -> UInt8[Array, "cell"]:
        """The tape before an input is written: the programme and two separators.

        Args:
            programme: `[cell]`, states 0 to 2.

        Raises:
            ValueError: it does not fit, or a state does not exist.
        """
        programme = _checked_states("programme", programme, (None,), RED)
        self._check_length(programme.shape[0])
        return _tape.initial_tape(programme, self.window)

    def model(self, rule: Any, programme_length: int) -> EmergentModel:
        """The automaton as functions, for `answer` and `answer_in_turn`; inputs are single numbers.

        Args:
            rule: `[64]`, as in `run`.
            programme_length: cells of the programme.

        Raises:
            ValueError: the programme does not fit, or the rule has a wrong shape or state.
        """
        rule = _checked_states("rule", rule, (64,), BLUE)
        self._check_length(programme_length)
        zero = programme_length + _tape.NUM_SEPARATORS + 1

        def encode(number: IntScalar) -> UInt8[Array, "cell"]:
            return _tape.written(_tape.marker_cells(jnp.asarray(number)[None], programme_length), self.window)

        def decode(tape: UInt8[Array, "cell"]) -> IntScalar:
            return _tape.output_of(_tape.last_red(tape), jnp.asarray(zero), jnp.asarray(True))

        return EmergentModel(encode, _tape.laid_over, partial(_tape.transition, rule), _tape.halts, decode)

    def _check_length(self, length: int) -> None:
        at_least(1, programme_length=length)
        if self.largest_input(length) < 0:
            raise ValueError(
                f"window must be at least the programme's length + 5, got {self.window} for {length} cells; "
                f"raise it to {length + 5} or more"
            )

    def _operands(self, inputs: Any, length: int) -> Int[Array, "batch operand"]:
        """Inputs as `[batch, operand]`, refused where they cannot be written."""
        self._check_length(length)
        inputs = jnp.asarray(inputs)
        if inputs.shape[1:] == (1,):
            inputs = inputs[:, 0]
        pairs = inputs.ndim == 2
        operands = whole_numbers("inputs", inputs, (None, MAX_OPERANDS) if pairs else (None,)).astype(jnp.int32)
        operands = operands if pairs else operands[:, None]
        largest = self.largest_input(length)
        way_out = f"these fit behind {length} cells in a window of {self.window}; choose a larger window"
        in_range("inputs", operands, 0, largest, way_out)
        if pairs:
            in_range("sums of inputs", operands.sum(1), 0, largest - 2, way_out)
        return operands


def _checked_states(name: str, values: Any, shape: tuple[int | None, ...], greatest: int) -> UInt8[Array, "..."]:
    states = whole_numbers(name, values, shape)
    in_range(name, states, 0, greatest, "constrain_programme removes blue cells" if greatest == RED else "")
    return (states & 3).astype(jnp.uint8)


@partial(jax.jit, static_argnames=("window", "max_steps"))
def _run(
    rule: UInt8[Array, "64"],
    programme: UInt8[Array, "cell"],
    operands: Int[Array, "batch operand"],
    window: int,
    max_steps: int,
) -> Run:
    length = programme.shape[0]
    markers = _tape.marker_cells(operands, length)
    before = _tape.initial_tape(programme, window)

    def one(cells: Int[Array, "operand"]) -> Halted:
        first = _tape.laid_over(before, _tape.written(cells, window))
        return run_until_halted(partial(_tape.transition, rule), _tape.halts, first, max_steps)

    tapes, steps, halted = jax.vmap(one)(markers)
    halted &= _tape.fits(markers, operands, window)
    outputs = _tape.output_of(jax.vmap(_tape.last_red)(tapes), _tape.origin_of(markers, length), halted)
    return Run(outputs, jnp.where(halted, steps, max_steps), halted)


_run_population = jax.jit(run_population, static_argnames=("window", "max_steps", "batch_size"))
