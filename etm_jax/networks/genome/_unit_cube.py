"""Genes as a point of the unit cube, for optimisers of real numbers."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.networks.genome._architecture import Architecture, architecture_at, choices, ranges
from etm_jax.networks.genome._bounds import Bounds


def to_unit_cube(architecture: Architecture, bounds: Bounds) -> Float[Array, " gene"]:
    """The genes of one architecture as a point of the unit cube.

    A gene that is the i-th of its k values lies at `(i + 1/2) / k`, the middle of the interval that `from_unit_cube`
    maps to it, so that decoding an encoded architecture gives it back.

    Args:
        architecture: one, which lies within the bounds.
        bounds: the search space.

    Returns:
        A coordinate in (0, 1) for each gene, in the order of `GENES`.

    Example:
        >>> import jax
        >>> from etm_jax.networks import Bounds
        >>> from etm_jax.networks.genome._unit_cube import from_unit_cube, to_unit_cube
        >>> from etm_jax.networks.genome._architecture import random_architecture
        >>> bounds = Bounds(num_slots=(4, 8), controllers=("gru", "lstm"))
        >>> architecture = random_architecture(jax.random.key(0), bounds)
        >>> from_unit_cube(to_unit_cube(architecture, bounds), bounds) == architecture
        True
    """
    places = [(getattr(architecture, name) - low, high - low + 1) for name, (low, high) in ranges(bounds)]
    for name, kinds in choices(bounds):
        places.append((jnp.argmax(jnp.asarray(kinds) == getattr(architecture, name)), len(kinds)))
    return jnp.stack([(place.astype(float) + 0.5) / count for place, count in places])


def from_unit_cube(point: Float[Array, " gene"], bounds: Bounds) -> Architecture:
    """The architecture at a point of the unit cube: of a gene with k values the value numbered `floor(v k)`.

    Args:
        point: a coordinate in [0, 1] for each gene, in the order of `GENES`; 1 is the last value.
        bounds: the search space.
    """
    below_one = 1 - jnp.finfo(point.dtype).epsneg
    return architecture_at(jnp.minimum(point, below_one.astype(point.dtype)), bounds)
