"""A network as a graph: tables of nodes and connections with ids and masks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree

BIAS = 1  # one more input, which is always 1
INPUT_PLACE, OUTPUT_PLACE = 0.0, 1.0
NODE_COLUMNS = "ids", "places", "activations", "is_node"  # of the two tables, masks last
CONNECTION_COLUMNS = "sources", "targets", "weights", "enabled", "is_connection"
GROWTH = 1, 3  # most nodes and connections that a graph gets in one generation
LEAST = 16, 32  # shortest tables, which small problems never outgrow


@pytree
class Graph:
    """A network of nodes and connections, or a population with a leading axis on every array.

    The first nodes are the inputs, then the bias, then the outputs; their ids are their positions in the table. Rows
    that exist come before the others. Two graphs have the same connection where the ids of both its ends agree: ids
    are historical.

    Attributes:
        ids: of the nodes; a hidden node's follows from the connection that it split. Meaningless without a node.
        places: of the nodes between inputs (0) and outputs (1); a feed-forward connection leads to a higher place.
        activations: of the nodes, an index into the names of functions given beside the graph.
        is_node: True = the node exists.
        sources: ids of the nodes where connections begin.
        targets: ids of the nodes where they end.
        weights: of the connections.
        enabled: True = the connection, if it exists, carries its signal.
        is_connection: True = the connection exists.
    """

    ids: Int[Array, "*population node"]
    places: Float[Array, "*population node"]
    activations: Int[Array, "*population node"]
    is_node: Bool[Array, "*population node"]
    sources: Int[Array, "*population connection"]
    targets: Int[Array, "*population connection"]
    weights: Float[Array, "*population connection"]
    enabled: Bool[Array, "*population connection"]
    is_connection: Bool[Array, "*population connection"]

    @property
    def num_nodes(self) -> Int[Array, "*population"]:
        """Nodes that exist."""
        return jnp.sum(self.is_node, axis=-1, dtype=jnp.int32)

    @property
    def num_connections(self) -> Int[Array, "*population"]:
        """Connections that exist, enabled or not."""
        return jnp.sum(self.is_connection, axis=-1, dtype=jnp.int32)


def minimal_graph(
    key: Key,
    num_inputs: int,
    num_outputs: int,
    max_nodes: int | None = None,
    max_connections: int | None = None,
    activation: int = 0,
    connected: bool = True,
) -> Graph:
    """Every input and the bias lead to every output with normal weights; nothing hidden. The key is consumed.

    Args:
        key: for the weights.
        num_inputs: without the bias.
        num_outputs: of the network.
        max_nodes: length of the table of nodes; None for one with room to grow, see `table_lengths`.
        max_connections: length of the table of connections; None likewise.
        activation: of all nodes.
        connected: False = no connection at all, so that evolution chooses what to look at (FS-NEAT, Whiteson et al.
            2005). For graphs of many outputs.
    """
    seen = num_inputs + BIAS
    ends, links = seen + num_outputs, seen * num_outputs * connected
    roomy = table_lengths(ends, links)
    max_nodes, max_connections = max_nodes or roomy[0], max_connections or roomy[1]
    nodes, connections = (jnp.arange(size, dtype=jnp.int32) for size in (max_nodes, max_connections))
    return Graph(
        ids=nodes,
        places=jnp.where(nodes < seen, INPUT_PLACE, OUTPUT_PLACE).astype(float),
        activations=jnp.full(max_nodes, activation, jnp.int32),
        is_node=nodes < ends,
        sources=connections % seen,
        targets=seen + connections // seen,
        weights=jnp.where(connections < links, jax.random.normal(key, (max_connections,)), 0),
        enabled=connections < links,
        is_connection=connections < links,
    )


def table_lengths(nodes: int, connections: int) -> tuple[int, int]:
    """Table lengths for graphs of so many nodes and connections, and one more generation of growth.

    Lengths are powers of 2, so that a growing population compiles few programs.
    """
    needed = nodes + GROWTH[0], connections + GROWTH[1]
    longer, wider = (max(1 << (length - 1).bit_length(), least) for length, least in zip(needed, LEAST, strict=True))
    return longer, wider


def positions_of(graph: Graph, ids: Int[Array, " any"]) -> Int[Array, " any"]:
    """Positions of nodes with these ids in the table of one graph; 0 where there is none."""
    return jnp.argmax((ids[:, None] == graph.ids[None]) & graph.is_node[None], axis=1)


def resized(graphs: Graph, max_nodes: int, max_connections: int) -> Graph:
    """The same graphs in tables of other lengths.

    Raises:
        ValueError: something that exists would be cut off.
    """
    live = live_size(graphs)
    if max_nodes < live[0] or max_connections < live[1]:
        raise ValueError(f"tables of {max_nodes} nodes and {max_connections} connections are shorter than the graphs'")

    def table(name: str, leaf: Array) -> Array:
        length = max_nodes if name in NODE_COLUMNS else max_connections
        kept = leaf[..., :length]
        missing = [(0, 0)] * (leaf.ndim - 1) + [(0, length - kept.shape[-1])]
        return jnp.pad(kept, missing)

    return Graph(**{name: table(name, getattr(graphs, name)) for name in Graph.__dataclass_fields__})


def live_size(graphs: Graph) -> tuple[int, int]:
    """Nodes and connections of the largest of some graphs."""
    return int(jnp.max(graphs.num_nodes)), int(jnp.max(graphs.num_connections))
