"""Crossover: genes one by one, weights block by block, aligned by the padded layout."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from etm_jax._typing import Key, Mask
from etm_jax.networks.genome._genes import GENES, LEARNING_GENES, Architecture, Genome, Learning
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


def cross_weights(key: Key, child: Genome, second: Genome, here: Mask, there: Mask, align: bool = False) -> Genome:
    """Replace whole blocks of a child's weights by those of its second parent.

    Each block (controller, heads, write, output) is taken with probability 1/2, where both the second parent and the
    child have the weight. The padded layout puts the same head, unit and column of both at the same place; with
    `align`, hidden units that are alike instead of those that have the same place.

    Args:
        key: consumed.
        child: one individual.
        second: its second parent.
        here: which of the child's weights exist.
        there: which of the second parent's do.
        align: match hidden units first; see `align_units`.
    """
    offered, available = align_units(child, second, here, there) if align else (second.params, there)
    take = jax.random.bernoulli(key, shape=(len(child.params),))
    params = {}
    for index, block in enumerate(sorted(child.params)):
        params[block] = jax.tree.map(
            lambda own, other, exists, offers, take=take[index]: jnp.where(take & exists & offers, other, own),
            child.params[block],
            offered[block],
            here[block],
            available[block],
        )
    return replace(child, params=params)
