"""One generation of evolution in four stages: propose, learn, judge, close. Pure functions of a state."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._typing import IntScalar, Key, Scalar, pytree
from etm_jax.config import IslandConfig
from etm_jax.evolution._buckets import one_bucket
from etm_jax.evolution._islands import divide, merge, meshes, migrate, over_islands, pick, unite
from etm_jax.evolution._keeping import empty, parent_pool, take_in
from etm_jax.evolution._measure import descriptors_of, objectives_of
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._propose import first_population, propose, scored
from etm_jax.evolution._state import NO_PARENT, EvolutionState, Population, unscored
from etm_jax.models._model import Result, member
from etm_jax.networks.learning._budget import lifetime_steps


def fitness_of(problem: Problem, genomes: Any, result: Result) -> Float[Array, "*population"]:
    """Weighted sum of the tasks' performances and the genome's efficiency; NaN for a failed evaluation."""
    earned = result.performance @ jnp.array(problem.suite.weights)
    thrift = problem.family.efficiency(genomes)
    return jnp.where(result.finite, earned + problem.config.efficiency_weight * thrift, jnp.nan)


def init(problem: Problem, key: Key) -> EvolutionState:
    """The state before the first generation. The key is consumed."""
    config, suite = problem.config, problem.suite
    key_population, key_run = jax.random.split(key)
    counts = (suite.num_cases, len(problem.objectives), len(problem.descriptors))
    population = first_population(key_population, unscored(config.population_size, *counts), problem.family)
    return EvolutionState(
        key=key_run,
        generation=jnp.array(0, jnp.int32),
        population=population,
        buckets=one_bucket(config.bounds, config.size_buckets),
        difficulty=jnp.full(len(suite.names), config.curriculum.start, float),
        champion=member(population.genomes, 0),
        champion_id=jnp.array(NO_PARENT, jnp.int32),
        champion_score=jnp.array(-jnp.inf, float),
        archive=empty(problem.archive, population),
    )


def next_difficulty(problem: Problem, difficulty: Float[Array, " task"], result: Result) -> Float[Array, " task"]:
    """Raise the difficulty of each task whose present level the median individual masters."""
    curriculum = problem.config.curriculum
    level = jnp.where(result.finite[:, None] & jnp.isfinite(result.performance), result.performance, 0.0)
    mastered = jnp.median(level, axis=0) >= curriculum.threshold
    return jnp.where(mastered, jnp.minimum(difficulty + curriculum.step, 1.0), difficulty)


Contender = tuple[Any, IntScalar, Scalar]


@pytree
class Judged:
    """How a population, or each of several islands, did.

    Attributes:
        result: its scores on fresh episodes.
        validation_scores: how reliable each individual is; NaN for a failed evaluation.
        champion_score: the champion's, on the same episodes.
    """

    result: Result
    validation_scores: Float[Array, "*island population"]
    champion_score: Float[Array, "*island"]


def on_islands(
    function: Callable[[Problem, Any, Any], Any], problem: Problem, own: Any, shared: Any, key: Key | None = None
) -> Any:
    """Apply a stage to an undivided population, or to each island with a key of its own.

    Args:
        function: takes the problem of one island, its key and own arguments as a pair, and the shared arguments.
        problem: of the whole population.
        own: arrays of the population; with several islands, with a leading axis of islands.
        shared: what all islands are given whole.
        key: consumed; None for a stage that draws nothing.

    Returns:
        What the function does; with several islands, with a leading axis of islands.
    """
    config, count = problem.config, problem.config.islands.count
    if count == 1:
        return function(problem, (key, own), shared)
    outer, inner = meshes(count, problem.mesh)
    alone = replace(config, population_size=config.population_size // count, islands=IslandConfig())
    island = replace(problem, config=alone, mesh=inner)
    keys = None if key is None else jax.random.split(key, count)
    return over_islands(functools.partial(function, island), outer, problem.batch_size)((keys, own), shared)


def keys_of(state: EvolutionState) -> tuple[Key, Key, Key]:
    """The key after a generation, that of its proposal and that of its evaluation."""
    key, key_propose, key_evaluate = jax.random.split(state.key, 3)
    return key, key_propose, key_evaluate


def born(problem: Problem, state: EvolutionState) -> tuple[Population, Int[Array, "*island population"] | None]:
    """The next population, or one for each island, and the gradient steps of each individual; None for equal ones."""

    def propose_one(island: Problem, own: tuple[Key, Population], shared: tuple[IntScalar, Any]):
        (key, previous), (generation, archive) = own, shared
        config = island.config
        pool, shown = parent_pool(island.archive, archive, previous)
        population = propose(
            key,
            previous,
            island.family,
            island.selector,
            config.variation,
            generation < config.selection.warmup_generations,
            batch_size=island.offspring_batch_size,
            pool=pool,
            shown=shown,
        )
        budget = config.lifetime.budget == "swarm"
        return population, lifetime_steps(config.lifetime, previous, population) if budget else None

    count = problem.config.islands.count
    previous = state.population if count == 1 else divide(state.population, count)
    return on_islands(propose_one, problem, previous, (state.generation, state.archive), keys_of(state)[1])


def learned(problem: Problem, state: EvolutionState, population: Population, steps: Any) -> Any:
    """The genomes of a population from `born` after learning."""

    def learn_one(island: Problem, own: tuple[Key, Any], shared: tuple[Array, IntScalar]) -> Any:
        key, (genomes, steps) = own
        return island.family.learn(island, key, genomes, *shared, steps)

    if problem.config.lifetime.inheritance == "darwinian":
        return population.genomes
    own, shared = (population.genomes, steps), (state.difficulty, state.generation)
    return on_islands(learn_one, problem, own, shared, keys_of(state)[2])


def judged(problem: Problem, state: EvolutionState, genomes: Any) -> Judged:
    """The scores of genomes that have learned, and the champion's."""

    def judge_one(island: Problem, own: tuple[Key, Any], shared: tuple[Any, Array]) -> Judged:
        (key, genomes), (champion, difficulty) = own, shared
        return Judged(*island.family.judge(island, key, genomes, champion, difficulty))

    return on_islands(judge_one, problem, genomes, (state.champion, state.difficulty), keys_of(state)[2])


