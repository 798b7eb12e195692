"""From a padded genome to a network of exact sizes, and back."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from etm_jax._typing import Params
from etm_jax.cells import CellSpec, MemoryCell, MemoryNetwork, Parameter, table_of
from etm_jax.cells._registry import exact
from etm_jax.cells._weights import map_table, num_channels_of
from etm_jax.networks.genome._bounds import Bounds, bounds_of
from etm_jax.networks.genome._genes import CHOICES, Genome, architecture_from, describe


def compact(genome: Genome, bounds: Bounds) -> MemoryNetwork:
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
    own = bounds_of(genes, bounds.spec)
    kept = bounds.kept(genome.architecture, *channels(genome.params, bounds.spec))
    # NumPy: the sizes are new for every genome, and JAX would compile each of these for itself.
    params = map_table(
        lambda parameter, array: np.asarray(array)[np.ix_(*(kept[axis] for axis in parameter.axes))],
        {block: {name: genome.params[block][name] for name in part} for block, part in table_of(own.spec).items()},
    )
    sizes = own.axis_sizes(1, 1)
    return MemoryNetwork(MemoryCell(params, exact(own.spec, sizes)), genes)


def pad(module: MemoryNetwork, bounds: Bounds) -> Genome:
    """The genome of a network, at the padded shape of the bounds; the inverse of `compact` on weights that exist.

    Raises:
        ValueError: the network does not fit into the bounds.
    """
    genes = module.architecture
    for name, (low, high) in bounds.ranges.items():
        if not low <= int(genes[name]) <= high:
            raise ValueError(f"{name}={genes[name]} lies outside the bounds ({low}, {high}); widen the bounds")
    for gene, (name, _) in CHOICES.items():
        if genes[gene] not in getattr(bounds, name):
            raise ValueError(f"{gene}={genes[gene]!r} is not among {getattr(bounds, name)}; add it to the bounds")
    for name in ("attention_width", "sparse_links"):
        if getattr(module.cell.spec, name) != getattr(bounds, name):
            own = getattr(module.cell.spec, name)
            raise ValueError(f"{name} of the bounds must be the network's own {own}, got {getattr(bounds, name)}")
    architecture = architecture_from(genes)
    params, _ = module.cell.arrays()
    num_channels = channels(params, module.cell.spec)
    sizes, kept = bounds.axis_sizes(*num_channels), bounds.kept(architecture, *num_channels)

    def place(block: str, name: str, parameter: Parameter) -> Array:
        padded = np.zeros([sizes[axis] for axis in parameter.axes], params["output"]["bias"].dtype)
        if name in params.get(block, {}):
            padded[np.ix_(*(kept[axis] for axis in parameter.axes))] = params[block][name]
        return jax.device_put(padded)  # jnp.asarray compiles a program a shape

    padded = {
        block: {name: place(block, name, parameter) for name, parameter in part.items()}
        for block, part in table_of(bounds.spec).items()
    }
    return Genome(architecture=architecture, params=padded)


def channels(params: Params, spec: CellSpec) -> tuple[int, int]:
    """Channels in and out of a network with these weights."""
    return num_channels_of(params, spec), params["output"]["bias"].shape[0]
