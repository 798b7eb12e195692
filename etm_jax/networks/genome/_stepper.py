"""A genome as a recurrent cell that acts step by step."""

from collections.abc import Callable

from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax.cells import (
    Carry,
    axes_of,
    cell_step,
    drive_of,
    initial_carry,
    join_weights,
    keep_active,
    read_out,
    weight_mask,
)
from etm_jax.networks.genome._architecture import active_axes
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome


def stepper(
    genome: Genome, bounds: Bounds, dtype: DTypeLike | None = None
) -> tuple[Carry, Callable[[Carry, Array], tuple[Carry, Array]]]:
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
        >>> from etm_jax.networks import Bounds, random_genome, stepper
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> carry, step = stepper(random_genome(jax.random.key(0), bounds, 3, 2), bounds)
        >>> carry, logits = step(carry, jnp.ones(3))
        >>> logits.shape
        (2,)
    """
    active = active_axes(genome.architecture, bounds)
    params = keep_active(genome.params, weight_mask(active, axes_of(genome.params, active)))
    weights = join_weights(params, active, dtype)

    def step(carry: Carry, inputs: Float[Array, " input"]) -> tuple[Carry, Float[Array, " output"]]:
        carry, left = cell_step(weights, active, carry, drive_of(params, active, inputs))
        return carry, read_out(params, left.hidden, left.reads)

    return initial_carry(active, params["output"]["bias"].dtype), step
