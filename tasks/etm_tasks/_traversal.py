"""Traversal: follow named edges through a graph given edge by edge (Graves, Wayne et al. 2016)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._draws import check_range, scaled_length, uniforms, whole
from etm_tasks._graphs import Triples, check_graph, draw_edge_labels, draw_graph, triples_of
from etm_tasks._triples import GraphTask, Query, conversation, ended


@dataclass(frozen=True)
class Traversal(GraphTask):
    """Follow a path through a graph.

    An episode lists all edges of a graph as (source, edge, destination), in random order. The query names a node and an
    edge, then further edges. The answer is the triples on that path and the end triple. The path is a random walk whose
    length is uniform on `min_path..max_path`. The number of nodes is uniform on `min_nodes..max_nodes`, the number of
    edges from a node on `2..max_out_degree`. The defaults are those of the paper's last lesson.

    Attributes:
        min_nodes: fewest nodes, at least 3.
        max_nodes: most nodes at difficulty 1.
        max_out_degree: most edges from a node at difficulty 1.
        min_path: fewest edges of a path.
        max_path: most edges of a path at difficulty 1.

    Raises:
        ValueError: not `3 <= min_nodes <= max_nodes <= 1000`, not `2 <= max_out_degree < max_nodes`, or not
            `1 <= min_path <= max_path`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("traversal", max_nodes=6, max_out_degree=3, max_path=4)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 27, 92), (4, 27, 90))
    """

    min_nodes: int = 3
    max_nodes: int = 40
    max_out_degree: int = 6
    min_path: int = 1
    max_path: int = 20

    def __post_init__(self) -> None:
        check_graph("traversal", self.min_nodes, self.max_nodes, self.max_out_degree)
        check_range("traversal", "min_path", "max_path", (self.min_path, self.max_path), least=1)

    @property
    def name(self) -> str:
        """`traversal`."""
        return "traversal"

    @property
    def num_steps(self) -> int:
        """All edges, the query, and the answer with its end."""
        return self.max_nodes * self.max_out_degree + 2 * self.max_path + 1

    def draw(self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float) -> Episode:
        """One new episode, without the batch axis."""
        key_graph, key_edges, key_order, key_path = jax.random.split(key, 4)
        graph = draw_graph(key_graph, self.min_nodes, self.max_nodes, self.max_out_degree, difficulty)
        edge_label = draw_edge_labels(key_edges, graph)
        longest = scaled_length(self.min_path, self.max_path, difficulty)
        a_length, a_start, turns = uniforms(key_path, (), (), (self.max_path + 1,))
        length = whole(a_length, self.min_path, longest)
        degree = jnp.sum(graph.edge_exists, axis=1)

        def walk(node: Int[Array, ""], turn: Float[Array, ""]) -> tuple[Array, Array]:
            edge = whole(turn, 0, degree[node] - 1)
            after = graph.neighbour[node, edge]
            return after, jnp.stack([graph.node_label[node], edge_label[node, edge], graph.node_label[after]])

        start = whole(a_start, 0, graph.num_nodes - 1)
        path = jax.lax.scan(walk, start, turns)[1]
        first = jnp.arange(self.max_path + 1) == 0
        # The query shows (node, edge, _), then (_, edge, _) and so on.
        shown = jnp.stack([first, jnp.ones_like(first), jnp.zeros_like(first)], axis=-1)
        return conversation(
            self.num_steps,
            triples_of(key_order, graph, edge_label),
            Query(path, shown, length),
            0,
            Triples(ended(path, length), length + 1),
        )

    def longer(self, factor: int) -> "Traversal":
        """Paths of exactly `factor * max_path` edges, in graphs of the same sizes."""
        return replace(self, min_path=factor * self.max_path, max_path=factor * self.max_path)
