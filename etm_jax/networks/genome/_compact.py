"""From a padded genome to a network of exact sizes, and back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from etm_jax._typing import Params
from etm_jax.cells import (
    NTM,
    Family,
    MemoryCell,
    Parameter,
    active_by_axis,
    exact,
    map_table,
    num_channels_of,
    table_of,
)
from etm_jax.networks.genome._architecture import (
    Architecture,
    active_axes,
    architecture_from,
    bounds_of,
    describe,
    ranges,
)
from etm_jax.networks.genome._bounds import CHOICES, Bounds
from etm_jax.networks.genome._genome import Genome


@functools.partial(jax.jit, static_argnames=("bounds", "num_channels", "num_outputs"))
def _exists(
    architecture: Architecture, bounds: Bounds, num_channels: int, num_outputs: int
) -> dict[str, Bool[Array, "_"]]:
    """Which entries of each padded axis exist. Jitted, since op by op this is some thirty compiles."""
    sizes = bounds.axis_sizes(num_channels, num_outputs)
    return active_by_axis(active_axes(architecture, bounds), sizes["input"], sizes["output"])


def _kept(architecture: Architecture, bounds: Bounds, params: Params, family: Family) -> dict[str, np.ndarray]:
    """The positions of each padded axis that exist, of a network with these parameters."""
    num_channels, num_outputs = num_channels_of(params, family), params["output"]["bias"].shape[0]
    return {
        axis: np.flatnonzero(mask) for axis, mask in _exists(architecture, bounds, num_channels, num_outputs).items()
    }


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
    kept = _kept(genome.architecture, bounds, genome.params, bounds.family)
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
    kept = _kept(architecture, bounds, params, module.cell.family)

    def place(block: str, name: str, parameter: Parameter) -> Array:
        padded = np.zeros([sizes[axis] for axis in parameter.axes], params["output"]["bias"].dtype)
        if name in params.get(block, {}):
            padded[np.ix_(*(kept[axis] for axis in parameter.axes))] = params[block][name]
        return jax.device_put(padded)  # jnp.asarray compiles a program a shape

    padded = {
        block: {name: place(block, name, parameter) for name, parameter in part.items()}
        for block, part in table_of(bounds.family).items()
    }
    return Genome(architecture=architecture, params=padded)
