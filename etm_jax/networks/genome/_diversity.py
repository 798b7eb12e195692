"""How different the architectures of a population are."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.networks.genome._architecture import Architecture, choices, ranges
from etm_jax.networks.genome._bounds import Bounds


def _shares(population: Architecture, bounds: Bounds) -> Float[Array, "population gene"]:
    """Every gene scaled to [0, 1] over its range; a gene that cannot vary is 0. Columns in the order of `GENES`."""
    columns = [(getattr(population, name) - low) / max(high - low, 1) for name, (low, high) in ranges(bounds)]
    for name, kinds in choices(bounds):
        columns.append(jnp.searchsorted(jnp.asarray(sorted(kinds)), getattr(population, name)) / max(len(kinds) - 1, 1))
    return jnp.stack(columns, axis=-1)


def diversity(population: Architecture, bounds: Bounds) -> Float[Array, ""]:
    """Mean distance between two members, per gene that can vary, as a share of the gene's range.

    0 when all members are alike; about 1/3 for a uniformly random population; 0 for a population of one.
    """
    genes = _shares(population, bounds)
    varying = sum(high > low for _, (low, high) in ranges(bounds))
    varying += sum(len(kinds) > 1 for _, kinds in choices(bounds))
    distances = jnp.sum(jnp.abs(genes[:, None] - genes[None]), axis=-1)
    size = genes.shape[0]
    pairs = max(size * (size - 1), 1)
    return jnp.sum(distances) / (pairs * max(varying, 1))
