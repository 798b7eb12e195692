"""What evolution remembers from one generation to the next."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree
from etm_jax.selection import Scores

NO_PARENT = -1  # the parent id of a genome drawn at random


@pytree
class Population:
    """Genomes with their scores and descent.

    Attributes:
        genomes: of the problem's family; every array has a leading population axis.
        scores: what a selector may see. Nobody is alive before the first evaluation.
        ids: a number of one's own; an elite keeps it.
        parents: ids of the two parents, the same twice for one parent, `NO_PARENT` for none.
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
    """A whole run between two generations; enough to go on from, bit for bit.

    Attributes:
        key: consumed by the next generation.
        generation: generations done.
        population: the last generation's, evaluated.
        difficulty: present difficulty of each task, 0 to 1.
        champion: the most reliable network so far, as it was when it was scored.
        champion_id: its id, `NO_PARENT` before the first generation.
        buckets: sizes of the padded shapes that networks compute in, cheapest first, the last one the whole bounds'.
        champion_score: weighted accuracy on the episodes of its last defence, half of them at twice the length.
        archive: the members that are kept beside the population, a population of their own; () without an archive.
    """

    key: Key
    generation: Int[Array, "*batch"]
    population: Population
    difficulty: Float[Array, "*batch task"]
    buckets: Int[Array, "*batch bucket gene"]
    champion: Any
    champion_id: Int[Array, "*batch"]
    champion_score: Float[Array, "*batch"]
    archive: Any


def unscored(size: int, num_cases: int = 1, num_objectives: int = 0, num_descriptors: int = 0) -> Scores:
    """The scores of members that nobody has evaluated, and that may have so many of everything; nobody is alive."""
    return Scores(
        fitness=jnp.zeros(size),
        alive=jnp.zeros(size, bool),
        cases=jnp.zeros((size, num_cases)),
        objectives=jnp.zeros((size, num_objectives)) if num_objectives else None,
        descriptors=jnp.zeros((size, num_descriptors)) if num_descriptors else None,
        age=jnp.zeros(size, jnp.int32),
    )


def choose(which: Bool[Array, " population"], first: Any, second: Any) -> Any:
    """Each member of one pytree with a leading population axis, where True, or of another."""
    return jax.tree.map(
        lambda one, other: jnp.where(which.reshape(-1, *(1,) * (one.ndim - 1)), one, other), first, second
    )


def member(genomes: Any, index: Int[Array, "..."] | int) -> Any:
    """One individual's part of a pytree with a leading population axis, or several for an array of indices."""
    return jax.tree.map(lambda array: array[index], genomes)
