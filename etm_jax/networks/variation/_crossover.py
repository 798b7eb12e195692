"""Crossover: genes one by one, weights block by block, aligned by the padded layout."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from etm_jax._typing import Key
from etm_jax.networks.genome._architecture import GENES, Architecture
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome, mask_of
from etm_jax.networks.genome._learning import LEARNING_GENES, Learning
from etm_jax.networks.variation._align import align_units


def cross_genes(key: Key, first: Architecture, second: Architecture) -> Architecture:
    """Take each gene from either parent with equal chances. The key is consumed."""
    from_second = jax.random.bernoulli(key, shape=(len(GENES),))
    genes = {
        name: jnp.where(from_second[index], getattr(second, name), getattr(first, name))
        for index, name in enumerate(GENES)
    }
    return Architecture(**genes)


def cross_learning(key: Key, first: Learning, second: Learning) -> Learning:
    """Take each factor from either parent with equal chances. The key is consumed."""
    from_second = jax.random.bernoulli(key, shape=(len(LEARNING_GENES),))
    return Learning(
        *[
            jnp.where(from_second[index], getattr(second, name), getattr(first, name))
            for index, name in enumerate(LEARNING_GENES)
        ]
    )


def cross_weights(key: Key, child: Genome, second: Genome, bounds: Bounds, align: bool = False) -> Genome:
    """Replace whole blocks of a child's weights by those of its second parent.

    Each block (controller, heads, write, output) is taken with probability 1/2, where both the second parent and the
    child have the weight. The padded layout puts the same head, unit and column of both at the same place; with
    `align`, hidden units that are alike instead of those that have the same place. The key is consumed.
    """
    exists = mask_of(child, bounds)
    offered, available = align_units(child, second, bounds) if align else (second.params, mask_of(second, bounds))
    take = jax.random.bernoulli(key, shape=(len(child.params),))
    params = {}
    for index, block in enumerate(sorted(child.params)):
        params[block] = jax.tree.map(
            lambda own, other, here, there, take=take[index]: jnp.where(take & here & there, other, own),
            child.params[block],
            offered[block],
            exists[block],
            available[block],
        )
    return replace(child, params=params)
