"""One offspring: crossover and mutation together, so that the weights are resized just once."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from etm_jax._typing import BoolScalar, Key, Scalar
from etm_jax.networks.genome._architecture import Architecture
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome
from etm_jax.networks.genome._learning import mutate_learning
from etm_jax.networks.variation._crossover import cross_genes, cross_learning, cross_weights
from etm_jax.networks.variation._growth import resize
from etm_jax.networks.variation._mutation import add_weight_noise, mutate_architecture
from etm_jax.networks.variation._rates import VariationRates


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
    child = jax.lax.cond(
        _same(architecture, first.architecture),
        lambda: first,
        lambda: resize(key_resize, first, architecture, bounds),
    )
    child = jax.lax.cond(mates, lambda: cross_weights(key_weights, child, second, bounds, rates.align), lambda: child)
    key_mix, key_step = jax.random.split(key_learn)
    learning = cross_learning(key_mix, first.learning, second.learning)
    learning = jax.tree.map(lambda both, one: jnp.where(mates, both, one), learning, first.learning)
    child = replace(child, learning=mutate_learning(key_step, learning, rates.learning_sigma))
    noisy = jax.random.bernoulli(key_whether, rates.noise_rate)
    return jax.lax.cond(noisy, lambda: add_weight_noise(key_noise, child, bounds, rates.noise_scale), lambda: child)


def _same(one: Architecture, other: Architecture) -> BoolScalar:
    return jnp.all(jnp.array(jax.tree.leaves(jax.tree.map(jnp.equal, one, other))))
