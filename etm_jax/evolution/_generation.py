"""One generation of evolution: propose, learn, score, take in. Pure functions of a state."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from etm_jax._typing import IntScalar, Key, Scalar
from etm_jax.config import EvolutionaryTuringConfig, IslandConfig, SelectionConfig
from etm_jax.evolution._budget import dealt, lifetime_steps
from etm_jax.evolution._devices import default_lanes, device_mesh, over_population
from etm_jax.evolution._islands import divide, merge, meshes, migrate, over_islands, pick, unite
from etm_jax.evolution._lifetime import MakeOptimiser, Result, learn, make_optimiser, score
from etm_jax.evolution._state import NOBODY, EvolutionState, Population, member
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
        make_optimiser: from an individual's learning genes to an optax chain; it starts anew in every lifetime.
        mesh: the devices that the population is spread over.
    """

    config: EvolutionaryTuringConfig
    suite: TaskSuite
    selector: Selector
    make_optimiser: MakeOptimiser
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
    return Problem(
        config=config,
        suite=suite,
        selector=selector or make_selector(config.selection),
        make_optimiser=(lambda learning: optimiser) if optimiser else make_optimiser(config.lifetime),
        mesh=device_mesh(config.population_size, config.devices, config.islands.count),
    )


def make_selector(settings: SelectionConfig) -> Selector:
    """The selector that the settings name."""
    own = {"tournament": {"size": settings.tournament_size}, "truncation": {"share": settings.truncation_share}}
    return SELECTORS[settings.method](num_elites=settings.num_elites, **own[settings.method])


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
        difficulty=jnp.full(len(suite.tasks), config.curriculum.start, float),
        champion=member(population.genomes, 0),
        champion_id=jnp.array(NOBODY, jnp.int32),
        champion_merit=jnp.array(-jnp.inf, float),
    )


def fitness_of(problem: Problem, genomes: Genome, result: Result) -> Float[Array, "*population"]:
    """Weighted sum of the tasks' performances and the architecture's efficiency; NaN for a failed evaluation."""
    config, suite = problem.config, problem.suite
    earned = result.performance @ jnp.array(suite.weights)
    thrift = efficiency(genomes.architecture, config.bounds, suite.input_size, suite.output_size)
    return jnp.where(result.finite, earned + config.efficiency_weight * thrift, jnp.nan)


def evaluate(
    problem: Problem,
    key: Key,
    genomes: Genome,
    champion: Genome,
    difficulty: Float[Array, " task"],
    generation: IntScalar,
    steps: Int[Array, " population"] | None,
) -> tuple[Genome, Result, Float[Array, " population"], Scalar]:
    """Let a population live, then score it and the champion, all on the same fresh episodes. The key is consumed.

    `steps` are each individual's gradient steps; None for the settings' own number, which is static.

    Returns:
        The genomes after learning, their results, their merits, and the champion's merit.
    """
    config = problem.config
    key_learn, key_score = jax.random.split(key)
    static = {"bounds": config.bounds, "suite": problem.suite}
    if config.lifetime.inheritance != "darwinian":
        settings = {"config": config.lifetime, "make_optimiser": problem.make_optimiser, **static}

        def live(own: tuple[Any, ...], shared: tuple[Array, Scalar]) -> Genome:
            key, genome, *mine = own
            return learn(key, genome, *shared, mine[0] if mine else config.lifetime.steps, **settings)

        spread = over_population(live, problem.mesh, problem.lanes)
        keys = jax.random.split(key_learn, config.population_size)
        shared = (difficulty, learning_rate_scale(problem, generation))
        if steps is None:
            genomes = spread((keys, genomes), shared)
        else:
            order = dealt(steps, problem.mesh.size)
            own = jax.tree.map(lambda leaf: leaf[order], (keys, genomes, steps))
            genomes = member(spread(own, shared), jnp.argsort(order))

    def examine(genome: Genome, shared: tuple[Key, Array]) -> tuple[Result, Scalar]:
        key, difficulty = shared
        result = score(key, genome, difficulty, num_episodes=config.score_episodes, **static)
        beyond = score(
            key,
            genome,
            difficulty,
            bounds=config.bounds,
            suite=problem.suite.longer(2),
            num_episodes=config.score_episodes,
        )
        return result, merit(problem, result, beyond)

    # The champion once for each device, so that the mesh still divides the whole evenly.
    everybody = jax.tree.map(
        lambda array, one: jnp.concatenate([array, jnp.repeat(one[None], problem.mesh.size, axis=0)]), genomes, champion
    )
    results, merits = over_population(examine, problem.mesh, problem.lanes)(everybody, (key_score, difficulty))
    size = config.population_size
    return genomes, jax.tree.map(lambda array: array[:size], results), merits[:size], merits[-1]


def merit(problem: Problem, result: Result, beyond: Result) -> Scalar:
    """How reliably a network solves the tasks: weighted accuracy, averaged over the lengths evolved on and twice those.

    It decides who is champion, and nothing else: selection sees the fitness alone, which knows no longer lengths. NaN
    for a failed evaluation.
    """
    weights = jnp.array(problem.suite.weights) / sum(problem.suite.weights)
    sound = result.finite & beyond.finite
    return jnp.where(sound, (result.accuracy + beyond.accuracy) @ weights / 2, jnp.nan)


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


Contender = tuple[Genome, IntScalar, Scalar]
Shared = tuple[Genome, Float[Array, " task"], IntScalar]  # champion, difficulty, generation


def live(
    problem: Problem, keys: tuple[Key, Key], previous: Population, shared: Shared
) -> tuple[Population, Result, Contender, Scalar]:
    """Propose the next population of one island, let it live, score it. The keys are consumed.

    Returns:
        The population, its results, its most reliable network, and the champion's merit on the same episodes.
    """
    key_propose, key_evaluate = keys
    champion, difficulty, generation = shared
    config = problem.config
    settling = generation < config.selection.settle_generations
    population = propose(key_propose, previous, config.bounds, problem.selector, config.variation, settling)
    steps = None
    if config.lifetime.budget == "swarm":
        steps = lifetime_steps(config.lifetime, previous, population)
    learned, result, merits, champion_merit = evaluate(
        problem, key_evaluate, population.genomes, champion, difficulty, generation, steps
    )
    inherited = learned if config.lifetime.inheritance == "lamarckian" else population.genomes
    population = scored(population, inherited, fitness_of(problem, learned, result))
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
    config, suite = problem.config, problem.suite
    key, key_propose, key_evaluate = jax.random.split(state.key, 3)
    shared = (state.champion, state.difficulty, state.generation)
    lived = live if config.islands.count == 1 else live_on_islands
    population, result, challenger, champion_merit = lived(
        problem, (key_propose, key_evaluate), state.population, shared
    )
    best = jnp.argmax(population.scores.ranked)
    champion, champion_id, champion_merit = crown(
        (state.champion, state.champion_id, jnp.where(state.champion_id == NOBODY, jnp.nan, champion_merit)), challenger
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
        "learning": population.genomes.learning,
    }
    if config.islands.count > 1:
        due = (state.generation + 1) % config.islands.migrate_every == 0
        population = migrate(population, due, config.islands.count, config.islands.migrants, problem.mesh)
    state = EvolutionState(
        key=key,
        generation=state.generation + 1,
        population=population,
        difficulty=next_difficulty(problem, state.difficulty, result),
        champion=champion,
        champion_id=champion_id,
        champion_merit=champion_merit,
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
