"""An evolved graph as a model of its own: without padding, and in a file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from etm_jax._files import write_atomically
from etm_jax.graph._genome import BIAS, CONNECTION_COLUMNS, NODE_COLUMNS, Graph
from etm_jax.graph._policy import GraphPolicy, Step
from etm_jax.graph._tape import GraphTape

GRAPH = "graph.json"
Columns = dict[str, list[int | float | bool]]


@dataclass(frozen=True, eq=False)
class EvolvedGraph:
    """A graph that acts; equal to itself only.

    Attributes:
        acts: what it sees and answers, and its tape.
        nodes: columns of the table of nodes, inputs, bias and outputs first, by name.
        connections: columns of the table of connections, by name.

    Example:
        >>> import jax
        >>> from etm_jax.graph import EvolvedGraph, GraphPolicy, minimal_graph
        >>> graph = minimal_graph(jax.random.key(0), 2, 1, max_nodes=9, max_connections=9)
        >>> model = EvolvedGraph.of(graph, GraphPolicy(2, 1))
        >>> model.architecture
        {'nodes': 4, 'hidden_nodes': 0, 'connections': 3, 'enabled_connections': 3, 'slots': 0}
    """

    acts: GraphPolicy
    nodes: Columns
    connections: Columns

    @classmethod
    def of(cls, graph: Graph, acts: GraphPolicy) -> "EvolvedGraph":
        """What exists of a graph."""

        def columns(names: tuple[str, ...], exists: Any) -> Columns:
            return {name: np.asarray(getattr(graph, name))[np.asarray(exists)].tolist() for name in names}

        return cls(
            acts,
            columns(NODE_COLUMNS[:-1], graph.is_node),
            columns(CONNECTION_COLUMNS[:-1], graph.is_connection),
        )

    @property
    def graph(self) -> Graph:
        """The graph, in tables as long as it needs."""
        # A table of no rows has no position to point at.
        spare = {"sources": [0], "targets": [0], "weights": [0.0], "enabled": [False]}
        count = len(self.connections["weights"])
        columns = self.nodes | (self.connections if count else spare)
        types = {"places": float, "weights": float, "enabled": bool}
        return Graph(
            **{name: jnp.array(values, types.get(name, jnp.int32)) for name, values in columns.items()},
            is_node=jnp.ones(len(self.nodes["ids"]), bool),
            is_connection=jnp.full(max(count, 1), count > 0),
        )

    @property
    def input_size(self) -> int:
        """Channels that it sees."""
        return self.acts.input_size

    def policy(self) -> tuple[Any, Step]:
        """What it remembers before the first step, and its step as a recurrent cell."""
        return self.acts.of(self.graph)

    @property
    def architecture(self) -> dict[str, str | int]:
        """What there is to say of it, for summary and report."""
        nodes = len(self.nodes["ids"])
        return {
            "nodes": nodes,
            "hidden_nodes": nodes - self.acts.num_inputs - BIAS - self.acts.num_outputs,
            "connections": len(self.connections["weights"]),
            "enabled_connections": int(sum(self.connections["enabled"])),
            "slots": self.acts.tape.num_slots if self.acts.tape else 0,
        }


def save_graph(model: EvolvedGraph, folder: Path) -> None:
    """Write `graph.json`; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / GRAPH, json.dumps(asdict(model), indent=2) + "\n")


def load_graph(folder: Path) -> EvolvedGraph:
    """Read back what `save_graph` wrote.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        found = json.loads((folder / GRAPH).read_text())
        acts = found["acts"]
        tape = GraphTape(**acts["tape"]) if acts["tape"] else None
        policy = GraphPolicy(**acts | {"tape": tape, "activations": tuple(acts["activations"])})
        model = EvolvedGraph(policy, found["nodes"], found["connections"])
        _ = model.graph
        return model
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no graph that can be read: {error}") from None
