"""The front: whoever was found that nobody found dominates."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from etm_jax._require import require_count
from etm_jax._typing import IntScalar, Key
from etm_jax.selection._archive import EMPTY, KEEP
from etm_jax.selection._pareto import dominance, hypervolume
from etm_jax.selection._scores import Scores


@dataclass(frozen=True)
class FrontArchive:
    """Keeps the members that no other dominates, with the objectives they had when they were scored.

    Newcomers come in one by one. One that a member dominates or equals stays out; one that dominates members takes
    the place of one of them, and the others' become free; any other takes a free place, and stays out if there is
    none. So the hypervolume never falls.

    Attributes:
        size: members kept at most.

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
        """Members kept at most."""
        return self.size

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " place"]:
        """For each place the newcomer that takes it, or `KEEP`, or `EMPTY`."""
        del key
        newcomers = newcomers.sound(*self.needs)
        arriving = newcomers.by_objective

        def enter(index: IntScalar, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            members, occupied, source = state
            one = arriving[index][None]
            beaten = dominance(one, members)[0] & occupied
            unbeaten = ~jnp.any((dominance(members, one)[:, 0] | jnp.all(members == one, axis=1)) & occupied)
            free = beaten | ~occupied
            enters = newcomers.alive[index] & unbeaten & jnp.any(free)
            # The first of those it dominates makes way; failing one, any free place does.
            place = jnp.where(jnp.any(beaten), jnp.argmax(beaten), jnp.argmax(free))
            here = jnp.arange(source.size) == place
            leaves = enters & beaten
            return (
                jnp.where((enters & here)[:, None], one, members),
                jnp.where(enters, (occupied & ~leaves) | here, occupied),
                jnp.where(enters & here, index, jnp.where(leaves, EMPTY, source)),
            )

        start = (kept.by_objective, kept.alive, jnp.full(self.size, KEEP))
        return jax.lax.fori_loop(0, newcomers.fitness.size, enter, start)[2]

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """The population as it is."""
        del kept
        return scores

    def record(self, kept: Scores) -> dict[str, Array]:
        """The objectives of the members."""
        return {"objectives": kept.by_objective}

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """How many there are, and the hypervolume above 0 in every objective."""
        objectives = np.asarray(record["objectives"])
        members = objectives[np.all(np.isfinite(objectives), axis=1)]
        volume = hypervolume(members, np.zeros(objectives.shape[1]))
        return {"front_size": len(members), "hypervolume": round(volume, 6)}
