"""One generation of evolution in four stages: create, learn, evaluate, close. Pure functions of a state."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require
from etm_jax._typing import IntScalar, Key, Scalar, pytree
from etm_jax.config import IslandConfig
from etm_jax.environment import AnySuite
from etm_jax.evolution._archive import empty, parent_pool, take_in
from etm_jax.evolution._islands import divide, merge, meshes, migrate, over_islands, pick, unite
from etm_jax.evolution._measure import descriptors_of, objectives_of
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._propose import first_population, propose, scored
from etm_jax.evolution._state import NO_ID, EvolutionState, Population, unscored
from etm_jax.models._model import Evaluation, Model, Result, member
from etm_jax.runs._history import GenerationRecord
from etm_jax.task import CurriculumConfig


@pytree
class Contender:
    """An individual that is champion or wants to be.

    Attributes:
        genome: its genome.
        id: its id; `NO_ID` for none.
        score: its validation score; NaN if it failed.
    """

    genome: Any
    id: IntScalar
    score: Scalar


def init(problem: Problem, key: Key) -> EvolutionState:
    """The state before the first generation. The key is consumed."""
    config, suite, model = problem.config, problem.suite, problem.model
    key_population, key_run = jax.random.split(key)
    counts = (problem.num_cases, len(problem.objectives), len(problem.descriptors))
    population = first_population(key_population, unscored(config.population_size, *counts), model)
    return EvolutionState(
        key=key_run,
        generation=jnp.array(0, jnp.int32),
        population=population,
        buckets=getattr(model, "full_size", ()),  # even if unused here: a run may be resumed where it is not
        difficulty=jnp.full(len(suite.names), config.curriculum.start, float),
        champion=member(population.genomes, 0),
        champion_id=jnp.array(NO_ID, jnp.int32),
        champion_score=jnp.array(-jnp.inf, float),
        archive=empty(problem.archive, population),
    )


def fitness_of(
    suite: AnySuite, model: Model, efficiency_weight: float, genomes: Any, result: Result
) -> Float[Array, "*population"]:
    """Weighted sum of the tasks' performances and the genome's efficiency; NaN for a failed evaluation.

    For a fitness over several lengths the result is one of `Result.over_lengths`.
    """
    earned = result.performance @ jnp.array(suite.weights)
    return jnp.where(result.finite, earned + efficiency_weight * model.efficiency(genomes), jnp.nan)


def next_difficulty(
    curriculum: CurriculumConfig, difficulty: Float[Array, " task"], result: Result
) -> Float[Array, " task"]:
    """Raise the difficulty of each task whose present level the median individual masters."""
    level = jnp.where(result.finite[:, None] & jnp.isfinite(result.performance), result.performance, 0.0)
    mastered = jnp.median(level, axis=0) >= curriculum.threshold
    return jnp.where(mastered, jnp.minimum(difficulty + curriculum.step, 1.0), difficulty)


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


def create(problem: Problem, state: EvolutionState) -> tuple[Population, Int[Array, "*island population"] | None]:
    """The next population, or one for each island, and the gradient steps of each individual; None for equal ones."""

    def propose_one(island: Problem, own: tuple[Key, Population], shared: tuple[IntScalar, Any]):
        (key, previous), (generation, archive) = own, shared
        config, model = island.config, island.model
        pool, shown = parent_pool(island.archive, archive, previous)
        population = propose(
            key,
            previous,
            model,
            island.selector,
            crossover_rate=config.crossover_rate,
            immigrant_rate=config.immigrant_rate,
            warming_up=config.selection.warming_up(generation),
            renewing=config.selection.renews(generation),
            batch_size=island.batch_size if model.large_genomes else 0,
            pool=pool,
            shown=shown,
        )
        if not island.learns:
            return population, None
        selected = survives(previous, population) & ~config.selection.warming_up(generation)
        return population, model.budgets(*inherited_fitness(previous, population), selected)

    count = problem.config.islands.count
    previous = state.population if count == 1 else divide(state.population, count)
    return on_islands(propose_one, problem, previous, (state.generation, state.archive), keys_of(state)[1])


def survives(previous: Population, population: Population) -> Bool[Array, " population"]:
    """Who was there in the generation before."""
    return jnp.any(population.ids[:, None] == previous.ids[None], axis=1)


def inherited_fitness(
    previous: Population, population: Population
) -> tuple[Float[Array, " population"], Bool[Array, " population"]]:
    """Each individual's fitness in the generation before or, at birth, its first parent's; and whether there is one."""
    source = jnp.where(survives(previous, population), population.ids, population.parents[:, 0])
    known = (source[:, None] == previous.ids[None]) & previous.alive[None]
    return jnp.sum(jnp.where(known, previous.fitness[None], 0.0), axis=1), jnp.any(known, axis=1)


def learn(problem: Problem, state: EvolutionState, population: Population, steps: Any) -> Any:
    """The genomes of a population from `create` after learning."""

    def learn_one(island: Problem, own: tuple[Key, Any], shared: tuple[Array, IntScalar]) -> Any:
        key, (genomes, steps) = own
        return island.model.learn(island.context, key, genomes, *shared, steps)

    if not problem.learns:
        return population.genomes
    own, shared = (population.genomes, steps), (state.difficulty, state.generation)
    return on_islands(learn_one, problem, own, shared, keys_of(state)[2])


def evaluate(problem: Problem, state: EvolutionState, genomes: Any) -> Evaluation:
    """The scores of genomes that have learned, and the champion's."""

    def evaluate_one(island: Problem, own: tuple[Key, Any], shared: tuple[Any, Array]) -> Evaluation:
        key, genomes = own
        return island.model.evaluate(island.context, key, genomes, *shared)

    return on_islands(evaluate_one, problem, genomes, (state.champion, state.difficulty), keys_of(state)[2])


