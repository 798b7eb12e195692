"""A tape for a graph, or for any controller: evolved Neural Turing Machines (Greve, Jacobsen and Risi 2016)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._require import require_count, require_share
from etm_jax._typing import pytree
from etm_jax.cells import CellSpec
from etm_jax.cells._hard_tape import HardTapeFields, HardTapeState, hard_tape_step, initial_hard_tape
from etm_jax.cells._registry import exact

Step = Callable[[Any, Array], tuple[Any, Array]]
CHOICES = 5  # outputs beside the vector to write: the gate, the jump, three moves


@dataclass(frozen=True)
class GraphTape:
    """The tape: one head that writes, may jump to what is most like what it wrote, moves by one, and reads.

    Attributes:
        num_slots: most slots; the tape begins as one, and grows where the head walks off it.
        slot_width: numbers in a slot.
        min_similarity: where no slot is so like what was written, a jump leads to the end of the tape.

    Raises:
        ValueError: a size is below 1, or the similarity is outside [0, 1].
    """

    num_slots: int
    slot_width: int
    min_similarity: float = 0.0

    def __post_init__(self) -> None:
        require_count("num_slots", self.num_slots, 1)
        require_count("slot_width", self.slot_width, 1)
        require_share("min_similarity", self.min_similarity)

    @property
    def num_outputs(self) -> int:
        """That a controller has for the tape, beside its answers."""
        return self.slot_width + CHOICES


@pytree
class TapeCarry:
    """What such a machine remembers."""

    controller: Any
    memory: Float[Array, "width slot"]
    weightings: Float[Array, "2 slot"]
    ends: HardTapeState
    read: Float[Array, " width"]


def with_tape(start: Any, step: Step, tape: GraphTape) -> tuple[TapeCarry, Step]:
    """A controller with a tape, as a recurrent cell.

    The controller sees the inputs and what was read in the step before. Its outputs are the answers, the vector to
    write, the gate, the jump, and the three moves, all before the tape's own sigmoids (`hard_tape_step`).

    Args:
        start: what the controller remembers before the first step.
        step: the controller, `(carry, [input + slot_width]) -> (carry, [output + tape.num_outputs])`.
        tape: the sizes.

    Returns:
        What the machine remembers before the first step, and `step(carry, [input]) -> (carry, [output])`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs._tape import GraphTape, with_tape
        >>> tape = GraphTape(num_slots=8, slot_width=2)
        >>> linear = lambda carry, seen: (carry, jnp.ones((1 + tape.num_outputs, 3 + 2)) @ seen)
        >>> start, step = with_tape((), linear, tape)
        >>> jax.lax.scan(step, start, jnp.ones((4, 3)))[1].shape
        (4, 1)
    """
    width, slots = tape.slot_width, tape.num_slots
    sizes = {"unit": 1, "slot": slots, "width": width, "read": 1, "write": 1, "location": 1, "gating": 1}
    active = exact(
        CellSpec(controllers=("lstm",), memories=("hard_tape",)), sizes | {"window": 1, "layer": 1, "attention_head": 1}
    )
    first = jnp.zeros((2, slots)).at[:, 0].set(1.0)

    def machine(carry: TapeCarry, inputs: Array) -> tuple[TapeCarry, Array]:
        remembered, outputs = step(carry.controller, jnp.concatenate([inputs, carry.read]))
        num_answers = outputs.size - tape.num_outputs
        answers, add, choices = jnp.split(outputs, [num_answers, num_answers + width])
        fields = HardTapeFields(add=add[None], write_gate=choices[:1], jump=choices[1:2], shift=choices[2:][None])
        memory, weightings, read, ends = hard_tape_step(
            fields, active, carry.memory, carry.weightings, carry.ends, min_similarity=tape.min_similarity
        )
        return TapeCarry(remembered, memory, weightings, ends, read[0]), answers

    empty = TapeCarry(start, jnp.zeros((width, slots)), first, initial_hard_tape(), jnp.zeros(width))
    return empty, machine
