"""Settings of the models that are no networks with memory: automata and graphs."""

from dataclasses import dataclass

from etm_jax._require import require, require_count, require_not_negative, require_share, require_types


@dataclass(frozen=True)
class EmergentConfig:
    """The cellular automata of the models em43 and em33, and how they mutate."""

    programme_length: int = 32  # cells of a programme of em43
    window: int = 200  # cells of its tape
    max_steps: int = 800  # after so many steps a tape counts as one that does not halt
    bins: int = 8  # input cells of em33 for each observed number
    programme_cells: int = 6  # other cells after each of these
    steps: int = 24  # of em33 for one observation
    rule_rate: float = 0.02  # probability that an entry of an offspring's rule is drawn anew
    programme_rate: float = 0.06  # the same of a cell of its programme
    rule: str = ""  # a rule that all have, so that programmes alone evolve: 64 digits (em43) or 27 (em33); empty: none

    def __post_init__(self) -> None:
        require_types(self, "emergent.")
        require_count("emergent.programme_length", self.programme_length, 1)
        require_count("emergent.max_steps", self.max_steps, 1)
        least = self.programme_length + 5
        require_count("emergent.window", self.window, least)
        require_share("emergent.rule_rate", self.rule_rate)
        require_share("emergent.programme_rate", self.programme_rate)
        require_count("emergent.bins", self.bins, 1)
        require_count("emergent.programme_cells", self.programme_cells, 1)
        require_count("emergent.steps", self.steps, 1)
        allowed = {0: "", 27: "012", 64: "0123"}.get(len(self.rule))
        fits = allowed is not None and set(self.rule) <= set(allowed)
        require(fits, "emergent.rule", "64 digits from 0 to 3 (em43), 27 from 0 to 2 (em33), or empty", self.rule)


@dataclass(frozen=True)
class GraphConfig:
    """The graphs of the model graph, their tape, and how they mutate."""

    max_nodes: int = 32  # most nodes of a graph: inputs, a bias and outputs are nodes, too
    max_connections: int = 96  # most connections
    connected: bool = True  # the first graphs lead from every input to every output; off: nowhere
    recurrent: bool = True  # connections may lead to any node but the inputs, so that a graph can remember
    activations: tuple[str, ...] = ("tanh",)  # functions of nodes: sigmoid, tanh, relu, identity, sine, gaussian, ...
    slots: int = 0  # of a tape with one hard head that the graph controls; 0: no tape
    slot_width: int = 2  # numbers in a slot
    perturb_rate: float = 0.8  # probability that a weight of a child gets noise
    perturb_scale: float = 0.5  # standard deviation of that noise
    replace_rate: float = 0.1  # probability that a weight is drawn anew
    activation_rate: float = 0.1  # probability that a node gets another function, where there are several
    add_connection_rate: float = 0.5  # probability that a child gets a connection
    remove_connection_rate: float = 0.1  # probability that it loses one
    add_node_rate: float = 0.1  # probability that one of its connections is split by a new node

    def __post_init__(self) -> None:
        require_types(self, "graph.")
        for name in ("max_nodes", "max_connections", "slot_width"):
            require_count(f"graph.{name}", getattr(self, name), 1)
        require_count("graph.slots", self.slots, 0)
        for name in (
            "perturb_rate",
            "replace_rate",
            "activation_rate",
            "add_connection_rate",
            "remove_connection_rate",
            "add_node_rate",
        ):
            require_share(f"graph.{name}", getattr(self, name))
        require_not_negative("graph.perturb_scale", self.perturb_scale)
