"""Graphs under the engine: how they vary and are scored, as policies, on the command line, in the report."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal, start_command
from tiny import settings

import etm_jax as etm
import etm_tasks
from etm_jax.environment import EnvironmentSuite, rollout
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import init
from etm_jax.evolution._run import run
from etm_jax.evolve import main
from etm_jax.graphs._evolved import EvolvedGraph, load_graph, save_graph
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._model import Graphs
from etm_jax.graphs._policy import GraphPolicy, GraphTape
from etm_jax.graphs._variation import GraphRates
from etm_jax.presets import PRESETS
from etm_jax.selection import NoveltyArchive, TournamentSelection

MAZE = etm_tasks.make("t_maze", length=2)
CONFIG = dataclasses.replace(PRESETS["graph"].model, max_nodes=24, max_connections=40, slots=4, slot_width=1)
TINY = dataclasses.replace(
    PRESETS["graph"],
    population_size=24,
    max_generations=2,
    score_episodes=4,
    devices=1,
    model=CONFIG,
    selection=dataclasses.replace(PRESETS["graph"].selection, method=TournamentSelection(num_elites=4)),
)
NOTHING = dataclasses.replace(
    CONFIG,
    variation=GraphRates(
        perturb_rate=0.0, replace_rate=0.0, toggle_rate=0.0, add_connection_rate=0.0, add_node_rate=0.0
    ),
)


def problem(maze=MAZE, **changes):
    return make_problem(settings(TINY, **changes), EnvironmentSuite((maze,), (1.0,)))


def member(genomes, index):
    return jax.tree.map(lambda leaf: leaf[index], genomes)


@functools.cache
def bred(generations=12):
    """The model, and a population after some generations without selection."""
    model = problem().model
    keys = jax.random.split(jax.random.key(1), (generations, 24))
    children = jax.jit(jax.vmap(lambda key, one, two: model.offspring(key, one, two, jnp.array(True), jnp.array(0.0))))
    genomes = jax.vmap(model.random)(jax.random.split(jax.random.key(0), 24))
    for generation in keys:
        genomes = children(generation, genomes, jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), genomes))
    return model, genomes


def test_children_grow_and_stay_within_the_tables():
    model, genomes = bred()
    assert int(genomes.num_connections.max()) > 5
    assert int(genomes.num_nodes.max()) > model.acts.num_inputs + 1 + model.acts.num_outputs
    for index in range(24):
        graph = member(genomes, index)
        ids = np.asarray(graph.ids)[np.asarray(graph.is_node)]
        here = np.asarray(graph.is_connection)
        ends = list(zip(np.asarray(graph.sources)[here], np.asarray(graph.targets)[here], strict=True))
        assert len(set(ids.tolist())) == len(ids) and len(set(ends)) == len(ends)
        assert {int(end) for pair in ends for end in pair} <= set(ids.tolist())


def test_without_mutation_an_only_parent_has_an_identical_child():
    model, genomes = bred()
    still = Graphs(NOTHING, model.suite, model.acts)
    one, other = member(genomes, 0), member(genomes, 1)
    child = still.offspring(jax.random.key(0), one, other, jnp.array(False), jnp.array(0.0))
    live = np.asarray(one.is_connection)
    np.testing.assert_array_equal(np.asarray(child.enabled)[live], np.asarray(one.enabled)[live])
    for name in ("sources", "targets", "weights"):
        np.testing.assert_array_equal(getattr(child, name), getattr(one, name))


def test_diversity_is_0_of_a_clone_and_1_of_graphs_that_share_nothing():
    model, genomes = bred()
    clones = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), genomes)
    assert float(model.diversity(clones)) == 0
    apart = dataclasses.replace(clones, targets=clones.targets + jnp.arange(3)[:, None] * 100)
    assert float(model.diversity(apart)) == pytest.approx(2 / 3)


def test_scores_are_those_of_the_exported_graph_in_the_same_episodes_whatever_the_batch_size_and_devices():
    made = problem()
    state, key = init(made, jax.random.key(3)), jax.random.key(7)
    genomes = bred()[1]
    asked = (key, genomes, state.champion, jnp.ones(1))
    found = made.model.evaluate(made.context, *asked)
    assert len(np.unique(found.result.loss)) > 1
    for index in (0, 11, 23):
        alone = made.model.export(member(genomes, index))
        total = made.suite.rollouts(key, *alone.policy(), 4, jnp.ones(1))[0].total_reward
        assert float(found.result.loss[index]) == pytest.approx(-float(total.mean()))
        assert float(found.validation_scores[index]) == pytest.approx(
            float(MAZE.performance(total) + MAZE.accuracy(total)), abs=1e-6
        )
    for other in (problem(individuals_per_batch=5), problem(devices=4)):
        again = jax.jit(lambda o=other: o.model.evaluate(o.context, *asked))()
        assert_trees_equal((found.result, found.validation_scores), (again.result, again.validation_scores))


def test_graphs_learn_to_remember_the_cue_on_their_tape():
    config = dataclasses.replace(TINY, population_size=150, max_generations=25, score_episodes=8)
    made = make_problem(config, EnvironmentSuite((MAZE,), (1.0,)))
    model = made.model.export(run(made).state.champion)
    assert isinstance(model, EvolvedGraph)
    lived = rollout(MAZE, jax.random.key(5), *model.policy(), 200)
    assert float(MAZE.accuracy(lived.total_reward)) == 1


def test_novelty_is_told_by_where_episodes_end():
    maze = etm_tasks.make("deceptive_maze")
    selection = dataclasses.replace(TINY.selection, descriptors=("final_x", "final_y"))
    made = problem(maze, selection=selection, archive=NoveltyArchive(), slots=0, max_generations=1)
    rows = run(made).history.rows
    assert np.isfinite(rows[0]["mean_fitness"])


@pytest.mark.parametrize("tape", [None, GraphTape(4, 1)])
def test_a_graph_is_saved_and_read_back(tape, tmp_path):
    acts = GraphPolicy(3, 2, ("tanh", "sine"), tape)
    for connected in (True, False):
        graph = minimal_graph(jax.random.key(0), acts.num_inputs, acts.num_outputs, 24, 64, connected=connected)
        model = EvolvedGraph.of(graph, acts)
        save_graph(model, tmp_path / "best")
        back = load_graph(tmp_path / "best")
        assert vars(back) == vars(model)
        seen = jax.random.normal(jax.random.key(1), (6, 3))
        answers = [jax.lax.scan(step, start, seen)[1] for start, step in (acts.of(graph), back.policy())]
        np.testing.assert_allclose(answers[0], answers[1], rtol=1e-6, atol=1e-7)
    (tmp_path / "best" / "graph.json").write_text('{"acts": {}}')
    with pytest.raises(ValueError, match="holds no graph that can be read"):
        load_graph(tmp_path / "best")


@pytest.mark.slow
def test_a_run_of_graphs_resumes_and_reports_with_its_picture(tmp_path):
    folder = tmp_path / "run"
    flags = ["--model=graph", "--task=car", "--population-size=16", "--selection.num-elites=2", "--score-episodes=1"]
    flags += ["--slots=0", "--connected", "--max-connections=60"]
    first = start_command(*flags, "--devices=1", "--max-generations=1", "--out", str(folder))
    assert first.returncode == 0, first.stderr
    second = start_command("--resume", str(folder), "--max-generations=2")
    assert second.returncode == 0, second.stderr
    summary = json.loads((folder / "summary.json").read_text())
    model = etm.load_best(folder)
    assert isinstance(model, EvolvedGraph) and model.architecture == summary["architecture"]
    assert summary["num_parameters"] == model.architecture["connections"] and summary["generations"] == 2
    page = (folder / "report.html").read_text()
    for words in ("Where the champion goes", "The champion's graph", "Actions (0 is -1)"):
        assert words in page.replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--task=copy"], "model graph evolves in environments, such as cart_pole, got copy"),
        (["--task=doubling"], "model graph evolves in environments, such as cart_pole, got doubling"),
        (
            ["--max-nodes=10"],
            "max_nodes must be at least 17, which the first graphs have on t_maze, got 10",
        ),
        (["--slots=-1"], "slots must be a whole number of at least 0, got -1"),
        (["--variation.add-node-rate=2"], "variation.add_node_rate must be a number from 0 to 1, got 2"),
        (["--activations", "cubic"], "activations must be some of sigmoid, tanh, relu"),
        (["--lifetime.inheritance=lamarckian"], "Unrecognized options: --lifetime.inheritance=lamarckian"),
        (["--size-buckets=2"], "Unrecognized options: --size-buckets=2"),
        (["--selection.descriptors", "num_slots", "--archive=map-elites"], "must be among connections, nodes"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--model=graph", *flags, "--out", str(tmp_path / "run"), "--compile-cache=off"])
    assert stop.value.code == 2
    assert says in " ".join(capsys.readouterr().err.split())
