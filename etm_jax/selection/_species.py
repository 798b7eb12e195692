"""Species: similar members share their fitness and mate with each other, and the best of each survives."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._distances import squared_distances
from etm_jax._require import require_count
from etm_jax._typing import IntScalar, Key
from etm_jax.selection._by_fitness import tournaments
from etm_jax.selection._scores import Scores, Selection, check_elites, proportional


@dataclass(frozen=True)
class SpeciesSelection:
    """A species has children in proportion to its mean fitness, and both parents of a child are of one species.

    From the fittest down, a member founds a species unless it lies within `radius` of an earlier founder; each member
    belongs to the nearest founder. The distance is the root mean square difference of descriptors; memory is one number
    a pair of members. Within a species fitter members are parents more often. Fitness is measured from the least one
    alive. The founders of the best species are the elites.

    Attributes:
        radius: greatest distance of a member from the founder of its species; descriptors are in [0, 1].
        num_elites: founders that survive unchanged, the best first, then the best of the others.
        size: members of a tournament over the population that a first parent wins, so that fit species have more
            children than their share, and the others survive; 0 for shared fitness.

    Raises:
        ValueError: `radius`, `num_elites` or `size` below 0.

    References:
        Li et al. 2002, A species conserving genetic algorithm for multimodal function optimization, Evol. Comput.
        10(3); fitness sharing by species as in Stanley and Miikkulainen 2002, Evolving neural networks through
        augmenting topologies, Evol. Comput. 10(2).
    """

    kind: ClassVar[str] = "species"
    needs = ("descriptors",)

    radius: float = 0.15
    num_elites: int = 2
    size: int = 0

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"the species radius must be at least 0, got {self.radius}")
        check_elites(self.num_elites)
        require_count("the tournament size", self.size, 0)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents; without descriptors there is one species. The key is consumed."""
        scores = scores.sound(*self.needs)
        key_first, key_second = jax.random.split(key)
        founder = self.founders(scores)
        founds = founder == jnp.arange(founder.size)
        _, survivors = jax.lax.top_k(
            _preferred(scores.ranked, founds & scores.alive), min(self.num_elites, scores.num_places - 1)
        )
        least = jnp.min(jnp.where(scores.alive, scores.fitness, jnp.inf))
        worth = jnp.where(scores.alive, scores.fitness - least, 0)
        members = jax.ops.segment_sum(scores.alive.astype(float), founder, founder.size)[founder]
        shape = (scores.num_places - survivors.size,)
        # Divided by its members, the worth of a species adds up to its mean fitness.
        if self.size == 0:
            first = proportional(key_first, worth / jnp.maximum(members, 1), scores.alive, shape)
        else:
            first = tournaments(key_first, scores.ranked, scores.alive, shape, self.size)
        # A mate is of the same species; if every worth there is 0, the first parent is its own mate.
        kin = founder[first][:, None] == founder[None]
        mates = jnp.where(kin, worth[None], 0)
        itself = jnp.arange(founder.size)[None] == first[:, None]
        mates = jnp.where(jnp.any(mates > 0, axis=-1, keepdims=True), mates, itself.astype(mates.dtype))
        second = proportional(key_second, mates, scores.alive, shape)
        return Selection(survivors, jnp.stack([first, second], axis=-1))

    def founders(self, scores: Scores) -> Int[Array, " population"]:
        """The founder of each member's species; a failed member founds none unless all have failed."""
        if scores.descriptors is None:
            return jnp.full(scores.fitness.size, jnp.argmax(scores.ranked))
        distance = distances(scores.descriptors)
        order = jnp.argsort(-scores.ranked, stable=True)
        alive = scores.alive | ~jnp.any(scores.alive)

        def visit(place: IntScalar, founds: Bool[Array, " population"]) -> Bool[Array, " population"]:
            member = order[place]
            taken = jnp.any(founds & (distance[member] <= self.radius))
            return founds.at[member].set(alive[member] & ~taken)

        founds = jax.lax.fori_loop(0, order.size, visit, jnp.zeros(order.size, bool))
        return jnp.argmin(jnp.where(founds[None], distance, jnp.inf), axis=1)


def distances(descriptors: Float[Array, "population descriptor"]) -> Float[Array, "population population"]:
    """Root mean square difference of all pairs."""
    return jnp.sqrt(squared_distances(descriptors, descriptors) / max(descriptors.shape[1], 1))


def _preferred(ranked: Float[Array, " population"], preferred: Bool[Array, " population"]) -> Array:
    """Ratings in the order of `ranked`, where `preferred` members come before all others."""
    order = jnp.lexsort((ranked, preferred))
    return jnp.zeros(ranked.size).at[order].set(jnp.arange(ranked.size, dtype=float))
