"""An evolved graph without padding, as a model and as a file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from etm_jax._files import read_json, write_atomically
from etm_jax._require import MOST, require
from etm_jax.graphs._genome import BIAS, CONNECTION_COLUMNS, INPUT_PLACE, NODE_COLUMNS, OUTPUT_PLACE, Graph
from etm_jax.graphs._policy import GraphPolicy, GraphTape, Step

GRAPH = "graph.json"
MOST_BYTES, MOST_SLOTS = 2**26, 2**20  # of the file; of a tape
Columns = dict[str, list[int | float | bool]]


@dataclass(frozen=True, eq=False)
class EvolvedGraph:
    """A graph that acts. Two are equal only if they are the same object.

    Attributes:
        acts: its inputs, outputs and tape.
        nodes: columns of the table of nodes, inputs, bias and outputs first, by name.
        connections: columns of the table of connections, by name.

    Example:
        >>> import jax
        >>> from etm_jax.graphs import EvolvedGraph, GraphPolicy, minimal_graph
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
        """The existing nodes and connections of a graph."""

        def columns(names: tuple[str, ...], exists: Any) -> Columns:
            return {name: np.asarray(getattr(graph, name))[np.asarray(exists)].tolist() for name in names}

        return cls(
            acts,
            columns(NODE_COLUMNS[:-1], graph.is_node),
            columns(CONNECTION_COLUMNS[:-1], graph.is_connection),
        )

    @property
    def graph(self) -> Graph:
        """The graph, in the shortest tables that hold it."""
        # Positions are looked up in the table, so it needs a row even where there is no connection.
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
        """Channels of an observation."""
        return self.acts.input_size

    def policy(self) -> tuple[Any, Step]:
        """Its state before the first step, and its step as a recurrent cell."""
        return self.acts.of(self.graph)

    @property
    def architecture(self) -> dict[str, str | int]:
        """Its sizes, for summary and report."""
        nodes = len(self.nodes["ids"])
        return {
            "nodes": nodes,
            "hidden_nodes": nodes - self.acts.num_inputs - BIAS - self.acts.num_outputs,
            "connections": len(self.connections["weights"]),
            "enabled_connections": int(sum(self.connections["enabled"])),
            "slots": self.acts.tape.num_slots if self.acts.tape else 0,
        }


def save_graph(model: EvolvedGraph, folder: Path) -> None:
    """Write `graph.json`; the folder is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / GRAPH, json.dumps(asdict(model), indent=2) + "\n")


def load_graph(folder: Path) -> EvolvedGraph:
    """Read back what `save_graph` wrote.

    Raises:
        ValueError: the file is missing or damaged, or its tables make no graph.
    """
    try:
        found = read_json(folder / GRAPH, MOST_BYTES)
        require(isinstance(found, dict), GRAPH, "an object", found)
        acts = found["acts"]
        tape = GraphTape(**acts["tape"]) if acts["tape"] else None
        require(tape is None or tape.num_slots <= MOST_SLOTS, "num_slots", f"at most {MOST_SLOTS}", tape)
        policy = GraphPolicy(**acts | {"tape": tape, "activations": tuple(acts["activations"])})
        _check(policy, found["nodes"], found["connections"])
        return EvolvedGraph(policy, found["nodes"], found["connections"])
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{folder} holds no graph that can be read: {error!s:.300}") from None


def _check(acts: GraphPolicy, nodes: Any, connections: Any) -> None:
    """Refuse tables that make no graph; unchecked, they would be computed with all the same.

    Raises:
        ValueError: an id, a place, a function or an end of a connection is wrong.
    """
    ids, places, kinds = _columns("nodes", nodes, {"ids": int, "places": float, "activations": int})
    sources, targets, weights, _ = _columns(
        "connections", connections, {"sources": int, "targets": int, "weights": float, "enabled": bool}
    )
    seen = acts.num_inputs + BIAS
    fixed = seen + acts.num_outputs
    in_front = np.array_equal(ids[:fixed], np.arange(fixed))
    require(in_front, "the ids of inputs, bias and outputs", f"0 to {fixed - 1}, in front", ids[:fixed].tolist())
    alone = len(set(ids.tolist())) == ids.size
    require(alone and bool(ids.min() >= 0 and ids.max() < 2**31), "ids", "of 31 bits, each once", ids.tolist())
    ends = (places[:seen] == INPUT_PLACE).all() and (places[seen:fixed] == OUTPUT_PLACE).all()
    between = ((places >= INPUT_PLACE) & (places <= OUTPUT_PLACE)).all()
    require(bool(ends and between), "places", "0 of inputs, 1 of outputs, and between them of others", places.tolist())
    known = len(acts.activations)
    require(bool(((kinds >= 0) & (kinds < known)).all()), "activations", f"0 to {known - 1}", kinds.tolist())
    require(bool(np.isin(sources, ids).all()), "sources", "ids of nodes", sources.tolist())
    require(bool(np.isin(targets, ids[seen:]).all()), "targets", "ids of nodes that are no inputs", targets.tolist())
    held = bool((np.abs(weights) <= MOST).all())
    require(held, "weights", "finite in float32", weights.tolist())


def _columns(table: str, columns: Any, kinds: dict[str, type]) -> list[np.ndarray]:
    require(isinstance(columns, dict) and set(columns) == set(kinds), table, f"the columns {', '.join(kinds)}", columns)
    length = len(next(iter(columns.values())))
    for name, kind in kinds.items():
        allowed = (int, float) if kind is float else (kind,)
        fits = isinstance(columns[name], list) and all(type(entry) in allowed for entry in columns[name])
        require(fits and len(columns[name]) == length, f"{table}.{name}", f"{length} of {kind.__name__}", columns[name])
    return [np.array(columns[name], np.int64 if kind is int else kind) for name, kind in kinds.items()]
