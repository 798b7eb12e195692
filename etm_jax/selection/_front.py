"""The front: the members that no other member found so far dominates."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import IntScalar, Key
from etm_jax.selection._archive import EMPTY, KEEP
from etm_jax.selection._pareto import dominance, hypervolume
from etm_jax.selection._scores import Scores


class Front(NamedTuple):
    """The front while newcomers enter one by one.

    Attributes:
        members: their objectives; meaningful only where `occupied`.
        occupied: True = the place has a member.
        source: for each place the index of the newcomer in it, or `KEEP`, or `EMPTY`.
    """

    members: Float[Array, "place objective"]
    occupied: Bool[Array, " place"]
    source: Int[Array, " place"]


@dataclass(frozen=True)
class FrontArchive:
    """Keeps the members that no other dominates, with the objectives of the evaluation that admitted them.

    Newcomers enter one by one. A newcomer that a member dominates or equals is rejected. One that dominates members
    takes the place of one of them and frees the places of the others. Any other takes a free place, or is rejected if
    there is none. So the hypervolume never falls.

    Attributes:
        size: greatest number of members.

    Raises:
        ValueError: `size` below 1.
    """

    kind: ClassVar[str] = "front"
    needs = ("objectives",)
    keeps_genomes = True
    breeds = False

    size: int = 128

    def __post_init__(self) -> None:
        require_count("the front's size", self.size, 1)

    @property
    def num_places(self) -> int:
        """Greatest number of members."""
        return self.size

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " place"]:
        """For each place the index of the newcomer that takes it, or `KEEP`, or `EMPTY`."""
        del key
        newcomers = newcomers.sound(*self.needs)
        arriving = newcomers.by_objective

        def enter(index: IntScalar, front: Front) -> Front:
            members, occupied, source = front
            newcomer = arriving[index][None]
            beaten = dominance(newcomer, members)[0] & occupied
            unbeaten = ~jnp.any((dominance(members, newcomer)[:, 0] | jnp.all(members == newcomer, axis=1)) & occupied)
            free = beaten | ~occupied
            enters = newcomers.alive[index] & unbeaten & jnp.any(free)
            # It replaces the first member that it dominates; if there is none, it takes the first free place.
            place = jnp.where(jnp.any(beaten), jnp.argmax(beaten), jnp.argmax(free))
            here = jnp.arange(source.size) == place
            leaves = enters & beaten
            return Front(
                members=jnp.where((enters & here)[:, None], newcomer, members),
                occupied=jnp.where(enters, (occupied & ~leaves) | here, occupied),
                source=jnp.where(enters & here, index, jnp.where(leaves, EMPTY, source)),
            )

        # One by one, since a newcomer may dominate or equal one that entered just before.
        start = Front(kept.by_objective, kept.alive, jnp.full(self.size, KEEP))
        return jax.lax.fori_loop(0, newcomers.fitness.size, enter, start).source

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """The population's own scores."""
        del kept
        return scores

    def record(self, kept: Scores) -> dict[str, Array]:
        """The objectives of the members."""
        return {"objectives": kept.by_objective}

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """The number of members, and their hypervolume above 0 in every objective."""
        objectives = np.asarray(record["objectives"])
        members = objectives[np.all(np.isfinite(objectives), axis=1)]
        volume = hypervolume(members, np.zeros(objectives.shape[1]))
        return {"front_size": len(members), "hypervolume": round(volume, 6)}
