"""Random labelled graphs of the DNC's graph tasks (Graves, Wayne et al. 2016, Methods)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_tasks._draws import check_range, scaled_length, uniforms, whole

NUM_LABELS = 1000  # three decimal digits
MIN_OUT_DEGREE = 2
MIN_NODES = MIN_OUT_DEGREE + 1
FIRST_NODES, FIRST_OUT_DEGREE = 10, 4  # most nodes and edges per node in the paper's first lesson


class Graph(NamedTuple):
    """A directed graph, padded in nodes and edges.

    Attributes:
        num_nodes: number of nodes that exist.
        node_label: distinct numbers.
        neighbour: the node that an edge leads to.
        edge_exists: True = the edge exists; a node's existing edges come first.
    """

    num_nodes: Int[Array, ""]
    node_label: Int[Array, " node"]
    neighbour: Int[Array, "node edge"]
    edge_exists: Bool[Array, "node edge"]


class Triples(NamedTuple):
    """(source, edge, destination) labels, padded.

    Attributes:
        labels: the triples.
        count: number of triples that exist; they come first.
    """

    labels: Int[Array, "triple 3"]
    count: Int[Array, ""] | int


def check_graph(task: str, min_nodes: int, max_nodes: int, max_out_degree: int) -> None:
    """Raise a ValueError unless such graphs exist."""
    check_range(task, "min_nodes", "max_nodes", (min_nodes, max_nodes), least=MIN_NODES)
    if max_nodes > NUM_LABELS:
        raise ValueError(f"{task} needs max_nodes <= {NUM_LABELS}, since labels have three digits, got {max_nodes}")
    if not MIN_OUT_DEGREE <= max_out_degree < max_nodes:
        raise ValueError(
            f"{task} needs {MIN_OUT_DEGREE} <= max_out_degree < max_nodes, got {max_out_degree} and {max_nodes}"
        )


def draw_graph(
    key: PRNGKeyArray, min_nodes: int, max_nodes: int, max_out_degree: int, difficulty: Float[Array, ""] | float
) -> Graph:
    """Random points in the unit square, each with edges to its nearest neighbours.

    The number of nodes is uniform from `min_nodes`, the number of a node's edges uniform from 2. Their upper limits
    grow with difficulty, from 10 and 4 (the paper's first lesson) to `max_nodes` and `max_out_degree`.
    """
    number, points, degrees, labels = uniforms(key, (), (max_nodes, 2), (max_nodes, 1), (NUM_LABELS,))
    most = scaled_length(min(max(FIRST_NODES, min_nodes), max_nodes), max_nodes, difficulty)
    num_nodes = whole(number, min_nodes, most)
    distance = jnp.sum((points[:, None] - points[None]) ** 2, axis=-1)
    node = jnp.arange(max_nodes)
    other = (node[:, None] != node[None]) & (node < num_nodes)[None]
    # -inf keeps padding nodes and the node itself out of the edges that exist.
    _, nearest = jax.lax.top_k(jnp.where(other, -distance, -jnp.inf), max_out_degree)
    widest = scaled_length(min(FIRST_OUT_DEGREE, max_out_degree), max_out_degree, difficulty)
    degree = whole(degrees, MIN_OUT_DEGREE, jnp.minimum(widest, num_nodes - 1))
    exists = (jnp.arange(max_out_degree)[None] < degree) & (node < num_nodes)[:, None]
    _, label = jax.lax.top_k(labels, max_nodes)  # distinct random labels
    return Graph(num_nodes=num_nodes, node_label=label, neighbour=nearest, edge_exists=exists)


def draw_edge_labels(key: PRNGKeyArray, graph: Graph) -> Int[Array, "node edge"]:
    """Random labels of edges, distinct within a node; a graph of n nodes uses n labels."""
    max_nodes, max_out_degree = graph.neighbour.shape
    numbers, rank = uniforms(key, (NUM_LABELS,), (max_nodes, max_nodes))
    rank = jnp.where((jnp.arange(max_nodes) < graph.num_nodes)[None], rank, -1.0)
    _, number = jax.lax.top_k(numbers, max_nodes)
    _, choice = jax.lax.top_k(rank, max_out_degree)
    return number[choice]


def triples_of(key: PRNGKeyArray, graph: Graph, edge_label: Int[Array, "node edge"]) -> Triples:
    """All edges of a graph in random order."""
    source = jnp.broadcast_to(graph.node_label[:, None], edge_label.shape)
    triples = jnp.stack([source, edge_label, graph.node_label[graph.neighbour]], axis=-1).reshape(-1, 3)
    exists = graph.edge_exists.reshape(-1)
    order = jnp.argsort(jnp.where(exists, jax.random.uniform(key, exists.shape), jnp.inf))
    return Triples(triples[order], jnp.sum(exists))