def closed(
    problem: Problem, state: EvolutionState, population: Population, genomes: Any, found: Judged
) -> tuple[EvolutionState, dict[str, Any]]:
    """The state after a generation, and what happened in it.

    Args:
        problem: what evolves.
        state: before the generation.
        population: from `born`.
        genomes: from `learned`; None for those of the population.
        found: from `judged`.
    """
    config, count = problem.config, problem.config.islands.count
    genomes = population.genomes if genomes is None else genomes

    def score_one(island: Problem, own: tuple[None, tuple[Population, Any, Judged]], _: None):
        _, (population, genomes, found) = own
        inherited = genomes if config.lifetime.inheritance == "lamarckian" else population.genomes
        result, validation_scores = found.result, found.validation_scores
        population = scored(
            population,
            inherited,
            fitness_of(island, genomes, result),
            result.by_case,
            objectives_of(island, genomes, result),
            descriptors_of(island, genomes, result),
            averaged=config.selection.average_survivors,
        )
        best = jnp.argmax(jnp.where(population.alive & jnp.isfinite(validation_scores), validation_scores, -jnp.inf))
        validation_score = jnp.where(population.alive[best], validation_scores[best], jnp.nan)
        return population, (member(genomes, best), population.ids[best], validation_score)

    population, challenger = on_islands(score_one, problem, (population, genomes, found), None)
    result, champion_score = found.result, found.champion_score
    if count > 1:  # the most reliable of the islands' challengers, and the champion on that island's episodes
        claims = challenger[2]
        first = jnp.argmax(jnp.where(jnp.isfinite(claims), claims, -jnp.inf))
        challenger, champion_score = pick((challenger, champion_score), first)
        population, result = unite(population, state.population.next_id), merge(result)
    champion, champion_id, champion_score = crown(
        (state.champion, state.champion_id, jnp.where(state.champion_id == NO_PARENT, jnp.nan, champion_score)),
        challenger,
    )
    key = keys_of(state)[0]
    archive = take_in(problem.archive, jax.random.fold_in(key, 0), state.archive, population)
    family, genomes = problem.family, population.genomes
    metrics = {
        "best": jnp.argmax(population.scores.ranked),
        "fitness": population.fitness,
        "alive": population.alive,
        "performance": result.performance,
        "accuracy": result.accuracy,
        "loss": result.loss,
        "efficiency": family.efficiency(genomes),
        "difficulty": state.difficulty,
        "padding_efficiency": family.padding_efficiency(problem, genomes),
        "diversity": family.diversity(genomes),
        "ids": population.ids,
        "parents": population.parents,
        "genes": family.genes(genomes),
        "learning": family.learning(genomes),
        "archive": {} if problem.archive is None else problem.archive.record(archive.scores),
    }
    if count > 1:
        due = (state.generation + 1) % config.islands.migrate_every == 0
        population = migrate(population, due, count, config.islands.migrants, problem.mesh)
    state = EvolutionState(
        key=key,
        generation=state.generation + 1,
        population=population,
        buckets=state.buckets,
        difficulty=next_difficulty(problem, state.difficulty, result),
        champion=champion,
        champion_id=champion_id,
        champion_score=champion_score,
        archive=archive,
    )
    return state, metrics


def step(problem: Problem, state: EvolutionState) -> tuple[EvolutionState, dict[str, Any]]:
    """One generation in one function; a run compiles its four stages apart, see `compile_generation`.

    Returns:
        The next state, and what happened: fitness and its parts, descent and genes of the generation.
    """
    population, budgets = born(problem, state)
    genomes = learned(problem, state, population, budgets)
    return closed(problem, state, population, genomes, judged(problem, state, genomes))


def crown(champion: Contender, challenger: Contender) -> Contender:
    """The champion or the generation's most reliable network, whoever has more validation_score on the same fresh episodes.

    A score met by chance is not kept: the champion defends its place in every generation, at that generation's
    difficulty. A tie goes to the challenger, which has learnt longer; NaN loses to any number.
    """
    reign, claim = champion[2], challenger[2]
    wins = jnp.isfinite(claim) & (~jnp.isfinite(reign) | (claim >= reign))
    genome, identity, validation_scores = jax.tree.map(lambda new, old: jnp.where(wins, new, old), challenger, champion)
    return genome, identity, jnp.where(jnp.isfinite(validation_scores), validation_scores, -jnp.inf)


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
