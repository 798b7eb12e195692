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
    """Each descriptor is cut into `bins` equal parts; a cell keeps its fittest member, and members are the parents.

    A newcomer takes a cell that is free or whose member is less fit. With uniform selection this is MAP-Elites; with
    another selector, parents are chosen among the cells by that.

    Attributes:
        num_descriptors: axes of the grid; 0 in settings, for as many as they name descriptors.
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
        """Cells."""
        return self.bins**self.num_descriptors

    def cell_of(self, descriptors: Float[Array, "*population descriptor"]) -> Int[Array, "*population"]:
        """The cell of each member, the last descriptor running fastest; beyond the ends it is the last cell there.

        NaN is in no cell: the number is that after the last.
        """
        part = jnp.clip(jnp.floor(descriptors * self.bins), 0, self.bins - 1).astype(jnp.int32)
        cell = part @ self.bins ** jnp.arange(self.num_descriptors - 1, -1, -1)
        return jnp.where(jnp.any(jnp.isnan(descriptors), axis=-1), self.num_places, cell)

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " cell"]:
        """For each cell the newcomer that takes it, or `KEEP`; of equal newcomers the first."""
        del key
        newcomers = newcomers.sound(*self.needs)
        if newcomers.descriptors is None:
            raise ValueError("MAP-Elites needs descriptors, got scores without")
        cell, fitness = self.cell_of(newcomers.descriptors), newcomers.ranked
        best = jax.ops.segment_max(fitness, cell, self.num_places)
        size = fitness.size
        is_best = (fitness == best[cell]) & newcomers.alive
        first = jax.ops.segment_min(jnp.where(is_best, jnp.arange(size), size), cell, self.num_places)
        return jnp.where((first < size) & (best > kept.ranked), first, KEEP)

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """The cells."""
        del scores
        return kept

    def record(self, kept: Scores) -> dict[str, Array]:
        """The share of cells that are occupied, and the sum of their fitness."""
        return {"coverage": jnp.mean(kept.alive), "qd_score": jnp.sum(jnp.where(kept.alive, kept.fitness, 0))}

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """The same as plain numbers."""
        return {name: float(value) for name, value in record.items()}
