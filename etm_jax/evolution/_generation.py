"""One generation of evolution: propose, learn, score, take in. Pure functions of a state."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from etm_jax._typing import IntScalar, Key, Scalar
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution._devices import default_lanes, device_mesh, over_population
from etm_jax.evolution._lifetime import Result, learn, make_optimiser, score
from etm_jax.evolution._state import NOBODY, EvolutionState, member
from etm_jax.evolution._strategy import first_population, propose, scored
from etm_jax.genomes import Genome, diversity, efficiency, padding_efficiency
from etm_jax.selection import SELECTORS, Selector
from etm_jax.task import TaskSuite


@dataclass(frozen=True)
class Problem:
    """What a run evolves and on what; static, so one compiled generation belongs to one problem.

    Attributes:
        config: every setting.
        suite: the tasks.
        selector: who survives and who becomes a parent.
        optimiser: any optax chain; it starts anew in every lifetime.
        mesh: the devices that the population is spread over.
    """

    config: EvolutionaryTuringConfig
    suite: TaskSuite
    selector: Selector
    optimiser: optax.GradientTransformation
    mesh: Mesh = field(repr=False)

    @property
    def lanes(self) -> int:
        """Individuals that one vmap holds on a device."""
        return self.config.lanes or default_lanes()


def make_problem(
    config: EvolutionaryTuringConfig,
    suite: TaskSuite,
    *,
    selector: Selector | None = None,
    optimiser: optax.GradientTransformation | None = None,
) -> Problem:
    """A problem from its settings; a selector or an optax chain given here replaces the settings' own."""
    settings = config.selection
    if selector is None:
        options = {
            "tournament": {"size": settings.tournament_size},
            "truncation": {"share": settings.truncation_share},
        }[settings.method]
        selector = SELECTORS[settings.method](num_elites=settings.num_elites, **options)
    return Problem(
        config=config,
        suite=suite,
        selector=selector,
        optimiser=optimiser or make_optimiser(config.lifetime),
        mesh=device_mesh(config.population_size, config.devices),
    )


def init(problem: Problem, key: Key) -> EvolutionState:
    """The state before the first generation. The key is consumed."""
    config, suite = problem.config, problem.suite
    key_population, key_run = jax.random.split(key)
    population = first_population(
        key_population, config.population_size, config.bounds, suite.input_size, suite.output_size
    )
    return EvolutionState(
        key=key_run,
        generation=jnp.asarray(0),
        population=population,
        difficulty=jnp.full(len(suite.tasks), config.curriculum.start),
        champion=member(population.genomes, 0),
        champion_id=jnp.asarray(NOBODY),
        champion_fitness=jnp.asarray(-jnp.inf),
    )


def fitness_of(problem: Problem, genomes: Genome, result: Result) -> Float[Array, "*population"]:
    """Weighted sum of the tasks' performances and the architecture's efficiency; NaN for a failed evaluation."""
    config, suite = problem.config, problem.suite
    earned = result.performance @ jnp.array(suite.weights)
    thrift = efficiency(genomes.architecture, config.bounds, suite.input_size, suite.output_size)
    return jnp.where(result.finite, earned + config.efficiency_weight * thrift, jnp.nan)


def evaluate(
    problem: Problem, key: Key, genomes: Genome, difficulty: Float[Array, " task"], generation: IntScalar
) -> tuple[Genome, Genome, Result]:
    """Let a population live and score it; all are scored on the same fresh episodes. The key is consumed.

    Returns:
        The genomes as they are inherited, the genomes as they were scored, and their results.
    """
    config = problem.config
    key_learn, key_score = jax.random.split(key)
    scale = learning_rate_scale(problem, generation)

    def live(own: tuple[Key, Genome], shared: tuple[Key, Array, Scalar]) -> tuple[Genome, Result]:
        (key, genome), (key_score, difficulty, scale) = own, shared
        static = {"bounds": config.bounds, "suite": problem.suite}
        if config.lifetime.inheritance != "darwinian":
            genome = learn(
                key, genome, difficulty, scale, config=config.lifetime, optimiser=problem.optimiser, **static
            )
        return genome, score(key_score, genome, difficulty, num_episodes=config.score_episodes, **static)

    keys = jax.random.split(key_learn, config.population_size)
    spread = over_population(live, problem.mesh, problem.lanes)
    learned, result = spread((keys, genomes), (key_score, difficulty, scale))
    inherited = learned if config.lifetime.inheritance == "lamarckian" else genomes
    return inherited, learned, result


def learning_rate_scale(problem: Problem, generation: IntScalar) -> Scalar:
    """The run's schedule: from 1 in the first generation along a cosine to `final_learning_rate` in the last."""
    config = problem.config
    schedule = optax.cosine_decay_schedule(
        1.0, max(config.max_generations - 1, 1), alpha=config.lifetime.final_learning_rate
    )
    return jnp.asarray(schedule(generation))


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
    key, key_propose, key_evaluate, key_defend = jax.random.split(state.key, 4)
    population = propose(key_propose, state.population, config.bounds, problem.selector, config.variation)
    inherited, learned, result = evaluate(problem, key_evaluate, population.genomes, state.difficulty, state.generation)
    fitness = fitness_of(problem, learned, result)
    population = scored(population, inherited, fitness)
    best = jnp.argmax(population.scores.ranked)

    challenger = member(learned, best)
    champion, champion_id, champion_fitness = defend(
        problem, key_defend, state, challenger, population.ids[best], population.alive[best]
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
        "padding_efficiency": padding_efficiency(architectures, config.bounds, suite.input_size, suite.output_size),
        "diversity": diversity(architectures, config.bounds),
        "ids": population.ids,
        "parents": population.parents,
        "architecture": architectures,
    }
    state = EvolutionState(
        key=key,
        generation=state.generation + 1,
        population=population,
        difficulty=next_difficulty(problem, state.difficulty, result),
        champion=champion,
        champion_id=champion_id,
        champion_fitness=champion_fitness,
    )
    return state, metrics


def defend(
    problem: Problem, key: Key, state: EvolutionState, challenger: Genome, challenger_id: IntScalar, alive: Array
) -> tuple[Genome, IntScalar, Scalar]:
    """The better of the champion and the generation's best, both scored on the same fresh episodes.

    A score met by chance is not kept: the champion defends its place in every generation, at that generation's
    difficulty. A tie goes to the challenger, which has learnt longer. The key is consumed.
    """
    rivals = jax.tree.map(lambda *pair: jnp.stack(pair), state.champion, challenger)
    static = {"bounds": problem.config.bounds, "suite": problem.suite}
    episodes = 4 * problem.config.score_episodes
    results = jax.lax.map(lambda genome: score(key, genome, state.difficulty, num_episodes=episodes, **static), rivals)
    fitness = fitness_of(problem, rivals, results)
    reigns = (state.champion_id != NOBODY) & jnp.isfinite(fitness[0])
    wins = alive & jnp.isfinite(fitness[1]) & (~reigns | (fitness[1] >= fitness[0]))
    champion = jax.tree.map(lambda pair: jnp.where(wins, pair[1], pair[0]), rivals)
    reigns_still = jnp.where(reigns, fitness[0], -jnp.inf)
    return (
        champion,
        jnp.where(wins, challenger_id, state.champion_id),
        jnp.where(wins, fitness[1], reigns_still),
    )


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
