"""A graph as a policy, with or without a tape, as in evolved Neural Turing Machines (Greve, Jacobsen and Risi 2016)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._require import require_count, require_share
from etm_jax._typing import pytree
from etm_jax.cells._hard_tape import HardTapeFields, HardTapeMasks, HardTapeState, hard_tape_step, initial_hard_tape
from etm_jax.graphs._forward import DEFAULT_ACTIVATIONS, check_activations, graph_stepper
from etm_jax.graphs._genome import Graph

Step = Callable[[Any, Array], tuple[Any, Array]]
CHOICES = 5  # outputs beside the vector to write: the gate, the jump, three moves


@dataclass(frozen=True)
class GraphTape:
    """A tape with one head, which writes, may jump to the slot most like what it wrote, moves by one, and reads.

    Attributes:
        num_slots: most slots; the tape starts as one, and grows where the head moves off its end.
        slot_width: numbers in a slot.
        min_similarity: where no slot is this similar to what was written, a jump goes to the end of the tape.

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
        """Outputs that a controller needs for the tape, beside its answers."""
        return self.slot_width + CHOICES


@pytree
class TapeCarry:
    """The state of a controller with a tape."""

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
        start: the controller's state before the first step.
        step: the controller, `(carry, [input + slot_width]) -> (carry, [output + tape.num_outputs])`.
        tape: the sizes.

    Returns:
        The state before the first step, and `step(carry, [input]) -> (carry, [output])`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs import GraphTape, with_tape
        >>> tape = GraphTape(num_slots=8, slot_width=2)
        >>> linear = lambda carry, seen: (carry, jnp.ones((1 + tape.num_outputs, 3 + 2)) @ seen)
        >>> start, step = with_tape((), linear, tape)
        >>> jax.lax.scan(step, start, jnp.ones((4, 3)))[1].shape
        (4, 1)
    """
    width, slots = tape.slot_width, tape.num_slots
    one = jnp.ones(1, bool)
    exists = HardTapeMasks(slot=jnp.ones(slots, bool), width=jnp.ones(width, bool), read=one, write=one)
    first = jnp.zeros((2, slots)).at[:, 0].set(1.0)

    def machine(carry: TapeCarry, inputs: Array) -> tuple[TapeCarry, Array]:
        remembered, outputs = step(carry.controller, jnp.concatenate([inputs, carry.read]))
        num_answers = outputs.size - tape.num_outputs
        answers, add, choices = jnp.split(outputs, [num_answers, num_answers + width])
        fields = HardTapeFields(add=add[None], write_gate=choices[:1], jump=choices[1:2], shift=choices[2:][None])
        memory, weightings, read, ends = hard_tape_step(
            fields, exists, carry.memory, carry.weightings, carry.ends, min_similarity=tape.min_similarity
        )
        return TapeCarry(remembered, memory, weightings, ends, read[0]), answers

    empty = TapeCarry(start, jnp.zeros((width, slots)), first, initial_hard_tape(), jnp.zeros(width))
    return empty, machine


@dataclass(frozen=True)
class GraphPolicy:
    """What a graph needs to act: which nodes are its inputs and outputs, and its tape.

    Attributes:
        input_size: channels that the policy sees.
        output_size: numbers that it answers.
        activations: functions that nodes may have, names of `ACTIVATIONS`.
        tape: that the graph controls through further inputs and outputs; None for none.

    Raises:
        ValueError: a size is below 1, or a function is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs import GraphPolicy, GraphTape, minimal_graph
        >>> policy = GraphPolicy(3, 2, ("tanh",), GraphTape(num_slots=8, slot_width=2))
        >>> policy.num_inputs, policy.num_outputs
        (5, 9)
        >>> graph = minimal_graph(jax.random.key(0), 5, 9, max_nodes=16, max_connections=64)
        >>> start, step = policy.of(graph)
        >>> step(start, jnp.ones(3))[1].shape
        (2,)
    """

    input_size: int
    output_size: int
    activations: tuple[str, ...] = DEFAULT_ACTIVATIONS
    tape: GraphTape | None = None

    def __post_init__(self) -> None:
        require_count("input_size", self.input_size, 1)
        require_count("output_size", self.output_size, 1)
        check_activations(self.activations)

    @property
    def num_inputs(self) -> int:
        """Inputs of the graph, without the bias: what the policy sees, and what is read from the tape."""
        return self.input_size + (self.tape.slot_width if self.tape else 0)

    @property
    def num_outputs(self) -> int:
        """Outputs of the graph: the answers, and what the tape is told."""
        return self.output_size + (self.tape.num_outputs if self.tape else 0)

    def of(self, graph: Graph) -> tuple[Any, Step]:
        """The state of one graph before the first step, and its step as a recurrent cell."""
        start, step = graph_stepper(graph, self.num_inputs, self.num_outputs, self.activations)
        start, step = with_tape(start, step, self.tape) if self.tape else (start, step)

        def act(carry: Any, observation: Array) -> tuple[Any, Array]:
            if observation.shape != (self.input_size,):
                expected, found = [self.input_size], list(observation.shape)
                raise ValueError(f"observation must have shape {expected}, got {found}; vmap over further axes")
            return step(carry, observation)

        return start, act