def close(
    problem: Problem, state: EvolutionState, population: Population, steps: Any, genomes: Any, evaluation: Evaluation
) -> tuple[EvolutionState, GenerationRecord]:
    """The state after a generation, and what happened in it.

    Args:
        problem: what evolves.
        state: before the generation.
        population: from `create`.
        steps: from `create`.
        genomes: from `learn`; None for those of the population.
        evaluation: from `evaluate`.
    """
    config, count, model = problem.config, problem.config.islands.count, problem.model
    genomes = population.genomes if genomes is None else genomes

    def score_one(island: Problem, own: tuple[None, tuple[Population, Any, Evaluation]], _: None):
        _, (population, genomes, evaluation) = own
        inherited = genomes if model.inheritance == "lamarckian" else population.genomes
        result = evaluation.result.over_lengths(config.fitness.lengths, config.fitness.exact)
        scores = evaluation.validation_scores
        found, wanted = result.by_case.shape[-1], island.num_cases
        require(found == wanted, "Result.cases", f"{wanted} for each individual, as the context asks", found)
        population = scored(
            population,
            inherited,
            fitness_of(island.suite, model, config.efficiency_weight, genomes, result),
            result.by_case,
            objectives_of(island.objectives, island.suite, model, genomes, result),
            descriptors_of(island.descriptors, model, genomes, result),
            averaged=config.selection.average_survivors,
        )
        best = jnp.argmax(jnp.where(population.alive & jnp.isfinite(scores), scores, -jnp.inf))
        score = jnp.where(population.alive[best], scores[best], jnp.nan)
        return population, Contender(member(genomes, best), population.ids[best], score)

    population, challenger = on_islands(score_one, problem, (population, genomes, evaluation), None)
    result, champion_score = evaluation.result, evaluation.champion_score
    if problem.learns and steps is None:
        steps = jnp.full(config.population_size, model.training[0])
    elif count > 1:
        steps = merge(steps)
    if count > 1:  # the most reliable of the islands' challengers, and the champion on that island's episodes
        scores = challenger.score
        first = jnp.argmax(jnp.where(jnp.isfinite(scores), scores, -jnp.inf))
        challenger, champion_score = pick((challenger, champion_score), first)
        population, result = unite(population, state.population.next_id), merge(result)
    incumbent_score = jnp.where(state.champion_id == NO_ID, jnp.nan, champion_score)
    champion = update_champion(Contender(state.champion, state.champion_id, incumbent_score), challenger)
    key = keys_of(state)[0]
    archive = take_in(problem.archive, jax.random.fold_in(key, 0), state.archive, population)
    genomes = population.genomes
    record = GenerationRecord(
        best=jnp.argmax(population.scores.ranked),
        fitness=population.fitness,
        alive=population.alive,
        performance=result.performance,
        accuracy=result.accuracy,
        loss=result.loss,
        efficiency=model.efficiency(genomes),
        difficulty=state.difficulty,
        padding_efficiency=model.padding_efficiency(problem.context, genomes),
        diversity=model.diversity(genomes),
        ids=population.ids,
        parents=population.parents,
        genes=model.genes(genomes),
        learning=model.learning(genomes) if problem.learns else {},
        spent={"steps": steps, "multiply_adds": model.multiply_adds(genomes)} if problem.learns else {},
        archive={} if problem.archive is None else problem.archive.record(archive.scores),
        longer=result.longer or {},
    )
    if count > 1:
        due = (state.generation + 1) % config.islands.migrate_every == 0
        population = migrate(population, due, count, config.islands.migrants, problem.mesh)
    state = EvolutionState(
        key=key,
        generation=state.generation + 1,
        population=population,
        buckets=state.buckets,
        difficulty=next_difficulty(config.curriculum, state.difficulty, result),
        champion=champion.genome,
        champion_id=champion.id,
        champion_score=champion.score,
        archive=archive,
    )
    return state, record


def step(problem: Problem, state: EvolutionState) -> tuple[EvolutionState, GenerationRecord]:
    """One generation in one function; a run compiles its four stages apart, see `compile_generation`.

    Returns:
        The next state, and what happened: fitness and its parts, descent and genes of the generation.
    """
    population, steps = create(problem, state)
    genomes = learn(problem, state, population, steps)
    return close(problem, state, population, steps, genomes, evaluate(problem, state, genomes))


def update_champion(incumbent: Contender, challenger: Contender) -> Contender:
    """Of champion and challenger the one with the higher validation score on the same fresh episodes.

    A score met by chance is not kept: the champion defends its place in every generation, at that generation's
    difficulty. A tie goes to the challenger, which has learned longer; NaN loses to any number.
    """
    old, new = incumbent.score, challenger.score
    wins = jnp.isfinite(new) & (~jnp.isfinite(old) | (new >= old))
    champion = jax.tree.map(lambda new, old: jnp.where(wins, new, old), challenger, incumbent)
    return replace(champion, score=jnp.where(jnp.isfinite(champion.score), champion.score, -jnp.inf))


def steps(
    problem: Problem, state: EvolutionState, last: IntScalar, count: int
) -> tuple[EvolutionState, GenerationRecord]:
    """Up to `count` generations without a round trip to the host, none beyond generation `last`.

    Returns:
        The state, and the records of the generations stacked; those beyond the last one are void.
    """

    def one(state: EvolutionState, _: None):
        return jax.lax.cond(state.generation < last, lambda s: step(problem, s), idle, state)

    def idle(state: EvolutionState):
        shapes = jax.eval_shape(lambda s: step(problem, s)[1], state)
        return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.lax.scan(one, state, None, length=count)
