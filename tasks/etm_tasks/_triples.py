"""What the graph tasks have in common: triples as channels, and an episode as a conversation in phases."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax.task import Episode
from etm_tasks._answers import SymbolTask

TRIPLE = 3  # source, edge, destination
LABEL_DIGITS = 3
BASE = 10
FLAGS = 2
# Label 999 three times ends an answer. It is no edge: none leads from a node to itself.
END = 999


class GraphTask(SymbolTask):
    """Sizes and batches of a task on graphs, whose answers are nine decimal digits a step: a triple of labels."""

    num_symbols = BASE

    @property
    def input_size(self) -> int:
        """A triple's digits one-hot, the flag of a new phase, and the flag of an answer that is due."""
        return self.output_size + FLAGS

    @property
    def output_size(self) -> int:
        """A triple's digits one-hot."""
        return TRIPLE * LABEL_DIGITS * BASE

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """Fresh episodes; difficulty scales the paths and the graphs. The key is consumed."""
        return jax.vmap(lambda key: self.draw(key, difficulty))(jax.random.split(key, batch_size))

    def draw(self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float) -> Episode:
        """One fresh episode, without the batch axis. The key is consumed."""
        raise NotImplementedError


def conversation(
    num_steps: int,
    description: tuple[Int[Array, "triple 3"], Int[Array, ""]],
    query: tuple[Int[Array, "question 3"], Bool[Array, "question 3"], Int[Array, ""] | int],
    planning_steps: int,
    answer: tuple[Int[Array, "answer 3"], Int[Array, ""] | int],
) -> Episode:
    """One episode: a graph's triples, the triples of a query, steps without input, and steps with an answer due.

    Args:
        num_steps: of the episode, padding included.
        description: the graph's triples, and how many of them count.
        query: its triples, which of their labels are shown, and how many triples count.
        planning_steps: between query and answer.
        answer: its triples, and how many of them count.
    """
    step = jnp.arange(num_steps)
    triples, num_triples = description
    questions, shown, num_questions = query
    answers, num_answers = answer
    query_start = num_triples
    planning_start = query_start + num_questions
    answer_start = planning_start + planning_steps
    described, asked = step < query_start, (step >= query_start) & (step < planning_start)
    due = (step >= answer_start) & (step < answer_start + num_answers)

    def at(rows: Array, position: Array) -> Array:
        return rows[jnp.clip(position, 0, rows.shape[0] - 1)]

    told = one_hot(at(triples, step)) * described[:, None, None].astype(float)
    visible = at(shown, step - query_start) & asked[:, None]
    question = one_hot(at(questions, step - query_start)) * visible[..., None].astype(float)
    opens = (step == query_start) | (step == planning_start) | (step == answer_start)
    flags = jnp.stack([opens, due], axis=-1).astype(float)
    target = one_hot(at(answers, step - answer_start)) * due[:, None, None].astype(float)
    return Episode(
        inputs=jnp.concatenate([(told + question).reshape(num_steps, -1), flags], axis=-1),
        targets=target.reshape(num_steps, -1),
        step_valid=due,
    )


def one_hot(labels: Int[Array, "*lead"]) -> Float[Array, "*lead channel"]:
    """The three digits of each label, the most significant first, ten channels a digit."""
    digits = jnp.stack([labels // 100, labels // 10 % BASE, labels % BASE], axis=-1)
    return jax.nn.one_hot(digits, BASE).reshape(*labels.shape, LABEL_DIGITS * BASE)


def ended(path: Int[Array, "triple 3"], length: Int[Array, ""]) -> Int[Array, "triple 3"]:
    """A path with the end from `length` on."""
    return jnp.where((jnp.arange(path.shape[0]) < length)[:, None], path, END)
