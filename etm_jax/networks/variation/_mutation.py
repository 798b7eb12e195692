"""Mutation of architecture genes and of weights."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Key
from etm_jax.cells import draw_like
from etm_jax.networks.genome._architecture import GENES, Architecture, architecture_at, ranges
from etm_jax.networks.genome._bounds import CHOICES, Bounds
from etm_jax.networks.genome._genome import Genome, mask_of
from etm_jax.networks.variation._rates import VariationRates

LOCAL_SHARE_OF_RANGE = 8  # a local step goes at most this fraction of the range, and at least 1
MOST_BOOST = 4.0
LEAST_SIZE = 0.1  # of an array to which noise is relative: biases, which begin at 0, would else never move


def mutate_architecture(
    key: Key, architecture: Architecture, bounds: Bounds, rates: VariationRates, gene_rate: Float[Array, ""] | float
) -> Architecture:
    """Mutate each gene with probability `gene_rate`. The key is consumed.

    The controller size moves by `N(0, controller_sigma)`, rounded and clipped to its range; every other gene is redrawn
    from its range or, with probability `local_share`, takes a step of up to an eighth of the range (what
    chooses a kind is always redrawn).
    """
    key_uniform, key_normal = jax.random.split(key)
    whether, how, where, step = jax.random.uniform(key_uniform, (4, len(GENES)))
    redrawn = architecture_at(where, bounds)
    gaussian = rates.controller_sigma * jax.random.normal(key_normal)

    genes = {}
    for index, (name, (low, high)) in enumerate(ranges(bounds)):
        gene = getattr(architecture, name)
        if name == "controller_size":
            moved = gene + jnp.round(gaussian).astype(gene.dtype)
        else:
            reach = max((high - low) // LOCAL_SHARE_OF_RANGE, 1)
            signed = 2 * step[index] - 1
            local = gene + (jnp.sign(signed) * jnp.ceil(jnp.abs(signed) * reach)).astype(gene.dtype)
            moved = jnp.where(how[index] < rates.local_share, local, getattr(redrawn, name))
        genes[name] = jnp.where(whether[index] < gene_rate, jnp.clip(moved, low, high), gene)
    for index, name in enumerate(CHOICES, len(genes)):
        genes[name] = jnp.where(whether[index] < gene_rate, getattr(redrawn, name), getattr(architecture, name))
    return Architecture(**genes)


def boosted_gene_rate(rates: VariationRates, diversity: Float[Array, ""]) -> Float[Array, ""]:
    """The gene rate, raised as diversity falls below its floor, so that a population cannot stay collapsed."""
    shortfall = jnp.clip(1 - diversity / jnp.maximum(rates.diversity_floor, 1e-9), 0, 1)
    return jnp.minimum(rates.gene_rate * (1 + MOST_BOOST * shortfall), 1.0)


def add_weight_noise(key: Key, genome: Genome, bounds: Bounds, scale: Float[Array, ""] | float) -> Genome:
    """Add Gaussian noise to the weights that exist, relative to each array's root mean square or to 0.1, whichever is
    more. The key is consumed."""
    exists = mask_of(genome, bounds)
    draws = draw_like(exists, lambda size: jax.random.normal(key, (size,), genome.params["output"]["bias"].dtype))

    def noisy(array: Array, exists: Array, draw: Array) -> Array:
        array = jnp.where(exists, array, 0)
        count = jnp.maximum(jnp.sum(exists, dtype=array.dtype), 1)
        size = jnp.maximum(jnp.sqrt(jnp.sum(array * array) / count), LEAST_SIZE)
        return jnp.where(exists, array + (scale * size).astype(array.dtype) * draw, 0)

    return replace(genome, params=jax.tree.map(noisy, genome.params, exists, draws))
