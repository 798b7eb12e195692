"""What a selector sees, what it answers, and the contract between them."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree


@pytree
class Scores:
    """How the members of a population did. A selector sees this and never a genome.

    What is None is not known; a selector that needs it takes what its docstring says instead.

    Attributes:
        fitness: maximised; means something only where `alive`.
        alive: True = the evaluation ended with finite numbers, in every score that is taken; the others have failed.
        cases: how it did in each case that the fitness is made of, maximised.
        objectives: what is sought at once, each maximised; costs are negative.
        descriptors: what tells members apart, each in [0, 1].
        age: generations lived, 0 for a newborn.
        places: members of the next population; None for as many as there are here.
    """

    fitness: Float[Array, "*batch population"]
    alive: Bool[Array, "*batch population"]
    cases: Float[Array, "*batch population case"] | None = None
    objectives: Float[Array, "*batch population objective"] | None = None
    descriptors: Float[Array, "*batch population descriptor"] | None = None
    age: Int[Array, "*batch population"] | None = None
    places: int | None = struct.field(pytree_node=False, default=None)

    @property
    def num_places(self) -> int:
        """Members of the next population."""
        return self.fitness.shape[-1] if self.places is None else self.places

    def sound(self, *needed: str) -> "Scores":
        """The same scores, of which whoever lacks a finite fitness or a finite score that is `needed` has failed.

        All selectors and archives see scores so. What a failed member scored is 0.

        Args:
            *needed: names of scores that have an axis of their own, `cases`, `objectives`, `descriptors`.
        """
        kinds = ("cases", "objectives", "descriptors")
        known = {kind: values for kind in kinds if (values := getattr(self, kind)) is not None}
        alive = self.alive & jnp.isfinite(self.fitness)
        for kind in needed:
            if kind in known:
                alive &= jnp.all(jnp.isfinite(known[kind]), axis=-1)
        kept = {kind: jnp.where(alive[..., None], values, 0) for kind, values in known.items()}
        return replace(self, alive=alive, fitness=jnp.where(alive, self.fitness, 0), **kept)

    @property
    def by_case(self) -> Float[Array, " population case"]:
        """Scores of the cases, or of the fitness where there are none; failed members at the bottom."""
        return self._with_failed_last(self.cases)

    @property
    def by_objective(self) -> Float[Array, " population objective"]:
        """The objectives, or the fitness where there are none; failed members at the bottom."""
        return self._with_failed_last(self.objectives)

    def _with_failed_last(self, values: Array | None) -> Array:
        values = self.fitness[..., None] if values is None else values
        return jnp.where(self.alive[..., None], values, -jnp.inf)

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

    Objectives and descriptors are measured for a selector whose attribute `needs`, a tuple, names them.

    A failed member is a parent only when every member has failed, and survives only when there are too few others; the
    engine then draws fresh genomes in its place.
    """

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Fill a population of `scores.num_places`. The key is consumed."""
        ...
