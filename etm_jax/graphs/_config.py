"""Settings of the graphs that the engine evolves."""

from dataclasses import dataclass
from typing import ClassVar

from etm_jax._require import require_count, require_not_negative, require_share, require_types


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
    recurrent: bool = True  # connections may lead to any node but the inputs, so that a graph can remember
    activations: tuple[str, ...] = ("tanh",)  # functions of nodes: sigmoid, tanh, relu, identity, sine, gaussian, ...
    slots: int = 0  # of a tape with one hard head that the graph controls; 0: no tape
    slot_width: int = 2  # numbers in a slot
    perturb_rate: float = 0.8  # probability that a weight of a child gets noise
    perturb_scale: float = 0.5  # standard deviation of that noise
    replace_rate: float = 0.1  # probability that a weight is drawn again
    activation_rate: float = 0.1  # probability that a node gets another function, where there are several
    add_connection_rate: float = 0.5  # probability that a child gets a connection
    remove_connection_rate: float = 0.1  # probability that it loses one
    add_node_rate: float = 0.1  # probability that one of its connections is split by a new node

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("max_nodes", "max_connections", "slot_width"):
            require_count(name, getattr(self, name), 1)
        require_count("slots", self.slots, 0)
        for name in (
            "perturb_rate",
            "replace_rate",
            "activation_rate",
            "add_connection_rate",
            "remove_connection_rate",
            "add_node_rate",
        ):
            require_share(name, getattr(self, name))
        require_not_negative("perturb_scale", self.perturb_scale)
