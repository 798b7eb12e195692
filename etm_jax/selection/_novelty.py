"""Novelty search: selection for differing from what was seen before, instead of for fitness."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._distances import squared_distances
from etm_jax._require import require_count
from etm_jax._typing import Key
from etm_jax.selection._archive import KEEP
from etm_jax.selection._scores import Scores, uniform_over


@dataclass(frozen=True)
class NoveltyArchive:
    """Replaces fitness by novelty, the mean distance to the nearest neighbours in archive and population.

    The archive is a ring of descriptors: random members of each generation take the places of the oldest.

    Attributes:
        size: places of the ring.
        neighbours: number of neighbours to average over.
        admitted: members of each generation that enter.
        weight: 1 for novelty alone, 0 for fitness alone; in between, a mean of both, each scaled to [0, 1].

    Raises:
        ValueError: a count below 1, or `weight` outside [0, 1].

    References:
        Lehman and Stanley 2011, Abandoning objectives, Evol. Comput. 19(2); random admission as in Gomes et al. 2015,
        Devising effective novelty search algorithms, GECCO.
    """

    kind: ClassVar[str] = "novelty"
    needs = ("descriptors",)
    keeps_genomes = False
    breeds = False

    size: int = 128
    neighbours: int = 15
    admitted: int = 6
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("size", "neighbours", "admitted"):
            require_count(f"novelty's {name}", getattr(self, name), 1)
        if not 0 <= self.weight <= 1:
            raise ValueError(f"novelty's weight must be in [0, 1], got {self.weight}")

    @property
    def num_places(self) -> int:
        """Places of the ring."""
        return self.size

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " place"]:
        """Random newcomers for free places, then for those of the oldest members. The key is consumed."""
        newcomers = newcomers.sound(*self.needs)
        count = min(self.admitted, self.size)
        age = jnp.zeros(self.size, jnp.int32) if kept.age is None else kept.age
        places = jnp.lexsort((-age, kept.alive))[:count]
        drawn = uniform_over(key, newcomers.alive, (count,))
        return jnp.full(self.size, KEEP).at[places].set(jnp.where(newcomers.alive[drawn], drawn, KEEP))

    def novelty(self, kept: Scores, scores: Scores) -> Float[Array, " population"]:
        """Mean distance of each member to its nearest neighbours, itself excluded.

        Memory: one number for each pair of a member and a member or place.
        """
        scores = scores.sound(*self.needs)
        if scores.descriptors is None or kept.descriptors is None:
            raise ValueError("novelty needs descriptors, got scores without any; name some in selection.descriptors")
        others = jnp.concatenate([scores.descriptors, kept.descriptors])
        known = jnp.concatenate([scores.alive, kept.alive])
        size = scores.fitness.size
        itself = jnp.arange(size)[:, None] == jnp.arange(others.shape[0])[None]
        distance = jnp.sqrt(squared_distances(scores.descriptors, others))
        near, _ = jax.lax.top_k(
            -jnp.where(known[None] & ~itself, distance, jnp.inf), min(self.neighbours, others.shape[0])
        )
        found = jnp.isfinite(near)  # with fewer others than neighbours, the mean is over those there are
        return jnp.sum(jnp.where(found, -near, 0), axis=1) / jnp.maximum(jnp.sum(found, axis=1, dtype=near.dtype), 1)

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """The population with novelty in place of fitness."""
        scores = scores.sound(*self.needs)
        fitness, novelty = (_scaled(values, scores.alive) for values in (scores.fitness, self.novelty(kept, scores)))
        mixed = (1 - self.weight) * fitness + self.weight * novelty
        return scores.replace(fitness=mixed)  # pyright: ignore[reportAttributeAccessIssue]

    def record(self, kept: Scores) -> dict[str, Array]:
        """The number of places occupied, and the mean standard deviation of their descriptors."""
        assert kept.descriptors is not None
        spread = jnp.std(kept.descriptors, axis=0, where=kept.alive[:, None])
        return {"archive_size": jnp.sum(kept.alive), "archive_spread": jnp.where(jnp.any(kept.alive), spread.mean(), 0)}

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """The same as plain numbers."""
        return {"archive_size": int(record["archive_size"]), "archive_spread": float(record["archive_spread"])}


def _scaled(values: Float[Array, " population"], alive: Array) -> Float[Array, " population"]:
    """Values of members alive, from 0 for the least to 1 for the greatest; 0 if all are equal."""
    low = jnp.min(jnp.where(alive, values, jnp.inf))
    high = jnp.max(jnp.where(alive, values, -jnp.inf))
    return jnp.where(alive & (high > low), (values - low) / jnp.where(high > low, high - low, 1), 0)
