"""Mutation of architecture genes and of weights, and growth to a new architecture that keeps the function."""

from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Key, Mask, pytree
from etm_jax.cells import MEMORIES, Parameter
from etm_jax.cells._kinds import value_of
from etm_jax.cells._spec import NO_MEMORY
from etm_jax.cells._weights import axes_of, draw_like, initial_params, map_table, weight_mask
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import CHOICES, GENES, Architecture, Genome
from etm_jax.networks.variation._gates import with_gates_moved

LOCAL_SHARE_OF_RANGE = 8  # a local step goes at most this fraction of the range, and at least 1
MOST_BOOST = 4.0

Founders = Literal["uniform", "small"]
Crossover = Literal["blocks", "slerp"]
LEAST_SIZE = 0.1  # of an array to which noise is relative: else biases, which begin at 0, would never move


@pytree
class VariationRates:
    """Rates of mutation, and how two networks cross; plain numbers, or traced ones.

    Attributes:
        gene_rate: probability that a gene mutates.
        change_rate: probability that an offspring's genes may mutate at all. The others keep the architecture, so that
            a lineage also learns on undisturbed.
        local_share: probability that a mutated gene takes a small step; otherwise it is redrawn from its range. The
            controller size always takes a Gaussian step.
        controller_sigma: standard deviation of that step, in units.
        noise_rate: probability that an offspring's weights get noise.
        noise_scale: standard deviation of the noise, as a share of the root mean square of each weight array, or of 0.1
            if that is more.
        learning_sigma: standard deviation of a step of the logarithms of the learning genes, in every offspring.
        diversity_floor: when the diversity of architectures falls below this, genes mutate more often, up to five
            times as often where there is none.
        founders: how large random networks are. "uniform": of any size in the bounds; "small": of the least, so that
            networks grow, and cost little before they have. Kinds come in equal shares either way.
        crossover: how the weights of two parents mix: "blocks" of either, or by "slerp"; see `cross_weights`.
        align: True = hidden units of two parents are matched by their weights before these mix; see `align_units`.
    """

    gene_rate: float = 0.15
    change_rate: float = 1.0
    local_share: float = 0.5
    controller_sigma: float = 16.0
    noise_rate: float = 0.3
    noise_scale: float = 0.02
    learning_sigma: float = 0.1
    diversity_floor: float = 0.1
    founders: Founders = struct.field(pytree_node=False, default="uniform")
    crossover: Crossover = struct.field(pytree_node=False, default="blocks")
    align: bool = struct.field(pytree_node=False, default=False)


def mutate_architecture(
    key: Key, architecture: Architecture, bounds: Bounds, rates: VariationRates, gene_rate: Float[Array, ""] | float
) -> Architecture:
    """With probability `rates.change_rate` mutate each gene with probability `gene_rate`. The key is consumed.

    The controller size moves by `N(0, controller_sigma)`, rounded and clipped to its range; every other gene is redrawn
    from its range or, with probability `local_share`, takes a step of up to an eighth of the range (a gene that
    chooses a kind is always redrawn).
    """
    key_uniform, key_normal, key_changes = jax.random.split(key, 3)
    gene_rate = jnp.where(jax.random.bernoulli(key_changes, rates.change_rate), gene_rate, 0.0)
    # All genes are drawn at once, used or not: a draw does not depend on what another gene does.
    whether, how, where, step = jax.random.uniform(key_uniform, (4, len(GENES)))
    redrawn = bounds.architecture_at(where)
    gaussian = rates.controller_sigma * jax.random.normal(key_normal)

    genes = {}
    for index, (name, (low, high)) in enumerate(bounds.ranges.items()):
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


def add_weight_noise(key: Key, genome: Genome, exists: Mask, scale: Float[Array, ""] | float) -> Genome:
    """Add Gaussian noise to the weights that exist, relative to each array's root mean square or to 0.1, whichever is
    more. The key is consumed."""
    draws = draw_like(exists, lambda size: jax.random.normal(key, (size,), genome.params["output"]["bias"].dtype))

    def noisy(array: Array, exists: Array, draw: Array) -> Array:
        array = jnp.where(exists, array, 0)
        count = jnp.maximum(jnp.sum(exists, dtype=array.dtype), 1)
        size = jnp.maximum(jnp.sqrt(jnp.sum(array * array) / count), LEAST_SIZE)
        return jnp.where(exists, array + (scale * size).astype(array.dtype) * draw, 0)

    return replace(genome, params=jax.tree.map(noisy, genome.params, exists, draws))


def resize(key: Key, genome: Genome, architecture: Architecture, bounds: Bounds) -> Genome:
    """The genome with another architecture.

    Weights that exist before and after stay. New controller units and read heads start with zero outgoing weights, new
    write heads write nothing, new memory columns are neither written nor compared, new shifts and a newly allowed
    location addressing start switched off. The first memory of a network starts as a founder's, but what it reads has
    zero weights; a feed-forward controller becomes an RNN that does not look back, a tape a Neural Turing Machine that
    neither erases nor looks up. In all of these the function stays the same to float32 rounding. Another number of
    slots changes what every weighting is spread over, other changes of kind what fields and gates mean, and shrinking
    removes what the lost parts computed; there the function changes.

    Args:
        key: consumed for the new weights.
        genome: one individual.
        architecture: the genes it is to have.
        bounds: the search space of both.
    """
    before, after = (bounds.active_axes(genes) for genes in (genome.architecture, architecture))
    axes_before, axes_after = (axes_of(genome.params, active) for active in (before, after))
    sizes = {name: mask.size for name, mask in axes_after.items()}
    dtype = genome.params["output"]["bias"].dtype
    fresh = initial_params(key, after, sizes["input"], sizes["output"], dtype)

    def grow(
        parameter: Parameter, old: Array, new: Array, existed: Bool[Array, "..."], exists: Bool[Array, "..."]
    ) -> Array:
        # An entry that is new along any of these axes would change what the network computes, so it starts closed.
        closed = jnp.zeros((1,) * len(parameter.axes), bool)
        for position in parameter.closed_axes:
            axis = parameter.axes[position]
            shape = [-1 if index == position else 1 for index in range(len(parameter.axes))]
            closed = closed | (axes_after[axis] & ~axes_before[axis]).reshape(shape)
        if before.spec.has((NO_MEMORY,)) and not MEMORIES.keys().isdisjoint(parameter.kinds):
            # A first memory may do anything while what it reads has no weight. Closed as well, it could not learn.
            closed = closed & ~before.has((NO_MEMORY,))
        start = jnp.where(closed, value_of(parameter.closed, sizes).astype(dtype), new)
        for (was, becomes), value in parameter.after.items():
            if before.spec.has((was,)) and before.spec.has((becomes,)):
                changes = before.has((was,)) & after.has((becomes,))
                start = jnp.where(changes, value_of(value, sizes).astype(dtype), start)
        return jnp.where(exists, jnp.where(existed, old, start), 0)

    existed, exists = weight_mask(before, axes_before), weight_mask(after, axes_after)
    old = genome.params
    if len(before.spec.controllers) > 1:
        old, existed = (with_gates_moved(tree, before, after) for tree in (old, existed))
    params = map_table(grow, old, fresh, existed, exists)
    return Genome(architecture=architecture, params=params, learning=genome.learning)
