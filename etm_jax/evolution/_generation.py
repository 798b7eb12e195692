"""One generation of evolution: propose, learn, score, take in. Pure functions of a state."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import IntScalar, Key, Scalar
from etm_jax.config import IslandConfig
from etm_jax.evolution._archive import breeding_stock, empty, take_in
from etm_jax.evolution._budget import lifetime_steps
from etm_jax.evolution._islands import divide, merge, meshes, migrate, over_islands, pick, unite
from etm_jax.evolution._ladder import untiered
from etm_jax.evolution._lifetime import Result
from etm_jax.evolution._measure import descriptors_of, objectives_of
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import NOBODY, EvolutionState, Population, member, unscored
from etm_jax.evolution._strategy import first_population, propose, scored


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
        tiers=untiered(config.bounds, config.tiers),
        difficulty=jnp.full(len(suite.names), config.curriculum.start, float),
        champion=member(population.genomes, 0),
        champion_id=jnp.array(NOBODY, jnp.int32),
        champion_merit=jnp.array(-jnp.inf, float),
        archive=empty(problem.archive, population),
    )


def next_difficulty(problem: Problem, difficulty: Float[Array, " task"], result: Result) -> Float[Array, " task"]:
    """Raise the difficulty of each task whose present level the median individual masters."""
    curriculum = problem.config.curriculum
    level = jnp.where(result.finite[:, None] & jnp.isfinite(result.performance), result.performance, 0.0)
    mastered = jnp.median(level, axis=0) >= curriculum.threshold
    return jnp.where(mastered, jnp.minimum(difficulty + curriculum.step, 1.0), difficulty)


Contender = tuple[Any, IntScalar, Scalar]
Shared = tuple[Any, Float[Array, " task"], IntScalar, Any]  # champion, difficulty, generation, archive


def live(
    problem: Problem, keys: tuple[Key, Key], previous: Population, shared: Shared
) -> tuple[Population, Result, Contender, Scalar]:
    """Propose the next population of one island, let it live, score it. The keys are consumed.

    Returns:
        The population, its results, its most reliable network, and the champion's merit on the same episodes.
    """
    key_propose, key_evaluate = keys
    champion, difficulty, generation, archive = shared
    config = problem.config
    settling = generation < config.selection.settle_generations
    stock, shown = breeding_stock(problem.archive, archive, previous)
    population = propose(
        key_propose,
        previous,
        problem.family,
        problem.selector,
        config.variation,
        settling,
        lanes=problem.birth_lanes,
        stock=stock,
        shown=shown,
    )
    steps = None
    if config.lifetime.budget == "swarm":
        steps = lifetime_steps(config.lifetime, previous, population)
    learned, result, merits, champion_merit = problem.family.evaluate(
        problem, key_evaluate, population.genomes, champion, difficulty, generation, steps
    )
    inherited = learned if config.lifetime.inheritance == "lamarckian" else population.genomes
    population = scored(
        population,
        inherited,
        fitness_of(problem, learned, result),
        result.by_case,
        objectives_of(problem, learned, result),
        descriptors_of(problem, learned, result),
        averaged=config.selection.average_survivors,
    )
    claimant = jnp.argmax(jnp.where(population.alive & jnp.isfinite(merits), merits, -jnp.inf))
    challenger = (
        member(learned, claimant),
        population.ids[claimant],
        jnp.where(population.alive[claimant], merits[claimant], jnp.nan),
    )
    return population, result, challenger, champion_merit


def live_on_islands(
    problem: Problem, keys: tuple[Key, Key], previous: Population, shared: Shared
) -> tuple[Population, Result, Contender, Scalar]:
    """`live` on each island, with keys of its own. The keys are consumed.

    The challenger is the most reliable of the islands', and the champion is judged on that island's episodes.
    """
    config, count = problem.config, problem.config.islands.count
    outer, inner = meshes(count, problem.mesh)
    alone = replace(config, population_size=config.population_size // count, islands=IslandConfig())
    island = replace(problem, config=alone, mesh=inner)

    def settle(own: tuple[tuple[Key, Key], Population], shared: Shared):
        keys, previous = own
        return live(island, keys, previous, shared)

    own_keys = tuple(jax.random.split(key, count) for key in keys)
    islands, result, challengers, merits = over_islands(settle, outer, problem.lanes)(
        (own_keys, divide(previous, count)), shared
    )
    claims = challengers[2]
    claimant = jnp.argmax(jnp.where(jnp.isfinite(claims), claims, -jnp.inf))
    challenger, champion_merit = pick((challengers, merits), claimant)
    return unite(islands, previous.next_id), merge(result), challenger, champion_merit


def step(problem: Problem, state: EvolutionState) -> tuple[EvolutionState, dict[str, Any]]:
    """One generation.

    Returns:
        The next state, and what happened: fitness and its parts, descent and genes of the generation.
    """
    config = problem.config
    key, key_propose, key_evaluate = jax.random.split(state.key, 3)
    shared = (state.champion, state.difficulty, state.generation, state.archive)
    lived = live if config.islands.count == 1 else live_on_islands
    population, result, challenger, champion_merit = lived(
        problem, (key_propose, key_evaluate), state.population, shared
    )
    best = jnp.argmax(population.scores.ranked)
    champion, champion_id, champion_merit = crown(
        (state.champion, state.champion_id, jnp.where(state.champion_id == NOBODY, jnp.nan, champion_merit)), challenger
    )
    archive = take_in(problem.archive, jax.random.fold_in(key, 0), state.archive, population)
    family, genomes = problem.family, population.genomes
    metrics = {
        "best": best,
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
    if config.islands.count > 1:
        due = (state.generation + 1) % config.islands.migrate_every == 0
        population = migrate(population, due, config.islands.count, config.islands.migrants, problem.mesh)
    state = EvolutionState(
        key=key,
        generation=state.generation + 1,
        population=population,
        tiers=state.tiers,
        difficulty=next_difficulty(problem, state.difficulty, result),
        champion=champion,
        champion_id=champion_id,
        champion_merit=champion_merit,
        archive=archive,
    )
    return state, metrics


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
