"""A graph as a policy, with or without a tape."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array

from etm_jax._require import require_count
from etm_jax.graphs._activation import check_activations
from etm_jax.graphs._forward import graph_stepper
from etm_jax.graphs._genome import Graph
from etm_jax.graphs._tape import GraphTape, with_tape

Step = Callable[[Any, Array], tuple[Any, Array]]


@dataclass(frozen=True)
class GraphPolicy:
    """What a graph needs to act: which of its nodes are whose, and its tape.

    Attributes:
        input_size: channels that the policy sees.
        output_size: numbers that it answers.
        activations: functions that nodes may count in, of `ACTIVATIONS`.
        tape: that the graph controls, by as many inputs and outputs more; None for none.

    Raises:
        ValueError: a size is below 1, or a function is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs._policy import GraphPolicy
        >>> from etm_jax.graphs._tape import GraphTape
        >>> from etm_jax.graphs._genome import minimal_graph
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
    activations: tuple[str, ...] = ("tanh",)
    tape: GraphTape | None = None

    def __post_init__(self) -> None:
        require_count("input_size", self.input_size, 1)
        require_count("output_size", self.output_size, 1)
        check_activations(self.activations)

    @property
    def num_inputs(self) -> int:
        """Of the graph, without the bias: what the policy sees, and what is read from the tape."""
        return self.input_size + (self.tape.slot_width if self.tape else 0)

    @property
    def num_outputs(self) -> int:
        """Of the graph: the answers, and what the tape is told."""
        return self.output_size + (self.tape.num_outputs if self.tape else 0)

    def of(self, graph: Graph) -> tuple[Any, Step]:
        """What one graph remembers before the first step, and its step as a recurrent cell."""
        start, step = graph_stepper(graph, self.num_inputs, self.num_outputs, self.activations)
        start, step = with_tape(start, step, self.tape) if self.tape else (start, step)

        def act(carry: Any, observation: Array) -> tuple[Any, Array]:
            if observation.shape != (self.input_size,):
                expected, found = [self.input_size], list(observation.shape)
                raise ValueError(f"observation must have shape {expected}, got {found}; vmap over further axes")
            return step(carry, observation)

        return start, act
