"""Founders by successive halving: more are born than there are places, all learn a little, the better half goes on."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from etm_jax._typing import IntScalar
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._propose import born
from etm_jax.evolution._state import EvolutionState
from etm_jax.models._model import member

RAISING = 1  # folded into the state's key, which the first generation splits


def raised(problem: Problem, state: EvolutionState) -> EvolutionState:
    """The state before the first generation, its population chosen from `births` times as many random individuals.

    All learn for a share of a lifetime and are scored on fresh episodes, the same for all. The half with the greater
    loss stops, the others go on for twice as many steps, until there is one for each place. Each of these rungs takes
    the gradient steps of one generation, a lifetime for each place, and scores on its number of episodes in all. Its
    optimiser starts again. Failed ones come last, ties go to the first. Those chosen keep their order of birth, so that
    islands get like shares. Under Baldwinian inheritance they are as they were born.

    References:
        Jamieson & Talwalkar 2016, Non-stochastic best arm identification, arXiv 1502.07943 (successive halving).
    """
    model, places = problem.model, problem.config.population_size
    (lifetime, _), size, num_rungs = model.training, model.births * places, model.births.bit_length() - 1
    episodes = max(problem.config.score_episodes // model.births, 1)
    context = replace(problem.context, population_size=size, score_episodes=episodes)
    key_birth, key_rungs = jax.random.split(jax.random.fold_in(state.key, RAISING))
    newborn = born(key_birth, model, size)

    def rung(index: IntScalar, carry: tuple[Any, Bool[Array, " birth"], Bool[Array, " birth"]]):
        genomes, goes_on, _ = carry
        key = jax.random.fold_in(key_rungs, index)
        steps = jnp.where(goes_on, (lifetime << index) // model.births, 0)
        genomes = model.learn(context, key, genomes, state.difficulty, state.generation, steps)
        result = model.evaluate(context, key, genomes, member(genomes, 0), state.difficulty).result
        loss = jnp.where(result.finite, result.loss, jnp.inf)
        place = jnp.argsort(jnp.lexsort((loss, ~goes_on)))  # those that stopped before come behind those that failed
        return genomes, place < (size >> (index + 1)), result.finite

    everyone = jnp.ones(size, bool)
    genomes, chosen, finite = jax.lax.fori_loop(0, num_rungs, rung, (newborn, everyone, everyone))
    (chosen,) = jnp.nonzero(chosen, size=places)
    population = state.population
    # Alive, else the first generation would draw others. It makes them a generation older: of age 0, as those would be.
    scores = replace(population.scores, alive=finite[chosen], age=jnp.full(places, -1, jnp.int32))
    raised = member(genomes if model.inheritance == "lamarckian" else newborn, chosen)
    return replace(state, population=replace(population, genomes=raised, scores=scores))
