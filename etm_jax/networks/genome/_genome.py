"""A genome: architecture genes, the weights they need at padded shape, and how they are learnt."""

from dataclasses import field
from typing import TypedDict, Unpack

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Key, Mask, Params, pytree
from etm_jax.cells import Unrolled, axes_of, cell_unroll, initial_params, keep_active, weight_mask
from etm_jax.networks.genome._architecture import Architecture, active_axes, random_architecture
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._learning import Learning, neutral, random_learning


@pytree
class Genome:
    """One individual, or a population with a leading axis on every array.

    Attributes:
        architecture: the genes.
        params: weights at the padded shape of the bounds; entries that the genes do not activate mean nothing.
        learning: how it learns; a single genome learns as the settings say unless told otherwise.
    """

    architecture: Architecture
    params: Params
    learning: Learning = field(default_factory=neutral)


class HowToUnroll(TypedDict, total=False):
    """Settings of `etm_jax.cells.cell_unroll` that change its costs, and results to rounding."""

    rematerialise: bool
    micro_batch: int
    dtype: DTypeLike | None


def random_genome(key: Key, bounds: Bounds, input_size: int, output_size: int) -> Genome:
    """Draw genes uniformly from the bounds, and weights by the fan-in of those genes.

    Args:
        key: consumed.
        bounds: the search space.
        input_size: channels in.
        output_size: channels out.

    Returns:
        One genome; `vmap` over keys for a population.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> import jax
        >>> from etm_jax.networks import Bounds, random_genome
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> draw = jax.jit(jax.vmap(lambda key: random_genome(key, bounds, 3, 2)))
        >>> population = draw(jax.random.split(jax.random.key(0), 5))
        >>> population.architecture.num_slots.shape
        (5,)
    """
    if input_size < 1 or output_size < 1:
        raise ValueError(f"input_size and output_size must be at least 1, got {input_size} and {output_size}")
    return genome_of(key, bounds, input_size, output_size, architecture=None)


def genome_of(key: Key, bounds: Bounds, input_size: int, output_size: int, architecture: Architecture | None) -> Genome:
    """A genome with fresh weights and the architecture given, or a random one. The key is consumed."""
    key_genes, key_weights, key_learning = jax.random.split(key, 3)
    if architecture is None:
        architecture = random_architecture(key_genes, bounds)
    sizes = bounds.axis_sizes(input_size, output_size)
    active = active_axes(architecture, bounds)
    params = initial_params(key_weights, active, sizes["input"], output_size, jnp.result_type(float))
    return Genome(architecture=architecture, params=params, learning=random_learning(key_learning))


def mask_of(genome: Genome, bounds: Bounds) -> Mask:
    """Pytree of bool like `genome.params`; True = the weight exists."""
    active = active_axes(genome.architecture, bounds)
    return weight_mask(active, axes_of(genome.params, active))


def apply(
    genome: Genome, inputs: Float[Array, "*batch time input"], bounds: Bounds, **how: Unpack[HowToUnroll]
) -> Float[Array, "*batch time output"]:
    """Run one network over one sequence, or over each of a batch, from its initial state.

    Args:
        genome: one individual; `vmap` over genomes.
        inputs: one row a step; a batch axis in front costs less in the gradient than `vmap` over inputs.
        bounds: the search space the genome belongs to.
        **how: `rematerialise`, `micro_batch` and `dtype` of `etm_jax.cells.cell_unroll`.

    Returns:
        Logits, one row a step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.networks import Bounds, apply, random_genome
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> genome = random_genome(jax.random.key(0), bounds, 3, 2)
        >>> jax.jit(lambda genome, inputs: apply(genome, inputs, bounds))(genome, jnp.ones((7, 3))).shape
        (7, 2)
    """
    return unroll(genome, inputs, bounds, **how).outputs


def unroll(
    genome: Genome, inputs: Float[Array, "*batch time input"], bounds: Bounds, **how: Unpack[HowToUnroll]
) -> Unrolled:
    """`apply`, with the weightings of every head and the price of pondering at every step."""
    active = active_axes(genome.architecture, bounds)
    params = keep_active(genome.params, weight_mask(active, axes_of(genome.params, active)))
    return cell_unroll(params, active, inputs, **how)
