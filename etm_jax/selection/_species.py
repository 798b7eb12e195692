"""Species: members that are alike share their fitness, mate with each other, and keep their best."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._distances import squared_distances
from etm_jax._typing import IntScalar, Key
from etm_jax.selection._elites import check_elites, proportional
from etm_jax.selection._scores import Scores, Selection


@dataclass(frozen=True)
class SpeciesSelection:
    """Each species has as many children as its mean fitness earns, and both parents of a child are of one species.

    Going through the population from the fittest down, a member founds a species unless it lies within `radius` of a
    founder already; everybody belongs to the nearest founder. Distances are between descriptors, root mean square over
    them; they take memory for one number a pair of members. Inside a species the fitter are parents more often. The
    founders of the best species are the elites. Fitness counts from the least one alive.

    Attributes:
        radius: greatest distance from its founder at which a member is of its species; descriptors are in [0, 1].
        num_elites: founders that survive unchanged, the best first, then the best of the others.

    Raises:
        ValueError: `radius` below 0 or `num_elites` below 0.

    References:
        Li et al. 2002, A species conserving genetic algorithm for multimodal function optimization, Evol. Comput.
        10(3); fitness sharing by species as in Stanley and Miikkulainen 2002, Evolving neural networks through
        augmenting topologies, Evol. Comput. 10(2).
    """

    kind: ClassVar[str] = "species"
    needs = ("descriptors",)

    radius: float = 0.15
    num_elites: int = 2

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"the species radius must be at least 0, got {self.radius}")
        check_elites(self.num_elites)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents; without descriptors all are of one species. The key is consumed."""
        scores = scores.sound(*self.needs)
        key_first, key_second = jax.random.split(key)
        founder = self.founders(scores)
        founds = founder == jnp.arange(founder.size)
        _, survivors = jax.lax.top_k(
            _first_these(scores.ranked, founds & scores.alive), min(self.num_elites, scores.num_places - 1)
        )
        least = jnp.min(jnp.where(scores.alive, scores.fitness, jnp.inf))
        worth = jnp.where(scores.alive, scores.fitness - least, 0)
        members = jax.ops.segment_sum(scores.alive.astype(float), founder, founder.size)[founder]
        shape = (scores.num_places - survivors.size,)
        first = proportional(key_first, worth / jnp.maximum(members, 1), scores.alive, shape)
        # Its own species is all that it may choose from, so its own worth stands in where nobody there has any.
        kin = founder[first][:, None] == founder[None]
        mates = jnp.where(kin, worth[None], 0)
        itself = jnp.arange(founder.size)[None] == first[:, None]
        mates = jnp.where(jnp.any(mates > 0, axis=-1, keepdims=True), mates, itself.astype(mates.dtype))
        second = proportional(key_second, mates, scores.alive, shape)
        return Selection(survivors, jnp.stack([first, second], axis=-1))

    def founders(self, scores: Scores) -> Int[Array, " population"]:
        """The founder of each member's species; a failed member founds none while anybody is alive."""
        if scores.descriptors is None:
            return jnp.full(scores.fitness.size, jnp.argmax(scores.ranked))
        distance = distances(scores.descriptors)
        order = jnp.argsort(-scores.ranked, stable=True)
        alive = scores.alive | ~jnp.any(scores.alive)

        def judge(place: IntScalar, founds: Bool[Array, " population"]) -> Bool[Array, " population"]:
            member = order[place]
            taken = jnp.any(founds & (distance[member] <= self.radius))
            return founds.at[member].set(alive[member] & ~taken)

        founds = jax.lax.fori_loop(0, order.size, judge, jnp.zeros(order.size, bool))
        return jnp.argmin(jnp.where(founds[None], distance, jnp.inf), axis=1)


def distances(descriptors: Float[Array, "population descriptor"]) -> Float[Array, "population population"]:
    """Root mean square differences of all pairs."""
    return jnp.sqrt(squared_distances(descriptors, descriptors) / max(descriptors.shape[1], 1))


def _first_these(ranked: Float[Array, " population"], these: Bool[Array, " population"]) -> Array:
    """A rating in the order of `ranked`, with some members before all others."""
    order = jnp.lexsort((ranked, these))
    return jnp.zeros(ranked.size).at[order].set(jnp.arange(ranked.size, dtype=float))
