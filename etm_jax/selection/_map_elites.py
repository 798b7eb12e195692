"""MAP-Elites: the best member found in each cell of a grid over the descriptors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key
from etm_jax.selection._archive import KEEP
from etm_jax.selection._scores import Scores


@dataclass(frozen=True)
class MapElitesArchive:
    """Each descriptor is cut into `bins` equal parts; each cell keeps its fittest member, and members are the parents.

    A newcomer takes a cell that is free or whose member is less fit. With uniform selection this is MAP-Elites;
    another selector chooses parents among the cells by its own rule.

    Attributes:
        num_descriptors: axes of the grid; 0 in settings means one for each descriptor named.
        bins: parts of an axis.

    Raises:
        ValueError: `num_descriptors` below 0 or `bins` below 1.

    References:
        Mouret and Clune 2015, Illuminating search spaces by mapping elites, arXiv:1504.04909.
    """

    kind: ClassVar[str] = "map-elites"
    needs = ("descriptors",)
    keeps_genomes = True
    breeds = True

    num_descriptors: int = 0
    bins: int = 10

    def __post_init__(self) -> None:
        require_count("num_descriptors", self.num_descriptors, 0)
        require_count("bins", self.bins, 1)

    @property
    def num_places(self) -> int:
        """Number of cells."""
        return self.bins**self.num_descriptors

    def cell_of(self, descriptors: Float[Array, "*population descriptor"]) -> Int[Array, "*population"]:
        """The cell of each member; the last descriptor runs fastest, and values outside [0, 1] count as the ends.

        A member with a NaN descriptor is in no cell: its number is `num_places`.
        """
        part = jnp.clip(jnp.floor(descriptors * self.bins), 0, self.bins - 1).astype(jnp.int32)
        cell = part @ self.bins ** jnp.arange(self.num_descriptors - 1, -1, -1)
        return jnp.where(jnp.any(jnp.isnan(descriptors), axis=-1), self.num_places, cell)

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " cell"]:
        """For each cell the index of the newcomer that takes it, or `KEEP`; the first of equally fit ones."""
        del key
        newcomers = newcomers.sound(*self.needs)
        if newcomers.descriptors is None:
            raise ValueError("MAP-Elites needs descriptors, got scores without any; name some in selection.descriptors")
        cell, fitness = self.cell_of(newcomers.descriptors), newcomers.ranked
        best = jax.ops.segment_max(fitness, cell, self.num_places)
        size = fitness.size  # as an index, no newcomer
        is_best = (fitness == best[cell]) & newcomers.alive
        first = jax.ops.segment_min(jnp.where(is_best, jnp.arange(size), size), cell, self.num_places)
        return jnp.where((first < size) & (best > kept.ranked), first, KEEP)

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """The scores of the cells."""
        del scores
        return kept

    def record(self, kept: Scores) -> dict[str, Array]:
        """The share of cells occupied (coverage), and the sum of their fitness (QD-score)."""
        return {"coverage": jnp.mean(kept.alive), "qd_score": jnp.sum(jnp.where(kept.alive, kept.fitness, 0))}

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """The same as plain numbers."""
        return {name: float(value) for name, value in record.items()}
