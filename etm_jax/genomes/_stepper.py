"""A genome as a recurrent cell that acts step by step."""

from collections.abc import Callable

from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax.cells import (
    NTMCarry,
    axes_of,
    drive_of,
    initial_carry,
    join_weights,
    keep_active,
    ntm_step,
    read_out,
    weight_mask,
)
from etm_jax.genomes._architecture import active_axes
from etm_jax.genomes._bounds import Bounds
from etm_jax.genomes._genome import Genome


def stepper(
    genome: Genome, bounds: Bounds, dtype: DTypeLike | None = None
) -> tuple[NTMCarry, Callable[[NTMCarry, Array], tuple[NTMCarry, Array]]]:
    """One network as its initial state and a step, for inputs that depend on what it did before.

    Args:
        genome: one individual.
        bounds: the search space the genome belongs to.
        dtype: precision of the factors of matrix products; None for the weights' own.

    Returns:
        The carry before the first step, and `step(carry, inputs) -> (carry, logits)`. Steps along a sequence give the
        logits of `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.genomes import Bounds, random_genome, stepper
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> carry, step = stepper(random_genome(jax.random.key(0), bounds, 3, 2), bounds)
        >>> carry, logits = step(carry, jnp.ones(3))
        >>> logits.shape
        (2,)
    """
    active = active_axes(genome.architecture, bounds)
    params = keep_active(genome.params, weight_mask(axes_of(genome.params, active)))
    weights = join_weights(params, dtype)

    def step(carry: NTMCarry, inputs: Float[Array, " input"]) -> tuple[NTMCarry, Float[Array, " output"]]:
        carry = ntm_step(weights, active, carry, drive_of(params, inputs))
        return carry, read_out(params, carry.hidden, carry.reads)

    return initial_carry(active, params["output"]["bias"].dtype), step
