"""From a padded genome to a network of exact sizes, and back."""

import jax
import jax.numpy as jnp
import numpy as np

from etm_jax.cells import NTM, NTMActive, NTMCell, active_by_axis, axes_of, map_table
from etm_jax.genomes._architecture import active_axes, architecture_from, describe, ranges
from etm_jax.genomes._bounds import Bounds
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
    active = active_axes(genome.architecture, bounds)
    kept = {axis: np.flatnonzero(mask) for axis, mask in axes_of(genome.params, active).items()}
    # NumPy: the sizes are new for every genome, and JAX would compile each of these for itself.
    params = map_table(
        lambda parameter, array: np.asarray(array)[np.ix_(*(kept[axis] for axis in parameter.axes))], genome.params
    )
    exact = jax.tree.map(lambda mask: np.ones(int(np.sum(mask)), bool), active)
    return NTM(NTMCell.from_params(params, exact), describe(genome.architecture))


def pad(module: NTM, bounds: Bounds) -> Genome:
    """The genome of a network, at the padded shape of the bounds; the inverse of `compact` on weights that exist.

    Raises:
        ValueError: the network does not fit into the bounds.
    """
    genes = module.architecture
    for name, (low, high) in ranges(bounds):
        if not low <= int(genes[name]) <= high:
            raise ValueError(f"{name}={genes[name]} lies outside the bounds ({low}, {high}); widen the bounds")
    if genes["addressing"] not in bounds.addressing:
        raise ValueError(f"addressing={genes['addressing']!r} is not among {bounds.addressing}; add it to the bounds")
    architecture = architecture_from(genes)
    params, _ = module.cell.arrays()
    num_inputs, num_outputs = params["controller"]["input_kernel"].shape[0], params["output"]["bias"].shape[0]
    active: NTMActive = active_axes(architecture, bounds)
    axes = {name: np.asarray(mask) for name, mask in active_by_axis(active, num_inputs, num_outputs).items()}

    def place(parameter, array):
        padded = np.zeros([axes[axis].size for axis in parameter.axes], array.dtype)
        padded[np.ix_(*(np.flatnonzero(axes[axis]) for axis in parameter.axes))] = array
        return jnp.asarray(padded)

    return Genome(architecture=architecture, params=map_table(place, params))
