"""Inference: find the node related to another by a relation that must be learnt (Graves, Wayne et al. 2016)."""

import functools
import random
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._draws import check_range, one_of, scaled_length, uniforms, whole
from etm_tasks._graphs import Graph, Triples, check_graph, draw_graph, triples_of
from etm_tasks._triples import GraphTask, Query, conversation

NUM_EDGE_LABELS = 10
RELATIONS_PER_LENGTH = 100
SHORTEST, LONGEST = 2, 5  # lengths of relations


@dataclass(frozen=True)
class Inference(GraphTask):
    """Find the node that a relation, short for a path of edges, leads to.

    There are 400 relations, the same in every episode: 100 for each length of 2 to 5, each a fixed sequence of edge
    labels 0 to 9 (`relations`). Relation j of length L has the label 100 L + j. No input shows its sequence; the
    network has to learn the table.

    An episode lists all edges of a graph as (source, edge, destination), in random order. The query is (node, relation,
    _). After `planning_steps` without input the full triple is due: the node, the relation, and the node at the end of
    the relation's path. The length is uniform on `min_length..max_length`; relation and node are uniform too.

    Attributes:
        min_nodes: fewest nodes, at least 3.
        max_nodes: most nodes at difficulty 1.
        max_out_degree: most edges from a node at difficulty 1, at most 10.
        min_length: smallest length of a relation, at least 2.
        max_length: greatest length of a relation at difficulty 1, at most 5.
        planning_steps: steps between query and answer.

    Raises:
        ValueError: not `3 <= min_nodes <= max_nodes <= 1000`, not `2 <= max_out_degree < max_nodes`, more than ten
            edges from a node, not `2 <= min_length <= max_length <= 5`, or negative `planning_steps`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("inference", max_nodes=6, max_out_degree=3)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, episode.targets.shape
        ((4, 30, 92), (4, 30, 90))
    """

    min_nodes: int = 3
    max_nodes: int = 20
    max_out_degree: int = 6
    min_length: int = SHORTEST
    max_length: int = LONGEST
    planning_steps: int = 10

    def __post_init__(self) -> None:
        check_graph("inference", self.min_nodes, self.max_nodes, self.max_out_degree)
        check_range("inference", "min_length", "max_length", (self.min_length, self.max_length), least=SHORTEST)
        if self.max_length > LONGEST:
            raise ValueError(
                f"inference needs max_length <= {LONGEST}, the longest relations, got {self.max_length}; lower it"
            )
        if self.max_out_degree > NUM_EDGE_LABELS:
            raise ValueError(
                f"inference needs max_out_degree <= {NUM_EDGE_LABELS}, the number of edge labels, "
                f"got {self.max_out_degree}"
            )
        if self.planning_steps < 0:
            raise ValueError(f"inference needs planning_steps >= 0, got {self.planning_steps}")

    @property
    def name(self) -> str:
        """`inference`."""
        return "inference"

    @property
    def num_steps(self) -> int:
        """All edges, the query, the planning steps, and the answer."""
        return self.max_nodes * self.max_out_degree + 1 + self.planning_steps + 1

    def draw(self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float) -> Episode:
        """One new episode, without the batch axis."""
        key_graph, key_order, key_path = jax.random.split(key, 3)
        a_length, a_number, a_start, labels, turns = uniforms(
            key_path, (), (), (), (self.max_nodes, NUM_EDGE_LABELS), (LONGEST, NUM_EDGE_LABELS)
        )
        graph = draw_graph(key_graph, self.min_nodes, self.max_nodes, self.max_out_degree, difficulty)
        longest = scaled_length(self.min_length, self.max_length, difficulty)
        length = whole(a_length, self.min_length, longest)
        number = whole(a_number, 0, RELATIONS_PER_LENGTH - 1)
        sequence = jnp.asarray(relations())[length - SHORTEST, number]
        start = whole(a_start, 0, graph.num_nodes - 1)
        edge_label, end = lay_path(turns, graph, jnp.argsort(labels, axis=1), start, sequence, length)
        relation = RELATIONS_PER_LENGTH * length + number
        answer = jnp.stack([graph.node_label[start], relation, graph.node_label[end]])[None]
        return conversation(
            self.num_steps,
            triples_of(key_order, graph, edge_label[:, : self.max_out_degree]),
            Query(answer, jnp.array([[True, True, False]]), 1),
            self.planning_steps,
            Triples(answer, 1),
        )

    def longer(self, factor: int) -> "Inference":
        """Relations of exactly `max_length` in graphs of exactly `factor * max_nodes` nodes.

        Relations do not get longer: the network cannot know a relation outside the table.

        Raises:
            ValueError: more than 1,000 nodes.
        """
        nodes = factor * self.max_nodes
        return replace(self, min_nodes=nodes, max_nodes=nodes, min_length=self.max_length)


