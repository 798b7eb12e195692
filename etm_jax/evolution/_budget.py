"""Who gets how many gradient steps of a generation: all the same, or more for those whose forebears did well."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from etm_jax import ae
from etm_jax.evolution._state import Population
from etm_jax.networks.learning._config import LifetimeConfig

FLOOR, CAP = 0.5, 2.0  # least and most steps of an individual, as shares of the even ones


def lifetime_steps(config: LifetimeConfig, previous: Population, population: Population) -> Int[Array, " population"]:
    """Steps of each individual's next lifetime; they sum to the population's even share exactly.

    Weights are those of the swarm, the softmax of standardised fitness: an individual's own of the generation before
    or, at birth, its first parent's. Whoever has neither counts as average.
    """
    size = population.ids.size
    relative = jnp.where(
        jnp.any(population.ids[:, None] == previous.ids[None], axis=1), population.ids, population.parents[:, 0]
    )
    known = (relative[:, None] == previous.ids[None]) & previous.alive[None]
    fitness = jnp.sum(jnp.where(known, previous.fitness[None], 0.0), axis=1)
    has = jnp.any(known, axis=1)
    average = jnp.sum(jnp.where(has, fitness, 0.0)) / jnp.maximum(jnp.sum(has), 1)
    weights = ae.soft_weights(-jnp.where(has, fitness, average))
    floor, cap = int(FLOOR * config.steps), int(CAP * config.steps)
    return ae.budgets(weights, size * config.steps, floor, cap)
