"""One generation of evolution: propose, learn, score, take in. Pure functions of a state."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import IntScalar, Key, Scalar
from etm_jax.evolution._budget import lifetime_steps
from etm_jax.evolution._evaluation import evaluate, fitness_of, padding_efficiency_of
from etm_jax.evolution._ladder import untiered
from etm_jax.evolution._lifetime import Result
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import NOBODY, EvolutionState, member
from etm_jax.evolution._strategy import first_population, propose, scored
from etm_jax.genomes import Genome, diversity, efficiency


def init(problem: Problem, key: Key) -> EvolutionState:
    """The state before the first generation. The key is consumed."""
    config, suite = problem.config, problem.suite
    key_population, key_run = jax.random.split(key)
    population = first_population(
        key_population, config.population_size, config.bounds, suite.input_size, suite.output_size
    )
    return EvolutionState(
        key=key_run,
        generation=jnp.array(0, jnp.int32),
        population=population,
        tiers=untiered(config.bounds, config.tiers),
        difficulty=jnp.full(len(suite.tasks), config.curriculum.start, float),
        champion=member(population.genomes, 0),
        champion_id=jnp.array(NOBODY, jnp.int32),
        champion_merit=jnp.array(-jnp.inf, float),
    )


def next_difficulty(problem: Problem, difficulty: Float[Array, " task"], result: Result) -> Float[Array, " task"]:
    """Raise the difficulty of each task whose present level the median individual masters."""
    curriculum = problem.config.curriculum
    level = jnp.where(result.finite[:, None], result.performance, 0.0)
    mastered = jnp.median(level, axis=0) >= curriculum.threshold
    return jnp.where(mastered, jnp.minimum(difficulty + curriculum.step, 1.0), difficulty)


def step(problem: Problem, state: EvolutionState) -> tuple[EvolutionState, dict[str, Any]]:
    """One generation.

    Returns:
        The next state, and what happened: fitness and its parts, descent and genes of the generation.
    """
    config, suite = problem.config, problem.suite
    key, key_propose, key_evaluate = jax.random.split(state.key, 3)
    settling = state.generation < config.selection.settle_generations
    population = propose(key_propose, state.population, config.bounds, problem.selector, config.variation, settling)
    steps = None
    if config.lifetime.budget == "swarm":
        steps = lifetime_steps(config.lifetime, state.population, population)
    learned, result, merits, champion_merit = evaluate(
        problem, key_evaluate, population.genomes, state.champion, state.difficulty, state.generation, steps
    )
    inherited = learned if config.lifetime.inheritance == "lamarckian" else population.genomes
    population = scored(population, inherited, fitness_of(problem, learned, result))
    best = jnp.argmax(population.scores.ranked)
    claimant = jnp.argmax(jnp.where(population.alive & jnp.isfinite(merits), merits, -jnp.inf))
    champion, champion_id, champion_merit = crown(
        (state.champion, state.champion_id, jnp.where(state.champion_id == NOBODY, jnp.nan, champion_merit)),
        (
            member(learned, claimant),
            population.ids[claimant],
            jnp.where(population.alive[claimant], merits[claimant], jnp.nan),
        ),
    )
    architectures = population.genomes.architecture
    thrift = efficiency(architectures, config.bounds, suite.input_size, suite.output_size)
    metrics = {
        "best": best,
        "fitness": population.fitness,
        "alive": population.alive,
        "performance": result.performance,
        "accuracy": result.accuracy,
        "loss": result.loss,
        "efficiency": thrift,
        "difficulty": state.difficulty,
        "padding_efficiency": padding_efficiency_of(problem, architectures),
        "diversity": diversity(architectures, config.bounds),
        "ids": population.ids,
        "parents": population.parents,
        "architecture": architectures,
        "learning": population.genomes.learning,
    }
    state = EvolutionState(
        key=key,
        generation=state.generation + 1,
        population=population,
        tiers=state.tiers,
        difficulty=next_difficulty(problem, state.difficulty, result),
        champion=champion,
        champion_id=champion_id,
        champion_merit=champion_merit,
    )
    return state, metrics


Contender = tuple[Genome, IntScalar, Scalar]


def crown(champion: Contender, challenger: Contender) -> Contender:
    """The champion or the generation's most reliable network, whoever has more merit on the same fresh episodes.

    A score met by chance is not kept: the champion defends its place in every generation, at that generation's
    difficulty. A tie goes to the challenger, which has learnt longer; NaN loses to any number.
    """
    reign, claim = champion[2], challenger[2]
    wins = jnp.isfinite(claim) & (~jnp.isfinite(reign) | (claim >= reign))
    genome, identity, merits = jax.tree.map(lambda new, old: jnp.where(wins, new, old), challenger, champion)
    return genome, identity, jnp.where(jnp.isfinite(merits), merits, -jnp.inf)


def steps(
    problem: Problem, state: EvolutionState, last: IntScalar, count: int
) -> tuple[EvolutionState, dict[str, Any]]:
    """Up to `count` generations without a host trip, none beyond generation `last`.

    Returns:
        The state, and the metrics of each generation stacked; rows beyond the last one are void.
    """

    def one(state: EvolutionState, _: None):
        return jax.lax.cond(state.generation < last, lambda s: step(problem, s), idle, state)

    def idle(state: EvolutionState):
        shapes = jax.eval_shape(lambda s: step(problem, s)[1], state)
        return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.lax.scan(one, state, None, length=count)
