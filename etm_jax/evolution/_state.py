"""What evolution remembers from one generation to the next."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree
from etm_jax.selection import Scores

NOBODY = -1  # the parent id of a genome drawn at random


@pytree
class Population:
    """Genomes with their scores and descent.

    Attributes:
        genomes: of the problem's family; every array has a leading population axis.
        fitness: maximised; means something only where `alive`.
        alive: True = evaluated with finite numbers. Nobody is alive before the first evaluation.
        ids: a number of one's own; an elite keeps it.
        parents: ids of the two parents, the same twice for one parent, `NOBODY` for none.
        cases: how each did in every case that its fitness is made of, maximised.
        next_id: the first id not given yet.
    """

    genomes: Any
    fitness: Float[Array, "*batch population"]
    alive: Bool[Array, "*batch population"]
    ids: Int[Array, "*batch population"]
    parents: Int[Array, "*batch population 2"]
    cases: Float[Array, "*batch population case"]
    next_id: Int[Array, "*batch"]

    @property
    def scores(self) -> Scores:
        """What a selector may see."""
        return Scores(fitness=self.fitness, alive=self.alive, cases=self.cases)


@pytree
class EvolutionState:
    """A whole run between two generations; enough to go on from, bit for bit.

    Attributes:
        key: consumed by the next generation.
        generation: generations done.
        population: the last generation's, evaluated.
        difficulty: present difficulty of each task, 0 to 1.
        champion: the most reliable network so far, as it was when it was scored.
        champion_id: its id, `NOBODY` before the first generation.
        tiers: sizes of the padded shapes that networks compute in, cheapest first, the last one the whole bounds'.
        champion_merit: weighted accuracy on the episodes of its last defence, half of them at twice the length.
    """

    key: Key
    generation: Int[Array, "*batch"]
    population: Population
    difficulty: Float[Array, "*batch task"]
    tiers: Int[Array, "*batch tier gene"]
    champion: Any
    champion_id: Int[Array, "*batch"]
    champion_merit: Float[Array, "*batch"]


def unevaluated(
    genomes: Any, ids: Int[Array, " population"], parents: Int[Array, "population 2"], num_cases: int
) -> Population:
    """A population that has yet to be scored."""
    size = ids.size
    return Population(
        genomes=genomes,
        fitness=jnp.zeros(size),
        alive=jnp.zeros(size, bool),
        ids=ids,
        parents=parents,
        cases=jnp.zeros((size, num_cases)),
        next_id=jnp.max(ids) + 1,
    )


def member(genomes: Any, index: Int[Array, "..."] | int) -> Any:
    """One individual's part of a pytree with a leading population axis, or several for an array of indices."""
    return jax.tree.map(lambda array: array[index], genomes)
