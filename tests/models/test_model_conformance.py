"""What every model of the registry must do; a model is tested by being listed."""

import dataclasses
import functools
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etm_tasks
from etm_jax import EvolutionaryTuringConfig
from etm_jax._toml import from_toml, to_toml
from etm_jax.automata._config import EM33Config, EM43Config
from etm_jax.environment import EnvironmentSuite
from etm_jax.evolution import make_problem
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._variation import GraphRates
from etm_jax.models import MODELS, load_model
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig, mask_of
from etm_jax.number_task import NumberSuite
from etm_jax.task import TaskSuite

POPULATION, EPISODES = 6, 3
SUITES = {
    "tasks": TaskSuite((etm_tasks.make("copy", bits=2, max_length=2),), (1.0,)),
    "environments": EnvironmentSuite((etm_tasks.make("t_maze", length=2),), (1.0,)),
    "functions": NumberSuite((etm_tasks.make("increment"),), (1.0,)),
}
BOUNDS = Bounds(
    num_slots=(3, 5), slot_width=(2, 3), num_read_heads=(1, 2), num_write_heads=(1, 2), controller_size=(3, 5)
)
DARWINIAN = LifetimeConfig(inheritance="darwinian")
# Settings that compile quickly; a model that has none here is tested with its defaults.
SMALL = {
    "networks": NetworksConfig(BOUNDS, lifetime=DARWINIAN),
    "em43": EM43Config(programme_length=10, window=64, max_steps=100),
    "em33": EM33Config(bins=3, programme_cells=2, steps=3),
    "graph": GraphConfig(
        max_nodes=24,
        max_connections=40,
        connected=False,
        slots=4,
        slot_width=1,
        variation=GraphRates(add_connection_rate=1.0),
    ),
}


def poisoned_network(genome):
    """Garbage wherever a weight does not exist."""
    mask = mask_of(genome, BOUNDS)
    return dataclasses.replace(
        genome, params=jax.tree.map(lambda leaf, exists: jnp.where(exists, leaf, jnp.nan), genome.params, mask)
    )


def poisoned_graph(genome):
    """Garbage in every row of the tables that is not in use."""
    return dataclasses.replace(
        genome,
        weights=jnp.where(genome.is_connection, genome.weights, jnp.nan),
        places=jnp.where(genome.is_node, genome.places, jnp.nan),
    )


POISON = {"networks": poisoned_network, "graph": poisoned_graph}  # automata have no padding


def config_of(kind, **changes):
    own = SMALL.get(kind, MODELS[kind].Config())
    return EvolutionaryTuringConfig(population_size=POPULATION, devices=1, model=own, **changes)


@functools.cache
def suite_of(kind):
    """The first suite that the model evolves on."""
    for suite in SUITES.values():
        try:
            MODELS[kind].make(config_of(kind).model, suite, config_of(kind))
        except ValueError:
            continue
        return suite
    raise AssertionError(f"the model {kind} evolves on none of {', '.join(SUITES)}")


@functools.cache
def problem_of(kind):
    settings = config_of(kind) if suite_of(kind).kind == "functions" else config_of(kind, score_episodes=EPISODES)
    return make_problem(settings, suite_of(kind))


@functools.cache
def population_of(kind):
    """Random genomes, and children of theirs after some generations without selection."""
    model = problem_of(kind).model

    @jax.jit
    def bred(key):
        genomes = jax.vmap(model.random)(jax.random.split(key, POPULATION))
        first = genomes
        for generation in jax.random.split(jax.random.fold_in(key, 1), 3):
            others = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), genomes)
            mates = jnp.arange(POPULATION) % 2 == 0
            genomes = jax.vmap(lambda key, one, two, both: model.offspring(key, one, two, both, jnp.array(0.5)))(
                jax.random.split(generation, POPULATION), genomes, others, mates
            )
        return first, genomes

    return bred(jax.random.key(0))


def asked_by_context(kind):
    """What a context may ask of a model on such a suite: longer lengths of tasks, and cases by episode."""
    suite = suite_of(kind)
    longer = (3,) if suite.kind == "tasks" else ()
    return {"longer": longer, "longer_episodes": EPISODES - 1, "by_episode": suite.kind != "functions"}


@functools.cache
def evaluator(kind, population_size=POPULATION):
    problem = problem_of(kind)
    context = dataclasses.replace(problem.context, population_size=population_size, **asked_by_context(kind))
    difficulty = jnp.ones(len(problem.suite.names))
    return jax.jit(
        lambda genomes, champion: problem.model.evaluate(context, jax.random.key(5), genomes, champion, difficulty)
    )


@functools.cache
def evaluation_of(kind):
    children = population_of(kind)[1]
    return evaluator(kind)(children, member(children, 0))


def member(genomes, index):
    return jax.tree.map(lambda leaf: leaf[index], genomes)


every_model = pytest.mark.parametrize("kind", MODELS)


@every_model
def test_a_child_has_the_shapes_and_types_of_its_parents(kind):
    first, children = population_of(kind)
    assert jax.tree.structure(first) == jax.tree.structure(children)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(children), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


@every_model
def test_a_child_differs_and_is_valid(kind):
    model, (first, children) = problem_of(kind).model, population_of(kind)
    pairs = zip(*map(jax.tree.leaves, (first, children)), strict=True)
    assert any(np.any(np.asarray(one) != np.asarray(other)) for one, other in pairs)
    measures = (model.efficiency, model.costs, model.traits)
    measured = jax.jit(lambda genomes: [measure(genomes) for measure in measures])(children)
    for values in jax.tree.leaves(measured):
        assert values.shape == (POPULATION,)
        assert np.all((np.asarray(values) >= 0) & (np.asarray(values) <= 1))
    for values in jax.tree.leaves(model.genes(children)):
        assert values.shape == (POPULATION,) and np.issubdtype(values.dtype, np.integer)
    assert 0 < float(jax.jit(model.padding_efficiency, static_argnums=0)(problem_of(kind).context, children)) <= 1
    assert float(model.diversity(children)) >= 0


