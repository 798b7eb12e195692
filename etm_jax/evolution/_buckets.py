"""The padded shapes a run computes in: chosen from the population now and then, on the host, and kept in the state."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from etm_jax._compiling import compile_options
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution._keeping import parent_pool
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._propose import propose
from etm_jax.evolution._state import EvolutionState
from etm_jax.networks.genome._architecture import Architecture
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._buckets import BUCKET_GENES, bucket_of, choose_buckets
from etm_jax.networks.learning._score import for_networks
from etm_jax.parallel._devices import replicated

ENOUGH = 0.85  # padding efficiency beyond which another bucket is not worth its compile time
DRAWS = 3  # further generations that a choice takes into account, besides the coming one


def one_bucket(bounds: Bounds, count: int) -> Int[Array, "bucket gene"]:
    """The sizes of a ladder of which every bucket is the whole search space."""
    return jnp.tile(jnp.array([getattr(bounds, gene)[1] for gene in BUCKET_GENES], jnp.int32), (count, 1))


def with_buckets(problem: Problem, state: EvolutionState) -> Problem:
    """The problem in the buckets of a state."""
    distinct = dict.fromkeys(map(tuple, np.asarray(state.buckets).tolist()))
    return replace(problem, buckets=tuple(bucket_of(sizes, problem.config.bounds) for sizes in distinct))


def next_choice(config: EvolutionaryTuringConfig, generation: int) -> int:
    """The generation before which a run stops to choose buckets again, or its end."""
    if config.size_buckets == 1:
        return config.max_generations
    return min(config.max_generations, (generation // config.rebucket_every + 1) * config.rebucket_every)


def choose(problem: Problem, state: EvolutionState) -> EvolutionState:
    """The state with buckets that suit the coming generation and others like it, if a choice is due now."""
    config = problem.config
    if config.size_buckets == 1 or int(state.generation) % config.rebucket_every:
        return state
    suite = for_networks(problem.suite)
    draw = jax.jit(
        lambda state: upcoming(problem, state),
        out_shardings=replicated(problem.mesh),
        compiler_options=compile_options(0),  # genes alone: no weight is drawn
    )
    coming = draw(state)
    buckets = choose_buckets(
        coming, config.bounds, suite.input_size, suite.output_size, most=config.size_buckets, enough=ENOUGH
    )
    sizes = [[getattr(bucket, gene)[1] for gene in BUCKET_GENES] for bucket in buckets]
    sizes += [sizes[-1]] * (config.size_buckets - len(sizes))
    return replace(state, buckets=jnp.array(sizes, jnp.int32))


def upcoming(problem: Problem, state: EvolutionState) -> Architecture:
    """The architectures of the coming generation and, when selection has begun, of some that it might have been.

    Islands are taken as one population: their members are like these, not the same.
    """
    config = problem.config
    _, key_propose, _ = jax.random.split(state.key, 3)
    warming_up = state.generation < config.selection.warmup_generations
    pool, shown = parent_pool(problem.archive, state.archive, state.population)

    def proposed(key: Any) -> Architecture:
        population = propose(
            key,
            state.population,
            problem.family,
            problem.selector,
            config.variation,
            warming_up,
            pool=pool,
            shown=shown,
        )
        return population.genomes.architecture

    keys = jnp.stack([key_propose, *jax.random.split(jax.random.fold_in(key_propose, 1), DRAWS)])
    # Nobody is born while the founders settle: there the coming generation is all there is to know.
    keys = jnp.where(warming_up, key_propose, keys)
    drawn = jax.lax.map(proposed, keys)
    return jax.tree.map(lambda array: array.reshape(-1), drawn)
