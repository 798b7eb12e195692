"""Shortest path: name the edges of a shortest path between two nodes of a graph (Graves, Wayne et al. 2016)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._draws import check_range, one_of, scaled_length, uniforms, whole
from etm_tasks._graphs import NUM_LABELS, Graph, Triples, check_graph, draw_edge_labels, draw_graph, triples_of
from etm_tasks._triples import GraphTask, Query, conversation, ended


@dataclass(frozen=True)
class ShortestPath(GraphTask):
    """Find the shortest path from one node to another.

    An episode lists all edges of a graph as (source, edge, destination), in random order. The query is (source, _,
    destination). After `planning_steps` without input the triples on a shortest path are due, then the end triple. Of
    several shortest paths only one is right: at each node it takes, among the edges that lead nearer to the
    destination, the one with the smallest label.

    The number of edges on the path is uniform on `min_path..max_path`; if the graph has no path that long, its longest
    path is used.

    Attributes:
        min_nodes: fewest nodes, at least 3.
        max_nodes: most nodes at difficulty 1.
        max_out_degree: most edges from a node at difficulty 1.
        min_path: fewest edges of a path, if the graph has one.
        max_path: most edges of a path at difficulty 1.
        planning_steps: steps between query and answer.

    Raises:
        ValueError: not `3 <= min_nodes <= max_nodes <= 1000`, not `2 <= max_out_degree < max_nodes`, not
            `1 <= min_path <= max_path < max_nodes`, or negative `planning_steps`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("shortest_path", max_nodes=6, max_out_degree=3, max_path=2)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 32, 92), (4, 32, 90))
    """

    min_nodes: int = 3
    max_nodes: int = 20
    max_out_degree: int = 6
    min_path: int = 1
    max_path: int = 4
    planning_steps: int = 10

    def __post_init__(self) -> None:
        check_graph("shortest_path", self.min_nodes, self.max_nodes, self.max_out_degree)
        check_range("shortest_path", "min_path", "max_path", (self.min_path, self.max_path), least=1)
        if self.max_path >= self.max_nodes:
            raise ValueError(f"shortest_path needs max_path < max_nodes, got {self.max_path} and {self.max_nodes}")
        if self.planning_steps < 0:
            raise ValueError(f"shortest_path needs planning_steps >= 0, got {self.planning_steps}")

    @property
    def name(self) -> str:
        """`shortest_path`."""
        return "shortest_path"

    @property
    def num_steps(self) -> int:
        """All edges, the query, the planning steps, and the answer with its end."""
        return self.max_nodes * self.max_out_degree + 1 + self.planning_steps + self.max_path + 1

    def draw(self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float) -> Episode:
        """One new episode, without the batch axis."""
        key_graph, key_edges, key_order, key_path = jax.random.split(key, 4)
        a_length, pairs = uniforms(key_path, (), (self.max_nodes**2,))
        graph = draw_graph(key_graph, self.min_nodes, self.max_nodes, self.max_out_degree, difficulty)
        edge_label = draw_edge_labels(key_edges, graph)
        distance = distances(graph, self.max_path)
        longest = scaled_length(self.min_path, self.max_path, difficulty)
        wanted = whole(a_length, self.min_path, longest)
        length = jnp.max(jnp.where(distance <= wanted, distance, 0))
        pair = one_of(pairs, (distance == length).reshape(-1))
        start, end = jnp.divmod(pair.astype(graph.neighbour.dtype), self.max_nodes)

        def walk(node: Int[Array, ""], _: None) -> tuple[Array, Array]:
            nearer = graph.edge_exists[node] & (distance[graph.neighbour[node], end] < distance[node, end])
            edge = jnp.argmin(jnp.where(nearer, edge_label[node], NUM_LABELS))
            after = graph.neighbour[node, edge]
            return after, jnp.stack([graph.node_label[node], edge_label[node, edge], graph.node_label[after]])

        path = jax.lax.scan(walk, start, length=self.max_path + 1)[1]
        query = jnp.stack([graph.node_label[start], 0 * pair, graph.node_label[end]])[None]
        return conversation(
            self.num_steps,
            triples_of(key_order, graph, edge_label),
            Query(query, jnp.array([[True, False, True]]), 1),
            self.planning_steps,
            Triples(ended(path, length), length + 1),
        )

    def longer(self, factor: int) -> "ShortestPath":
        """Paths of `factor * max_path` edges in graphs of exactly `factor * max_nodes` nodes.

        The graphs grow because small ones have no paths that long. If these have none either, the longest path is used.

        Raises:
            ValueError: more than 1,000 nodes.
        """
        nodes, path = factor * self.max_nodes, factor * self.max_path
        return replace(self, min_nodes=nodes, max_nodes=nodes, min_path=path, max_path=path)


def distances(graph: Graph, furthest: int) -> Int[Array, "node destination"]:
    """Length of the shortest path between any two nodes, in edges; `furthest + 1` if it is longer than `furthest`.

    Padding nodes are at `furthest + 1` from all nodes but themselves.
    """
    num_nodes = graph.node_label.shape[0]
    far = furthest + 1
    nowhere = jnp.where(jnp.eye(num_nodes, dtype=bool), 0, far)

    def relax(distance: Int[Array, "node destination"], _: None) -> tuple[Array, None]:
        onward = jnp.where(graph.edge_exists[..., None], distance[graph.neighbour] + 1, far)
        return jnp.minimum(distance, jnp.min(onward, axis=1)), None

    return jax.lax.scan(relax, nowhere, length=furthest)[0]
