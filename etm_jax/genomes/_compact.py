"""From a padded genome to a network of exact sizes, and back."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from etm_jax.cells import (
    NTM,
    MemoryCell,
    Parameter,
    active_by_axis,
    axes_of,
    exact,
    map_table,
    num_channels_of,
    table_of,
)
from etm_jax.genomes._architecture import active_axes, architecture_from, bounds_of, describe, ranges
from etm_jax.genomes._bounds import CHOICES, Bounds
from etm_jax.genomes._genome import Genome


def compact(genome: Genome, bounds: Bounds) -> NTM:
    """The network of a genome at exact sizes, with the same outputs.

    Args:
        genome: one individual, not a population.
        bounds: the search space it belongs to.

    Returns:
        A flax module: `module(inputs [batch time input]) -> logits [batch time output]`.

    Raises:
        ValueError: `genome` is a population.
    """
    if jnp.ndim(genome.architecture.num_slots) != 0:
        raise ValueError("compact takes one genome, got a population; pick one with jax.tree.map(lambda x: x[i], ...)")
    genes = describe(genome.architecture)
    own = bounds_of(genes, bounds.family)
    active = active_axes(genome.architecture, bounds)
    kept = {axis: np.flatnonzero(mask) for axis, mask in axes_of(genome.params, active).items()}
    # NumPy: the sizes are new for every genome, and JAX would compile each of these for itself.
    params = map_table(
        lambda parameter, array: np.asarray(array)[np.ix_(*(kept[axis] for axis in parameter.axes))],
        {block: {name: genome.params[block][name] for name in part} for block, part in table_of(own.family).items()},
    )
    sizes = own.axis_sizes(1, 1)
    return NTM(MemoryCell(params, exact(own.family, sizes)), genes)


def pad(module: NTM, bounds: Bounds) -> Genome:
    """The genome of a network, at the padded shape of the bounds; the inverse of `compact` on weights that exist.

    Raises:
        ValueError: the network does not fit into the bounds.
    """
    genes = module.architecture
    for name, (low, high) in ranges(bounds):
        if not low <= int(genes[name]) <= high:
            raise ValueError(f"{name}={genes[name]} lies outside the bounds ({low}, {high}); widen the bounds")
    for gene, (name, _) in CHOICES.items():
        if genes[gene] not in getattr(bounds, name):
            raise ValueError(f"{gene}={genes[gene]!r} is not among {getattr(bounds, name)}; add it to the bounds")
    for name in ("attention_width", "sparse_links"):
        if getattr(module.cell.family, name) != getattr(bounds, name):
            own = getattr(module.cell.family, name)
            raise ValueError(f"{name} of the bounds must be the network's own {own}, got {getattr(bounds, name)}")
    architecture = architecture_from(genes)
    params, _ = module.cell.arrays()
    sizes = bounds.axis_sizes(num_channels_of(params, module.cell.family), params["output"]["bias"].shape[0])
    axes = active_by_axis(active_axes(architecture, bounds), sizes["input"], sizes["output"])
    kept = {name: np.flatnonzero(mask) for name, mask in axes.items()}

    def place(block: str, name: str, parameter: Parameter) -> Array:
        padded = np.zeros([sizes[axis] for axis in parameter.axes], params["output"]["bias"].dtype)
        if name in params.get(block, {}):
            padded[np.ix_(*(kept[axis] for axis in parameter.axes))] = params[block][name]
        return jnp.asarray(padded)

    padded = {
        block: {name: place(block, name, parameter) for name, parameter in part.items()}
        for block, part in table_of(bounds.family).items()
    }
    return Genome(architecture=architecture, params=padded)
