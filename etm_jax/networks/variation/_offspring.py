"""One offspring: crossover of genes and of blocks of weights, then mutation; the weights are resized just once."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar, Key, Mask, Params, Scalar
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import GENES, LEARNING_GENES, Architecture, Genome, Learning, mutate_learning
from etm_jax.networks.genome._genome import mask_of
from etm_jax.networks.variation._align import align_units
from etm_jax.networks.variation._mutation import (
    Crossover,
    VariationRates,
    add_weight_noise,
    mutate_architecture,
    resize,
)

PARALLEL = 0.9995  # a cosine beyond which an arc is a straight line to rounding, or no arc is the shortest
LEAST_LENGTHS = 1e-30


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


def cross_weights(
    key: Key,
    child: Genome,
    second: Genome,
    here: Mask,
    there: Mask,
    align: bool = False,
    crossover: Crossover = "blocks",
) -> Genome:
    """Mix a child's weights with those of its second parent, where both have the weight.

    By "blocks", each block (controller, heads, write, output) is the second parent's with probability 1/2. By "slerp",
    see `slerp_weights`. The padded layout puts the same head, unit and column of both at the same place; with `align`,
    hidden units that are alike instead of those that have the same place.

    Args:
        key: consumed.
        child: one individual.
        second: its second parent.
        here: which of the child's weights exist.
        there: which of the second parent's do.
        align: match hidden units first; see `align_units`.
        crossover: how they mix.
    """
    offered, available = align_units(child, second, here, there) if align else (second.params, there)
    if crossover == "slerp":
        shared = jax.tree.map(jnp.logical_and, here, available)
        return replace(child, params=slerp_weights(key, child.params, offered, shared))
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


def slerp_weights(key: Key, own: Params, other: Params, shared: Mask) -> Params:
    """Spherical interpolation of the weights that two networks share, to one share before a random place in their order
    and to its complement behind it. The key is consumed.

    Both stretches stay on the arc between the parents, so that unlike straight means they do not shrink. Weights that
    are not shared stay as they are.

    References:
        Abrantes, Lange, Tang 2025, Competition and Attraction Improve Model Fusion, arXiv 2508.16204 (M2N2).
    """
    key_place, key_share = jax.random.split(key)
    one, unpack = ravel_pytree(own)
    two, exists = ravel_pytree(other)[0], ravel_pytree(shared)[0]
    count = jnp.cumsum(exists.astype(one.dtype))
    before = count <= jax.random.uniform(key_place, dtype=one.dtype) * count[-1]
    share = jax.random.uniform(key_share, dtype=one.dtype)
    mixed = one
    for stretch, amount in ((exists & before, share), (exists & ~before, 1 - share)):
        mixed = jnp.where(stretch, slerp(jnp.where(stretch, one, 0), jnp.where(stretch, two, 0), amount), mixed)
    return unpack(mixed)


def slerp(one: Float[Array, " weight"], two: Float[Array, " weight"], share: Scalar) -> Float[Array, " weight"]:
    """`sin((1 - t) w) / sin w` of one vector and `sin(t w) / sin w` of another, w their angle; a straight mean where
    they are parallel or opposite, or one is 0."""
    lengths = jnp.sqrt(jnp.sum(one * one) * jnp.sum(two * two))
    cosine = jnp.sum(one * two) / jnp.maximum(lengths, LEAST_LENGTHS)
    parallel = (jnp.abs(cosine) > PARALLEL) | (lengths < LEAST_LENGTHS)
    angle = jnp.arccos(jnp.where(parallel, 0.0, cosine))
    parts = [
        jnp.where(parallel, straight, jnp.sin(straight * angle) / jnp.sin(angle)) for straight in (1 - share, share)
    ]
    return parts[0] * one + parts[1] * two


def offspring(
    key: Key,
    first: Genome,
    second: Genome,
    mates: BoolScalar,
    bounds: Bounds,
    rates: VariationRates,
    gene_rate: Scalar | float,
) -> Genome:
    """A child of one or two genomes.

    Its genes are the first parent's or, if it mates, a mixture of both; then they mutate. The first parent's weights
    are resized to them, mixed with the second's, and get noise. How it learns is inherited and mutates like the genes.

    Args:
        key: consumed.
        first: the parent whose weights it starts from.
        second: the other parent; unused unless `mates`.
        mates: True = two parents.
        bounds: the search space.
        rates: of mutation.
        gene_rate: probability that a gene mutates.
    """
    key_genes, key_mutate, key_resize, key_weights, key_whether, key_noise, key_learn = jax.random.split(key, 7)
    crossed = cross_genes(key_genes, first.architecture, second.architecture)
    architecture = jax.tree.map(lambda both, one: jnp.where(mates, both, one), crossed, first.architecture)
    architecture = mutate_architecture(key_mutate, architecture, bounds, rates, gene_rate)
    # A network whose genes did not change keeps its weights to the bit; outside `vmap`, `cond` also skips the resizing.
    child = jax.lax.cond(
        _same(architecture, first.architecture),
        lambda: first,
        lambda: resize(key_resize, first, architecture, bounds),
    )
    child = jax.lax.cond(
        mates,
        lambda: cross_weights(
            key_weights,
            child,
            second,
            mask_of(child, bounds),
            mask_of(second, bounds),
            rates.align,
            rates.crossover,
        ),
        lambda: child,
    )
    key_mix, key_step = jax.random.split(key_learn)
    learning = cross_learning(key_mix, first.learning, second.learning)
    learning = jax.tree.map(lambda both, one: jnp.where(mates, both, one), learning, first.learning)
    child = replace(child, learning=mutate_learning(key_step, learning, rates.learning_sigma))
    noisy = jax.random.bernoulli(key_whether, rates.noise_rate)
    return jax.lax.cond(
        noisy, lambda: add_weight_noise(key_noise, child, mask_of(child, bounds), rates.noise_scale), lambda: child
    )


def _same(one: Architecture, other: Architecture) -> BoolScalar:
    return jnp.all(jnp.array(jax.tree.leaves(jax.tree.map(jnp.equal, one, other))))