@every_model
def test_an_evaluation_is_finite_and_scores_the_champion_as_itself(kind):
    evaluation = evaluation_of(kind)
    assert np.all(np.asarray(evaluation.result.finite))
    assert np.all(np.isfinite(np.asarray(evaluation.validation_scores)))
    assert float(evaluation.champion_score) == float(evaluation.validation_scores[0])
    assert evaluation.result.performance.shape == (POPULATION, len(suite_of(kind).names))
    suite, asked = suite_of(kind), asked_by_context(kind)
    assert set(evaluation.result.longer or {}) == set(asked["longer"])
    for performance in (evaluation.result.longer or {}).values():
        assert performance.shape == evaluation.result.performance.shape
    of_each = EPISODES + (EPISODES - 1) * len(asked["longer"])
    cases = len(suite.names) * of_each if asked["by_episode"] else suite.num_cases
    assert evaluation.result.by_case.shape == (POPULATION, cases)


@every_model
def test_individuals_are_independent(kind):
    """Each alone scores as in the population: vmap equals a loop, and other members change nothing."""
    children, evaluation = population_of(kind)[1], evaluation_of(kind)
    for index in (0, POPULATION - 1):
        alone = member(children, np.array([index]))
        found = evaluator(kind, 1)(alone, member(children, index))
        np.testing.assert_allclose(found.result.loss[0], evaluation.result.loss[index], rtol=1e-5)
        np.testing.assert_allclose(found.validation_scores[0], evaluation.validation_scores[index], rtol=1e-5)


@pytest.mark.parametrize("kind", POISON)
def test_padding_is_inert(kind):
    children, evaluation = population_of(kind)[1], evaluation_of(kind)
    garbage = jax.vmap(POISON[kind])(children)
    assert any(np.any(np.isnan(np.asarray(leaf))) for leaf in jax.tree.leaves(garbage) if leaf.dtype.kind == "f")
    found = evaluator(kind)(garbage, member(garbage, 0))
    np.testing.assert_array_equal(found.result.loss, evaluation.result.loss)
    np.testing.assert_array_equal(found.validation_scores, evaluation.validation_scores)


def outputs_of(exported, suite):
    """What an exported model does, as an array."""
    if suite.kind == "tasks":
        inputs = np.random.default_rng(0).integers(0, 2, (2, suite.num_steps, suite.input_size))
        return np.asarray(exported(jnp.asarray(inputs, float)))
    if suite.kind == "functions":
        return np.asarray(exported(suite.task.test_inputs()).outputs)
    act = jax.jit(lambda key: suite.rollouts(key, *exported.policy(), 2, jnp.ones(1))[0].logits)
    return np.asarray(act(jax.random.key(0)))


@every_model
def test_an_exported_model_is_saved_and_comes_back_with_the_same_outputs(kind, tmp_path):
    problem, children = problem_of(kind), population_of(kind)[1]
    exported = problem.model.export(member(children, 1))
    assert exported.architecture
    problem.model.save(exported, tmp_path / "best")
    loaded = load_model(tmp_path / "best", kind)
    np.testing.assert_array_equal(outputs_of(loaded, problem.suite), outputs_of(exported, problem.suite))
    with pytest.raises(ValueError):
        load_model(tmp_path, kind)


@every_model
def test_a_champion_has_a_report(kind, tmp_path):
    problem, children = problem_of(kind), population_of(kind)[1]
    champion = member(children, 1)
    summary = problem.model.report(champion, seed=0)
    assert summary["architecture"] and summary["num_parameters"] > 0
    assert set(summary["held_out"]["accuracy"]) == set(problem.suite.names)
    shown = pkgutil.resolve_name(MODELS[kind].report)(problem.model.export(champion), problem.suite, tmp_path)
    assert shown and all(section.title and section.panels for section in shown)


@every_model
def test_settings_come_back_from_toml_and_those_of_other_models_are_refused(kind):
    config = config_of(kind)
    assert from_toml(to_toml(config), EvolutionaryTuringConfig()) == config
    own = {field.name for field in dataclasses.fields(config.model)}
    for other in MODELS:
        foreign = {field.name for field in dataclasses.fields(MODELS[other].Config())} - own
        if foreign:
            with pytest.raises(ValueError, match="unknown config key model"):
                from_toml(f'[model]\nkind = "{kind}"\n{min(foreign)} = 1\n', EvolutionaryTuringConfig())


@every_model
def test_settings_of_the_engine_that_it_does_not_read_are_refused(kind):
    changed = {"input_dim": 3, "output_dim": 3, "score_episodes": 5}
    for name in MODELS[kind].unread:
        if name in changed:
            settings = {name: changed[name]} if name == "score_episodes" else {"input_dim": 3, "output_dim": 3}
            with pytest.raises(ValueError, match=r"is read by the models .* leave it out"):
                make_problem(config_of(kind, **settings), suite_of(kind))


@every_model
def test_a_suite_of_another_kind_is_refused_in_one_line(kind):
    refused = 0
    for suite in SUITES.values():
        try:
            MODELS[kind].make(config_of(kind).model, suite, config_of(kind))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and suite.names[0] in str(error)
    assert refused >= 1
