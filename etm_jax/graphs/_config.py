"""Settings of the graphs that the engine evolves."""

from dataclasses import dataclass, field
from typing import ClassVar

from etm_jax._require import require_count, require_types
from etm_jax.graphs._forward import DEFAULT_ACTIVATIONS, check_activations
from etm_jax.graphs._variation import GraphRates


@dataclass(frozen=True)
class GraphConfig:
    """Graphs that grow node by node and act in environments, with or without a tape.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.
    """

    kind: ClassVar[str] = "graph"
    max_nodes: int = 32  # most nodes of a graph: inputs, a bias and outputs are nodes, too
    max_connections: int = 96  # most connections
    connected: bool = True  # the first graphs lead from every input to every output; off: nowhere
    recurrent: bool = False  # connections may lead to any node but the inputs, so that a graph can remember
    activations: tuple[str, ...] = DEFAULT_ACTIVATIONS  # sigmoid, tanh, relu, identity, sine, gaussian, absolute
    slots: int = 0  # of a tape with one hard head that the graph controls; 0: no tape
    slot_width: int = 2  # numbers in a slot
    variation: GraphRates = field(default_factory=GraphRates)

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("max_nodes", "max_connections", "slot_width"):
            require_count(name, getattr(self, name), 1)
        require_count("slots", self.slots, 0)
        check_activations(self.activations)
        self.variation.check("variation.")