@functools.cache
def relations() -> Int[np.ndarray, "length relation position"]:
    """The edge labels of every relation, a constant: [length - 2, number, position], -1 past the length.

    All relations of a length are distinct. Those of length 2 are all pairs of edge labels.
    """
    draws = random.Random(2016).random  # Python guarantees this sequence across versions
    table = np.full((LONGEST - SHORTEST + 1, RELATIONS_PER_LENGTH, LONGEST), -1, np.int32)
    for length in range(SHORTEST, LONGEST + 1):
        chosen: dict[tuple[int, ...], None] = {}
        while len(chosen) < RELATIONS_PER_LENGTH:
            chosen[tuple(int(NUM_EDGE_LABELS * draws()) for _ in range(length))] = None
        table[length - SHORTEST, :, :length] = list(chosen)
    return table


class _Walk(NamedTuple):
    node: Int[Array, ""]
    labels: Int[Array, "node label"]
    used: Bool[Array, "node label"]  # edges that the path has taken


def lay_path(
    turns: Float[Array, "position label"],
    graph: Graph,
    edge_label: Int[Array, "node label"],
    start: Int[Array, ""],
    sequence: Int[Array, " position"],
    length: Int[Array, ""],
) -> tuple[Int[Array, "node label"], Int[Array, ""]]:
    """Swap labels so that a path with the given sequence of labels starts at `start`.

    At each node the wanted label is swapped onto a random unused edge, preferably one that does not lead back to
    `start`. If a used edge already has the label, the path takes it again.

    An unused edge always exists. Every node has at least two edges, so only a node that the path leaves for the third
    time could have none left. On a path of five edges that could only be `start`, left by edges 1, 3 and 5; but edge 2
    never leads back to it.

    Args:
        turns: uniform draws.
        graph: the graph.
        edge_label: for each node all labels, in any order; the first are those of its edges.
        start: first node of the path.
        sequence: the labels on the path.
        length: number of labels that count.

    Returns:
        The labels after the swaps, and the last node of the path.
    """
    spare = ((0, 0), (0, edge_label.shape[1] - graph.neighbour.shape[1]))
    exists = jnp.pad(graph.edge_exists, spare)
    neighbour = jnp.pad(graph.neighbour, spare)

    def step(walk: _Walk, inputs: tuple[Array, Array, Array]) -> tuple[_Walk, None]:
        node, labels, used = walk
        position, wanted, turn = inputs
        held = jnp.argmax(labels[node] == wanted)
        fresh = exists[node] & ~used[node]
        away = fresh & (neighbour[node] != start)
        edge = jnp.where(used[node, held], held, one_of(turn, jnp.where(jnp.any(away), away, fresh)))
        swapped = labels.at[node, held].set(labels[node, edge]).at[node, edge].set(wanted)
        walked = _Walk(neighbour[node, edge], swapped, used.at[node, edge].set(True))
        return jax.tree.map(lambda new, old: jnp.where(position < length, new, old), walked, walk), None

    inputs = jnp.arange(sequence.shape[0]), sequence, turns
    begin = _Walk(start, edge_label, jnp.zeros(edge_label.shape, bool))
    end, _ = jax.lax.scan(step, begin, inputs)
    return end.labels, end.node
