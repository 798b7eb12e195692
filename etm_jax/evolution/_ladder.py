"""The padded shapes a run computes in: chosen from the population now and then, on the host, and kept in the state."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from etm_jax._compiling import compile_options
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution._archive import breeding_stock
from etm_jax.evolution._devices import replicated
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import EvolutionState
from etm_jax.evolution._strategy import propose
from etm_jax.evolution._suites import for_networks
from etm_jax.genomes import TIER_GENES, Architecture, Bounds, choose_tiers

ENOUGH = 0.85  # padding efficiency beyond which another tier is not worth its compile time
DRAWS = 3  # further generations that a choice takes into account, besides the coming one


def untiered(bounds: Bounds, count: int) -> Int[Array, "tier gene"]:
    """The sizes of a ladder of which every tier is the whole search space."""
    return jnp.tile(jnp.array([getattr(bounds, gene)[1] for gene in TIER_GENES], jnp.int32), (count, 1))


def with_tiers(problem: Problem, state: EvolutionState) -> Problem:
    """The problem in the tiers of a state."""
    distinct = dict.fromkeys(map(tuple, np.asarray(state.tiers).tolist()))
    highest = [dict(zip(TIER_GENES, sizes, strict=True)) for sizes in distinct]
    return replace(problem, tiers=tuple(problem.config.bounds.up_to(**sizes) for sizes in highest))


def next_choice(config: EvolutionaryTuringConfig, generation: int) -> int:
    """The generation before which a run stops to choose tiers again, or its end."""
    if config.tiers == 1:
        return config.max_generations
    return min(config.max_generations, (generation // config.retier_every + 1) * config.retier_every)


def choose(problem: Problem, state: EvolutionState) -> EvolutionState:
    """The state with tiers that suit the coming generation and others like it, if a choice is due now."""
    config = problem.config
    if config.tiers == 1 or int(state.generation) % config.retier_every:
        return state
    suite = for_networks(problem.suite)
    draw = jax.jit(
        lambda state: upcoming(problem, state),
        out_shardings=replicated(problem.mesh),
        compiler_options=compile_options(0),  # genes alone: no weight is drawn
    )
    coming = draw(state)
    tiers = choose_tiers(coming, config.bounds, suite.input_size, suite.output_size, most=config.tiers, enough=ENOUGH)
    sizes = [[getattr(tier, gene)[1] for gene in TIER_GENES] for tier in tiers]
    sizes += [sizes[-1]] * (config.tiers - len(sizes))
    return replace(state, tiers=jnp.array(sizes, jnp.int32))


def upcoming(problem: Problem, state: EvolutionState) -> Architecture:
    """The architectures of the coming generation and, when selection has begun, of some that it might have been.

    Islands are taken as one population: their members are like these, not the same.
    """
    config = problem.config
    _, key_propose, _ = jax.random.split(state.key, 3)
    settling = state.generation < config.selection.settle_generations
    stock, shown = breeding_stock(problem.archive, state.archive, state.population)

    def proposed(key: Any) -> Architecture:
        population = propose(
            key,
            state.population,
            problem.family,
            problem.selector,
            config.variation,
            settling,
            stock=stock,
            shown=shown,
        )
        return population.genomes.architecture

    keys = jnp.stack([key_propose, *jax.random.split(jax.random.fold_in(key_propose, 1), DRAWS)])
    # Nobody is born while the founders settle: there the coming generation is all there is to know.
    keys = jnp.where(settling, key_propose, keys)
    drawn = jax.lax.map(proposed, keys)
    return jax.tree.map(lambda array: array.reshape(-1), drawn)
