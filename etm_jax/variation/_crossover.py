"""Crossover: genes one by one, weights block by block, aligned by the padded layout."""

import jax
import jax.numpy as jnp

from etm_jax._typing import Key
from etm_jax.genomes import GENES, Architecture, Bounds, Genome, mask_of
from etm_jax.variation._growth import resize


def crossover(key: Key, first: Genome, second: Genome, bounds: Bounds) -> Genome:
    """An offspring of two genomes.

    Each gene comes from either parent. The offspring starts as the first parent at the new architecture; each block of
    weights (controller, heads, write, output) is then, with probability 1/2, replaced by the second parent's where both
    the second parent and the offspring have the weight. The padded layout puts the same head, unit and column of both
    parents at the same place. The key is consumed.
    """
    key_genes, key_resize, key_blocks = jax.random.split(key, 3)
    from_second = jax.random.bernoulli(key_genes, shape=(len(GENES),))
    genes = {
        name: jnp.where(from_second[index], getattr(second.architecture, name), getattr(first.architecture, name))
        for index, name in enumerate(GENES)
    }
    child = resize(key_resize, first, Architecture(**genes), bounds)
    exists, available = mask_of(child, bounds), mask_of(second, bounds)
    take = jax.random.bernoulli(key_blocks, shape=(len(child.params),))
    params = {}
    for index, block in enumerate(sorted(child.params)):
        params[block] = jax.tree.map(
            lambda own, other, here, there, take=take[index]: jnp.where(take & here & there, other, own),
            child.params[block],
            second.params[block],
            exists[block],
            available[block],
        )
    return child.replace(params=params)
