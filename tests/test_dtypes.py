"""Every model is traced in double precision, and with strict promotion of dtypes: state in, the same state out."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import MIXED
from tiny import CONFIG, SUITE, settings

import etm_tasks
from etm_jax.automata._config import EM33Config, EM43Config
from etm_jax.automata._convolution import ConvolutionalModel
from etm_jax.automata._em43 import EM43
from etm_jax.config import EvolutionaryTuringConfig, IslandConfig, SelectionConfig
from etm_jax.environment import EnvironmentSuite
from etm_jax.evolution import EvolvingTuringMachine, make_problem
from etm_jax.evolution._generation import init, step
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._neat import NEAT
from etm_jax.graphs._pattern import paint, pattern_weights
from etm_jax.graphs._policy import GraphTape, with_tape
from etm_jax.networks import LifetimeConfig, VariationRates, random_genome
from etm_jax.number_task import NumberSuite
from etm_jax.selection import (
    ARCHIVES,
    SELECTORS,
    FrontArchive,
    MapElitesArchive,
    NichesSelection,
    NoveltyArchive,
    NSGA2Selection,
    Scores,
    SpeciesSelection,
    UniformSelection,
)
from etm_jax.strategies._differential import DifferentialEvolution
from etm_jax.task import TaskSuite
from etm_jax.training import StrategyConfig, TrainConfig, chunk, make_training
from etm_jax.training import init as training_start

MODES = {"double": lambda: jax.enable_x64(True), "strict": lambda: jax.numpy_dtype_promotion("strict")}
ACTS = EnvironmentSuite((etm_tasks.make("t_maze", length=3),), (1.0,))
NUMBERS = NumberSuite((etm_tasks.make("increment"),), (1.0,))
DARWINIAN = LifetimeConfig(inheritance="darwinian")
SGD = CONFIG.model.lifetime
PLAIN = {"population_size": 4, "max_generations": 4, "devices": 1}


def networks(**changes):
    return settings(CONFIG, devices=1, **changes), SUITE


def other(model):
    """The run of another model."""
    if model.kind == "em43":
        return EvolutionaryTuringConfig(**PLAIN, model=model), NUMBERS
    return EvolutionaryTuringConfig(**PLAIN, score_episodes=2, model=model), ACTS


def selecting(method, archive):
    names = {"objectives": ("performance", "parameters"), "descriptors": ("num_slots", "parameters")}
    return networks(selection=SelectionConfig(method, **names), archive=archive)


QUICK = ("networks", "networks, ae_schedule_free_adamw", "networks as seeds", "graph", "em33", "em43")
MODELS = {
    "networks": lambda: networks(),
    "networks of all kinds": lambda: networks(bounds=MIXED, variation=VariationRates(align=True, crossover="slerp")),
    "networks in buckets": lambda: networks(size_buckets=2, native="off"),
    "networks in bfloat16": lambda: networks(precision="bfloat16"),
    "networks on islands": lambda: networks(islands=IslandConfig(count=2, migrate_every=1)),
    "networks, rmsprop": lambda: networks(lifetime=dataclasses.replace(SGD, optimiser="rmsprop")),
    "networks, ae_sgdm": lambda: networks(lifetime=dataclasses.replace(SGD, optimiser="ae_sgdm")),
    "networks, ae_schedule_free_adamw": lambda: networks(
        lifetime=dataclasses.replace(SGD, optimiser="ae_schedule_free_adamw")
    ),
    "networks that act": lambda: (networks(lifetime=DARWINIAN)[0], ACTS),
    "networks as seeds": lambda: networks(
        population_storage="seeds",
        seed_capacity=8,
        lifetime=DARWINIAN,
        crossover_rate=0.0,
        variation=VariationRates(gene_rate=0.0, learning_sigma=0.0),
    ),
    "networks, averaged": lambda: networks(
        lifetime=DARWINIAN, selection=SelectionConfig(average_survivors=True, warmup_generations=2)
    ),
    "networks, front": lambda: selecting(NSGA2Selection(), FrontArchive(8)),
    "networks, map": lambda: selecting(UniformSelection(), MapElitesArchive(bins=3)),
    "networks, novelty": lambda: selecting(SpeciesSelection(), NoveltyArchive(8)),
    "networks that act, by place": lambda: (
        networks(
            lifetime=DARWINIAN,
            selection=SelectionConfig(SpeciesSelection(), descriptors=("final_x", "final_y")),
        )[0],
        EnvironmentSuite((etm_tasks.make("deceptive_maze"),), (1.0,)),
    ),
    "networks, by their use of memory": lambda: networks(
        selection=SelectionConfig(NichesSelection(), descriptors=("slots_used", "read_sharpness")),
        archive=NoveltyArchive(8),
    ),
    "graph": lambda: other(GraphConfig()),
    "graph with a tape": lambda: other(GraphConfig(slots=4, activations=("tanh", "sine"))),
    "em33": lambda: other(EM33Config(bins=2, programme_cells=1, steps=4)),
    "em43": lambda: other(EM43Config(programme_length=4, window=64, max_steps=32)),
}


@pytest.fixture(params=MODES)
def mode(request):
    with MODES[request.param]():
        yield request.param


def assert_stays(before, after):
    """Shapes and dtypes, leaf by leaf."""
    pairs = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, one), other in pairs:
        assert (one.shape, one.dtype) == (other.shape, other.dtype), jax.tree_util.keystr(path)


@functools.cache
def problem_of(name):
    return make_problem(*MODELS[name]())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS]
)
def test_a_generation_keeps_the_types_of_its_state(name, mode):
    problem = problem_of(name)
    state = jax.eval_shape(lambda: init(problem, jax.random.key(0)))
    after, _ = jax.eval_shape(lambda state: step(problem, state), state)
    assert_stays(state, after)


@pytest.mark.parametrize("name", ["networks", "graph", "em33", "em43", "networks as seeds"])
def test_ids_and_counters_are_32_bits_wide_whatever_the_precision(name):
    with jax.enable_x64(True):
        problem = problem_of(name)
        state = jax.eval_shape(lambda: init(problem, jax.random.key(0)))
    for path, leaf in jax.tree.leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            assert leaf.dtype.itemsize <= 4, jax.tree_util.keystr(path)


TRAININGS = {
    "adam, cosine": TrainConfig(schedule="cosine", warmup_steps=2),
    "adamw": TrainConfig(optimiser="adamw"),
    "ae_adamw": TrainConfig(optimiser="ae_adamw"),
    "ae_schedule_free_adamw": TrainConfig(optimiser="ae_schedule_free_adamw"),
    "rmsprop in bfloat16": TrainConfig(optimiser="rmsprop", precision="bfloat16"),
    "SNES": TrainConfig(strategy=StrategyConfig("SNES", population=6)),
    "Sep_CMA_ES": TrainConfig(strategy=StrategyConfig("Sep_CMA_ES", population=6)),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_training_keeps_the_types_of_its_state(name, mode):
    training = make_training(TRAININGS[name], SUITE)
    state = jax.eval_shape(lambda: training_start(training, jax.random.key(0)))
    assert_stays(state, jax.eval_shape(lambda state: chunk(training, state, 3)[0], state))


GRAPH = functools.partial(minimal_graph, num_inputs=2, num_outputs=1, max_nodes=8, max_connections=12)
FUNCTIONS = ("tanh", "sine")
STRATEGIES = {
    "networks": (
        lambda solution: EvolvingTuringMachine(4, solution, CONFIG.model.bounds),
        lambda key: random_genome(key, CONFIG.model.bounds, 3, 2),
    ),
    "NEAT": (lambda solution: NEAT(6, solution, activations=FUNCTIONS), GRAPH),
    "recurrent NEAT": (lambda solution: NEAT(6, solution, recurrent=True), functools.partial(GRAPH, connected=False)),
    "differential evolution": (
        lambda solution: DifferentialEvolution(6, solution),
        lambda key: jax.random.uniform(key, (3,)),
    ),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_ask_and_tell_keep_the_types_of_their_state(name, mode):
    made, sample = STRATEGIES[name]
    strategy = made(jax.jit(sample)(jax.random.key(0)))
    params, size = strategy.default_params, strategy.population_size

    def start():
        population = jax.vmap(sample)(jax.random.split(jax.random.key(0), size))
        return strategy.init(jax.random.key(0), population, jnp.zeros(size), params)

    def generation(state):
        population, asked = strategy.ask(jax.random.key(1), state, params)
        return strategy.tell(jax.random.key(2), population, jnp.zeros(size), asked, params)[0]

    state = jax.eval_shape(start)
    assert_stays(state, jax.eval_shape(generation, state))


def scores():
    values = jnp.linspace(0.0, 1.0, 12).reshape(6, 2)
    return Scores(values[:, 0], values[:, 0] >= 0, values, values, values, jnp.zeros(6, jnp.int32))


@pytest.mark.parametrize("name", SELECTORS)
def test_selectors_answer_with_indices(name, mode):
    found = jax.eval_shape(lambda: SELECTORS[name]()(jax.random.key(0), scores()))
    assert all(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("name", [name for name in ARCHIVES if name not in ("auto", "none")])
def test_archives_answer_with_indices_and_records(name, mode):
    archive = ARCHIVES[name](**({"num_descriptors": 2, "bins": 2} if name == "map-elites" else {"size": 4}))

    def use():
        kept = jax.tree.map(lambda leaf: jnp.zeros((archive.num_places, *leaf.shape[1:]), leaf.dtype), scores())
        return archive.admit(jax.random.key(0), kept, scores()), archive.view(kept, scores()), archive.record(kept)

    assert jnp.issubdtype(jax.eval_shape(use)[0].dtype, jnp.integer)


def test_patterns_and_tapes_of_graphs(mode):
    def use():
        graph = minimal_graph(jax.random.key(0), 3, 1, 8, 16)
        picture = paint(graph, 4, 6, ("sine", "gaussian"))
        weights = pattern_weights(graph, jnp.zeros((4, 1)), jnp.ones((2, 1)), ("tanh",))
        tape = GraphTape(num_slots=4, slot_width=2)
        linear = lambda carry, seen: (carry, jnp.ones((1 + tape.num_outputs, 5)) @ seen)  # noqa: E731
        start, move = with_tape((), linear, tape)
        return picture, weights, jax.lax.scan(move, start, jnp.ones((4, 3)))[1]

    jax.eval_shape(use)


def test_automata_alone(mode):
    em = EM43(window=64, max_steps=32)
    rules, programmes = np.zeros((2, 64), np.uint8), np.zeros((2, 4), np.uint8)
    jax.eval_shape(lambda: em.run_population(jnp.asarray(rules), jnp.asarray(programmes), jnp.arange(3)))
    jax.eval_shape(lambda: em.run(jnp.asarray(rules[0]), jnp.asarray(programmes[0]), jnp.arange(3)))
    grid = ConvolutionalModel()
    assert grid is not None


def test_a_random_genome_of_every_kind(mode):
    jax.eval_shape(lambda: random_genome(jax.random.key(0), MIXED, 3, 2))


@pytest.mark.parametrize("name", sorted(etm_tasks.TASKS))
def test_tasks_and_environments(name, mode):
    """A sample and its scores, or a first step."""
    task = etm_tasks.make(name)

    def use():
        if hasattr(task, "train_inputs"):
            return ()
        if hasattr(task, "sample"):
            suite = TaskSuite((task,), (1.0,))
            episode = suite.sample(jax.random.key(0), 2, jnp.ones(1))
            outputs = jnp.zeros_like(episode.targets)
            return suite.loss(outputs, episode), suite.performance(outputs, episode), suite.accuracy(outputs, episode)
        suite = EnvironmentSuite((task,), (1.0,))
        policy = lambda carry, seen: (carry, jnp.zeros(suite.output_size))  # noqa: E731
        lived = suite.rollouts(jax.random.key(0), (), policy, 2, jnp.ones(1))
        return suite.loss(lived), suite.performance(lived), suite.accuracy(lived)

    jax.eval_shape(use)
