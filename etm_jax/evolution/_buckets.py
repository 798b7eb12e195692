"""When a run chooses size buckets again, and from which genomes; on the host, and kept in the state."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from etm_jax._compiling import compile_options
from etm_jax.evolution._archive import parent_pool
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._propose import propose
from etm_jax.evolution._state import EvolutionState
from etm_jax.parallel._devices import replicated

DRAWS = 3  # further generations that a choice takes into account, besides the coming one


def next_choice(max_generations: int, rebucket_every: int, generation: int) -> int:
    """The generation before which a run stops to choose buckets again, or its end."""
    if rebucket_every == 0:
        return max_generations
    return min(max_generations, (generation // rebucket_every + 1) * rebucket_every)


def choose_buckets(problem: Problem, state: EvolutionState) -> EvolutionState:
    """The state with buckets that suit the coming generation and others like it, if a choice is due now."""
    every = problem.model.rebucket_every
    if every == 0 or int(state.generation) % every:
        return state
    draw = jax.jit(
        lambda state: upcoming(problem, state),
        out_shardings=replicated(problem.mesh),
        compiler_options=compile_options(0),  # genes alone: no weight is drawn
    )
    return replace(state, buckets=problem.model.choose_buckets(draw(state)))


def upcoming(problem: Problem, state: EvolutionState) -> Any:
    """The architectures of the coming generation and, when selection has begun, of some that it might have been.

    Islands are taken as one population: their members are like these, not the same.
    """
    config = problem.config
    _, key_propose, _ = jax.random.split(state.key, 3)
    warming_up = config.selection.warming_up(state.generation)
    pool, shown = parent_pool(problem.archive, state.archive, state.population)

    def proposed(key: Any) -> Any:
        population = propose(
            key,
            state.population,
            problem.model,
            problem.selector,
            crossover_rate=config.crossover_rate,
            immigrant_rate=config.immigrant_rate,
            warming_up=warming_up,
            renewing=config.selection.renews(state.generation),
            pool=pool,
            shown=shown,
        )
        return problem.model.architectures(population.genomes)

    keys = jnp.stack([key_propose, *jax.random.split(jax.random.fold_in(key_propose, 1), DRAWS)])
    # While the first individuals warm up none has children, and the coming generation is all there is to know.
    keys = jnp.where(warming_up, key_propose, keys)
    drawn = jax.lax.map(proposed, keys)
    return jax.tree.map(lambda array: array.reshape(-1), drawn)
