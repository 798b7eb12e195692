"""Give an existing network a new architecture and keep what it computes where the architecture allows."""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from etm_jax._typing import Key
from etm_jax.cells import Parameter, axes_of, initial_params, map_table, weight_mask
from etm_jax.networks.genome._architecture import Architecture, active_axes
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome


def resize(key: Key, genome: Genome, architecture: Architecture, bounds: Bounds) -> Genome:
    """The genome with another architecture.

    Weights that exist before and after stay. New controller units and read heads start with zero outgoing weights, new
    write heads write nothing, new memory columns are neither written nor compared, new shifts and a newly allowed
    location addressing start switched off: the function stays the same. Another number of slots changes what every
    weighting is spread over, and shrinking removes what the lost parts computed; there the function changes.

    Args:
        key: consumed for the new weights.
        genome: one individual.
        architecture: the genes it is to have.
        bounds: the search space of both.
    """
    before, after = (active_axes(genes, bounds) for genes in (genome.architecture, architecture))
    axes_before, axes_after = (axes_of(genome.params, active) for active in (before, after))
    sizes = {name: mask.size for name, mask in axes_after.items()}
    dtype = genome.params["output"]["bias"].dtype
    fresh = initial_params(key, after, sizes["input"], sizes["output"], dtype)

    def grow(
        parameter: Parameter, old: Array, new: Array, existed: Bool[Array, "..."], exists: Bool[Array, "..."]
    ) -> Array:
        closed = jnp.zeros((1,) * len(parameter.axes), bool)
        for position in parameter.closed_axes:
            axis = parameter.axes[position]
            shape = [-1 if index == position else 1 for index in range(len(parameter.axes))]
            closed = closed | (axes_after[axis] & ~axes_before[axis]).reshape(shape)
        born = jnp.where(closed, parameter.closed(sizes).astype(dtype), new)
        return jnp.where(exists, jnp.where(existed, old, born), 0)

    existed, exists = weight_mask(before, axes_before), weight_mask(after, axes_after)
    params = map_table(grow, genome.params, fresh, existed, exists)
    return Genome(architecture=architecture, params=params, learning=genome.learning)
