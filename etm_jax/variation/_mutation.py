"""Mutation of architecture genes and of weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Key
from etm_jax.cells import draw_like
from etm_jax.genomes import Architecture, Bounds, Genome, mask_of, random_architecture, ranges
from etm_jax.variation._growth import resize
from etm_jax.variation._rates import VariationRates

LOCAL_SHARE_OF_RANGE = 8  # a local step goes at most this fraction of the range, and at least 1
MOST_BOOST = 4.0


def mutate_architecture(
    key: Key, architecture: Architecture, bounds: Bounds, rates: VariationRates, gene_rate: Float[Array, ""] | float
) -> Architecture:
    """Mutate each gene with probability `gene_rate`. The key is consumed.

    The controller size moves by `N(0, controller_sigma)`, rounded and clipped to its range; every other gene is redrawn
    from its range or, with probability `local_share`, takes a step of up to an eighth of the range (addressing is
    always redrawn).
    """
    key_which, key_local, key_redraw, key_step, key_controller = jax.random.split(key, 5)
    redrawn = random_architecture(key_redraw, bounds)
    names = [name for name, _ in ranges(bounds)]
    mutates = jax.random.bernoulli(key_which, gene_rate, (len(names) + 1,))
    local = jax.random.bernoulli(key_local, rates.local_share, (len(names),))
    steps = jax.random.uniform(key_step, (len(names),), minval=-1, maxval=1)
    gaussian = rates.controller_sigma * jax.random.normal(key_controller)

    genes = {}
    for index, (name, (low, high)) in enumerate(ranges(bounds)):
        gene = getattr(architecture, name)
        if name == "controller_size":
            moved = gene + jnp.round(gaussian).astype(gene.dtype)
        else:
            reach = max((high - low) // LOCAL_SHARE_OF_RANGE, 1)
            step = jnp.sign(steps[index]) * jnp.ceil(jnp.abs(steps[index]) * reach)
            moved = jnp.where(local[index], gene + step.astype(gene.dtype), getattr(redrawn, name))
        genes[name] = jnp.where(mutates[index], jnp.clip(moved, low, high), gene)
    addressing = jnp.where(mutates[-1], redrawn.addressing, architecture.addressing)
    return Architecture(**genes, addressing=addressing)


def boosted_gene_rate(rates: VariationRates, diversity: Float[Array, ""]) -> Float[Array, ""]:
    """The gene rate, raised as diversity falls below its floor, so that a population cannot stay collapsed."""
    shortfall = jnp.clip(1 - diversity / jnp.maximum(rates.diversity_floor, 1e-9), 0, 1)
    return jnp.minimum(rates.gene_rate * (1 + MOST_BOOST * shortfall), 1.0)


def add_weight_noise(key: Key, genome: Genome, bounds: Bounds, scale: Float[Array, ""] | float) -> Genome:
    """Add Gaussian noise to the weights that exist, relative to each array's root mean square. The key is consumed."""
    exists = mask_of(genome, bounds)
    draws = draw_like(exists, lambda size: jax.random.normal(key, (size,), genome.params["output"]["bias"].dtype))

    def noisy(array: Array, exists: Array, draw: Array) -> Array:
        array = jnp.where(exists, array, 0)
        size = jnp.sqrt(jnp.sum(array * array) / jnp.maximum(jnp.sum(exists), 1))
        return jnp.where(exists, array + (scale * size).astype(array.dtype) * draw, 0)

    return genome.replace(params=jax.tree.map(noisy, genome.params, exists, draws))


def mutate(
    key: Key, genome: Genome, bounds: Bounds, rates: VariationRates, gene_rate: Float[Array, ""] | float
) -> Genome:
    """Mutate one genome: its genes, then the weights they need, then noise on the weights. The key is consumed."""
    key_genes, key_weights, key_whether, key_noise = jax.random.split(key, 4)
    architecture = mutate_architecture(key_genes, genome.architecture, bounds, rates, gene_rate)
    genome = resize(key_weights, genome, architecture, bounds)
    scale = jnp.where(jax.random.bernoulli(key_whether, rates.noise_rate), rates.noise_scale, 0.0)
    return add_weight_noise(key_noise, genome, bounds, scale)
