"""Who gets how many gradient steps of a generation: all the same, or more for those whose forebears did well."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax import ae

FLOOR, CAP = 0.5, 2.0  # least and most steps of an individual, as shares of the even ones


def lifetime_steps(
    steps: int, fitness: Float[Array, " population"], known: Bool[Array, " population"]
) -> Int[Array, " population"]:
    """Steps of each individual's next lifetime; they sum to the population's even share exactly.

    Weights are those of the swarm, the softmax of standardised fitness. An individual without known forebears counts
    as average.

    Args:
        steps: of each individual, if shared evenly.
        fitness: of the individual in the generation before or, at birth, of its first parent.
        known: True = there is such a fitness.
    """
    average = jnp.sum(jnp.where(known, fitness, 0.0)) / jnp.maximum(jnp.sum(known), 1)
    weights = ae.soft_weights(-jnp.where(known, fitness, average))
    floor, cap = int(FLOOR * steps), int(CAP * steps)
    return ae.budgets(weights, fitness.size * steps, floor, cap)
