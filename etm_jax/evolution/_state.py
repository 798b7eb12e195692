"""What evolution remembers from one generation to the next."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree
from etm_jax.runs._history import NO_ID as NO_ID
from etm_jax.selection import Scores


@pytree
class Population:
    """Genomes with their scores and descent.

    Attributes:
        genomes: of the problem's model; every array has a leading population axis.
        scores: what a selector may see. No member is alive before the first evaluation.
        ids: each member's own number; an elite keeps it.
        parents: ids of the two parents, the same twice for one parent, `NO_ID` for none.
        next_id: the first id not given yet.
    """

    genomes: Any
    scores: Scores
    ids: Int[Array, "*batch population"]
    parents: Int[Array, "*batch population 2"]
    next_id: Int[Array, "*batch"]

    @property
    def fitness(self) -> Float[Array, "*batch population"]:
        """Maximised; means something only where `alive`."""
        return self.scores.fitness

    @property
    def alive(self) -> Bool[Array, "*batch population"]:
        """True = evaluated with finite numbers."""
        return self.scores.alive


@pytree
class EvolutionState:
    """A whole run between two generations; enough to resume from, bit for bit.

    Attributes:
        key: consumed by the next generation.
        generation: generations done.
        population: the last generation's, evaluated.
        difficulty: present difficulty of each task, 0 to 1.
        champion: the most reliable network so far, as it was when it was scored.
        champion_id: its id, `NO_ID` before the first generation.
        buckets: sizes of the padded shapes that the model computes in; () for a model of one shape.
        champion_score: its validation score on the episodes of its last defence.
        archive: the members that are kept beside the population, a population of their own; () without an archive.
    """

    key: Key
    generation: Int[Array, "*batch"]
    population: Population
    difficulty: Float[Array, "*batch task"]
    buckets: Any
    champion: Any
    champion_id: Int[Array, "*batch"]
    champion_score: Float[Array, "*batch"]
    archive: Any


def unscored(size: int, num_cases: int = 1, num_objectives: int = 0, num_descriptors: int = 0) -> Scores:
    """The scores of members before their evaluation, for so many cases, objectives and descriptors; none is alive."""
    return Scores(
        fitness=jnp.zeros(size),
        alive=jnp.zeros(size, bool),
        cases=jnp.zeros((size, num_cases)),
        objectives=jnp.zeros((size, num_objectives)) if num_objectives else None,
        descriptors=jnp.zeros((size, num_descriptors)) if num_descriptors else None,
        age=jnp.zeros(size, jnp.int32),
    )
