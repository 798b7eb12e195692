"""What a network costs: multiply-adds a step, and numbers of weights."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax.genomes._architecture import RANGES, Architecture, largest, smallest
from etm_jax.genomes._bounds import ADDRESSING, CONTENT_AND_LOCATION, Bounds
from etm_jax.genomes._genome import Genome, mask_of

ADDRESS_PASSES = 4  # passes over a weighting besides the key products: softmax, gate, sharpening, normalisation


def multiply_adds(architecture: Architecture, input_size: int, output_size: int) -> Float[Array, "*population"]:
    """Multiply-adds that one step of a network needs at its real sizes.

    The sum of the controller `4H(D + RW + H)`, the interface `H(heads(W + 1 + fields) + 2 writes W)`, addressing
    `heads N (W + shifts + 4) + N W`, writing `3 writes N W`, reading `R N W` and the output `O(H + RW)`; fields and
    shifts are 0 with content addressing only.

    Args:
        architecture: genes, of one network or of a population.
        input_size: channels in, D.
        output_size: channels out, O.
    """
    sizes = [getattr(architecture, name).astype(float) for name in RANGES]
    located = architecture.addressing == ADDRESSING.index(CONTENT_AND_LOCATION)
    return count_multiply_adds(sizes, located, input_size, output_size)


def count_multiply_adds(sizes: Sequence[Any], located: Any, input_size: int, output_size: int) -> Any:
    """The arithmetic of `multiply_adds`, on numbers or on arrays of any library; sizes in the order of `RANGES`."""
    slots, width, reads, writes, units, shift_range = sizes
    heads = reads + writes
    shifts = located * (2 * shift_range + 1)
    fields = located * (2 + shifts)
    controller = 4 * units * (input_size + reads * width + units)
    interface = units * (heads * (width + 1 + fields) + 2 * writes * width)
    addressing = heads * slots * (width + shifts + ADDRESS_PASSES) + slots * width
    memory = (3 * writes + reads) * slots * width
    return controller + interface + addressing + memory + output_size * (units + reads * width)


def efficiency(
    architecture: Architecture, bounds: Bounds, input_size: int, output_size: int
) -> Float[Array, "*population"]:
    """How cheap a network is: 1 for the cheapest architecture of the bounds, 0 for the dearest.

    Falls linearly with the logarithm of `multiply_adds`; 1 where the bounds allow just one cost.
    """
    low, high = (jnp.log(multiply_adds(end(bounds), input_size, output_size)) for end in (smallest, largest))
    cost = jnp.log(multiply_adds(architecture, input_size, output_size))
    share = (high - cost) / jnp.where(high > low, high - low, 1.0)
    return jnp.where(high > low, jnp.clip(share, 0.0, 1.0), 1.0)


def padding_efficiency(population: Architecture, bounds: Bounds, input_size: int, output_size: int) -> Float[Array, ""]:
    """Useful over executed multiply-adds when a population is evaluated at the padded sizes of the bounds."""
    useful = multiply_adds(population, input_size, output_size)
    return jnp.mean(useful) / multiply_adds(largest(bounds), input_size, output_size)


def num_parameters(genome: Genome, bounds: Bounds) -> Int[Array, ""]:
    """How many weights of a genome exist."""
    return jnp.sum(jnp.stack([jnp.sum(mask) for mask in jax.tree.leaves(mask_of(genome, bounds))]))
