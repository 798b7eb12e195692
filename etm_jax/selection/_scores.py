"""What a selector sees, what it answers, and the contract between them."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree


@pytree
class Scores:
    """How the members of a population did. A selector sees this and never a genome.

    Attributes:
        fitness: maximised; means something only where `alive`.
        alive: True = the evaluation ended with finite numbers.
        cases: how it did in each case that the fitness is made of, maximised; None where that is not known.
    """

    fitness: Float[Array, "*batch population"]
    alive: Bool[Array, "*batch population"]
    cases: Float[Array, "*batch population case"] | None = None

    @property
    def by_case(self) -> Float[Array, " population case"]:
        """Scores of the cases, or of the fitness where there are none; failed members at the bottom."""
        cases = self.fitness[..., None] if self.cases is None else self.cases
        return jnp.where(self.alive[..., None], cases, -jnp.inf)

    @property
    def ranked(self) -> Float[Array, " population"]:
        """Fitness with failed members at the bottom."""
        return jnp.where(self.alive, self.fitness, -jnp.inf)


@pytree
class Selection:
    """Who makes up the next population, by index into the present one.

    Attributes:
        survivors: kept as they are.
        parents: two for each offspring, the same twice for an offspring of one.
    """

    survivors: Int[Array, "*batch elite"]
    parents: Int[Array, "*batch child 2"]


@runtime_checkable
class Selector(Protocol):
    """Picks survivors and parents. Frozen and hashable; pure.

    A failed member is picked only when every member has failed; the engine then draws fresh genomes in its place.
    """

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Fill a population of the same size. The key is consumed."""
        ...
