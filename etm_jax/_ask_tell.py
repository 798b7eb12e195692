"""What the ask/tell classes share with evosax's population-based algorithms: the best so far, and the metrics.

**Fitness is minimised** here, as everywhere in evosax; one that is not finite is a failed evaluation, never the best.
A state has evosax's fields `population`, `fitness`, `best_solution`, `best_fitness` and `generation_counter`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def check_fitness(fitness: Any, population_size: int) -> None:
    """Refuse fitness of another shape.

    Raises:
        ValueError: it is not one number for each individual.
    """
    if jnp.shape(fitness) != (population_size,):
        raise ValueError(
            f"fitness must have shape ({population_size},), one of each individual, got {jnp.shape(fitness)}"
        )


def cost_of(fitness: Float[Array, " population"]) -> Float[Array, " population"]:
    """Fitness with +inf for failed evaluations."""
    return jnp.where(jnp.isfinite(fitness), fitness, jnp.inf)


def best_of(population: Any, fitness: Float[Array, " population"]) -> tuple[Any, Float[Array, ""]]:
    """The best individual and its fitness; the first and +inf if all failed."""
    cost = cost_of(fitness)
    index = jnp.argmin(cost)
    return jax.tree.map(lambda leaf: leaf[index], population), cost[index]


def with_best(state: Any, population: Any, fitness: Float[Array, " population"]) -> Any:
    """The state with the best of this population as its `best_solution`, if it beats the one so far."""
    solution, cost = best_of(population, fitness)
    better = cost < state.best_fitness
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), solution, state.best_solution)
    return state.replace(best_solution=best, best_fitness=jnp.where(better, cost, state.best_fitness))


def metrics_fn(
    key: Any, population: Any, fitness: Float[Array, " population"], state: Any, params: Any
) -> dict[str, Any]:
    """evosax's metrics of a generation, for solutions of any pytree.

    `best_solution_norm` is left out: a graph or a padded genome is no vector.

    Args:
        key: unused, as is `params`; evosax hands both to a metrics function.
        population: with a leading axis.
        fitness: minimised.
        state: with the best so far, this generation included.
        params: of the algorithm.
    """
    del key, params
    solution, cost = best_of(population, fitness)
    return {
        "generation_counter": state.generation_counter,
        "best_fitness_in_generation": cost,
        "best_solution_in_generation": solution,
        "best_fitness": state.best_fitness,
        "best_solution": state.best_solution,
    }
