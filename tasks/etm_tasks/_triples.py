"""Shared by the graph tasks: triples as channels, and the phases of an episode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import SymbolTask
from etm_tasks._graphs import Triples

TRIPLE = 3  # source, edge, destination
LABEL_DIGITS = 3
BASE = 10
FLAGS = 2
# Three labels 999 end an answer. They cannot be an edge, since no edge leads from a node to itself.
END = 999


class Query(NamedTuple):
    """Triples of a query.

    Attributes:
        labels: the triples.
        shown: True = the label is shown to the network.
        count: number of triples that exist; they come first.
    """

    labels: Int[Array, "question 3"]
    shown: Bool[Array, "question 3"]
    count: Int[Array, ""] | int


class GraphTask(SymbolTask):
    """Sizes and batches of a task on graphs. An answer step is a triple of labels, nine decimal digits."""

    num_symbols = BASE

    @property
    def input_size(self) -> int:
        """The one-hot digits of a triple, a flag at the start of a phase, and a flag while an answer is due."""
        return self.output_size + FLAGS

    @property
    def output_size(self) -> int:
        """The one-hot digits of a triple."""
        return TRIPLE * LABEL_DIGITS * BASE

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; difficulty scales the paths and the graphs."""
        return jax.vmap(lambda key: self.draw(key, difficulty))(jax.random.split(key, batch_size))

    def draw(self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float) -> Episode:
        """One new episode, without the batch axis."""
        raise NotImplementedError


def conversation(num_steps: int, description: Triples, query: Query, planning_steps: int, answer: Triples) -> Episode:
    """One episode in phases: the graph's triples, the query, planning steps without input, the answer.

    Args:
        num_steps: length of the episode, including padding.
        description: the edges of the graph.
        query: the query.
        planning_steps: number of steps between query and answer.
        answer: the targets.
    """
    step = jnp.arange(num_steps)
    query_start = description.count
    planning_start = query_start + query.count
    answer_start = planning_start + planning_steps
    described, asked = step < query_start, (step >= query_start) & (step < planning_start)
    due = (step >= answer_start) & (step < answer_start + answer.count)

    def at(rows: Array, position: Array) -> Array:
        return rows[jnp.clip(position, 0, rows.shape[0] - 1)]

    told = one_hot(at(description.labels, step)) * described[:, None, None].astype(float)
    visible = at(query.shown, step - query_start) & asked[:, None]
    question = one_hot(at(query.labels, step - query_start)) * visible[..., None].astype(float)
    opens = (step == query_start) | (step == planning_start) | (step == answer_start)
    flags = jnp.stack([opens, due], axis=-1).astype(float)
    target = one_hot(at(answer.labels, step - answer_start)) * due[:, None, None].astype(float)
    return Episode(
        inputs=jnp.concatenate([(told + question).reshape(num_steps, -1), flags], axis=-1),
        targets=target.reshape(num_steps, -1),
        step_valid=due,
    )


def one_hot(labels: Int[Array, "*lead"]) -> Float[Array, "*lead channel"]:
    """The three digits of each label, most significant first, ten channels per digit."""
    digits = jnp.stack([labels // 100, labels // 10 % BASE, labels % BASE], axis=-1)
    return jax.nn.one_hot(digits, BASE).reshape(*labels.shape, LABEL_DIGITS * BASE)


def ended(path: Int[Array, "triple 3"], length: Int[Array, ""]) -> Int[Array, "triple 3"]:
    """The path with end triples from position `length` on."""
    return jnp.where((jnp.arange(path.shape[0]) < length)[:, None], path, END)
