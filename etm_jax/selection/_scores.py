"""What a selector sees, what it answers, the contract between them, and draws that never pick a failed member."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key, pytree


@pytree
class Scores:
    """The scores of a population. A selector sees these and never a genome.

    A field is None where the scores are unknown; the docstring of a selector that needs them says what it takes
    instead.

    Attributes:
        fitness: maximised; meaningful only where `alive`.
        alive: True = evaluated with finite numbers in every score taken; the others have failed.
        cases: the scores at each case that makes up the fitness, maximised.
        objectives: each maximised; costs are negative.
        descriptors: what tells members apart, each in [0, 1].
        age: generations survived, 0 for offspring.
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
        """The same scores, where a member without a finite fitness and finite `needed` scores counts as failed.

        Every selector and archive begins with this. The scores of a failed member become 0.

        Args:
            *needed: names of scores with an axis of their own: `cases`, `objectives`, `descriptors`.
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
        """The cases, or the fitness as the only one; -inf for failed members."""
        return self._with_failed_last(self.cases)

    @property
    def by_objective(self) -> Float[Array, " population objective"]:
        """The objectives, or the fitness as the only one; -inf for failed members."""
        return self._with_failed_last(self.objectives)

    def _with_failed_last(self, values: Array | None) -> Array:
        values = self.fitness[..., None] if values is None else values
        return jnp.where(self.alive[..., None], values, -jnp.inf)

    @property
    def ranked(self) -> Float[Array, " population"]:
        """The fitness; -inf for failed members."""
        return jnp.where(self.alive, self.fitness, -jnp.inf)


@pytree
class Selection:
    """The next population, by index into the present one.

    Attributes:
        survivors: kept unchanged.
        parents: two for each offspring; the same twice for an offspring of one.
    """

    survivors: Int[Array, "*batch elite"]
    parents: Int[Array, "*batch child 2"]


@runtime_checkable
class Selector(Protocol):
    """Picks survivors and parents. Frozen, hashable and pure.

    Objectives and descriptors are measured only for selectors that name them in a tuple attribute `needs`; only those
    that name `cases` there may get a case an episode.

    A failed member becomes a parent only if every member has failed, and survives only if too few others are there;
    the engine then puts a random genome in its place.
    """

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Fill a population of `scores.num_places`. The key is consumed."""
        ...


def check_elites(num_elites: int) -> None:
    """Raise a ValueError unless `num_elites` is a whole number of at least 0."""
    require_count("num_elites", num_elites, 0)


def check_turnover(turnover: float) -> None:
    """Raise a ValueError unless `turnover` is in (0, 1]."""
    if not 0 < turnover <= 1:
        raise ValueError(f"turnover must be in (0, 1], got {turnover}")


def num_survivors(scores: Scores, turnover: float) -> int:
    """The places that offspring leave free; there is at least one offspring."""
    return max(scores.num_places - max(round(turnover * scores.num_places), 1), 0)


def elites(scores: Scores, num_elites: int) -> Int[Array, " elite"]:
    """The best members, fewer than the population, so that there is always an offspring."""
    _, best = jax.lax.top_k(scores.ranked, min(num_elites, scores.num_places - 1))
    return best


def uniform_over(key: Key, alive: Bool[Array, " population"], shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Draw members uniformly with replacement, from those alive, or from all if none is. The key is consumed."""
    eligible = alive | ~jnp.any(alive)
    first = jnp.argsort(~eligible, stable=True)  # eligible members in front
    count = jnp.sum(eligible)
    chance = jax.random.uniform(key, shape)
    drawn = jnp.floor(chance * count.astype(chance.dtype)).astype(count.dtype)
    return first[jnp.minimum(drawn, count - 1)]  # a draw just below 1 may round up to the count


def proportional(
    key: Key, worth: Float[Array, "*pick population"], alive: Bool[Array, "population"], shape: tuple[int, ...]
) -> Int[Array, "..."]:
    """Draw members with replacement in proportion to their worth, or uniformly if every worth is 0.

    Args:
        key: consumed.
        worth: of each member, at least 0; ignored for failed members.
        alive: True = may be drawn; if none is, all may.
        shape: of the draws; leading axes of `worth` broadcast against it.
    """
    eligible = alive | ~jnp.any(alive)
    eligible = jnp.broadcast_to(eligible, worth.shape)
    worth = jnp.where(eligible, worth, 0)
    worth = jnp.where(jnp.any(worth > 0, axis=-1, keepdims=True), worth, eligible.astype(worth.dtype))
    return jax.random.categorical(key, jnp.log(worth), shape=shape)
