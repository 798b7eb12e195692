"""Fitness over longer episodes, the champion that they choose, and cases by episode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal
from tiny import BOUNDS, COPY, DARWINIAN, after, compiled_step
from toy_model import toy_problem

import etm_tasks
from etm_jax.config import EvolutionaryTuringConfig, FitnessConfig, SelectionConfig
from etm_jax.evolution import fitness_of, make_problem
from etm_jax.evolution._generation import init, keys_of, step
from etm_jax.evolve import read_command, with_lengths_of
from etm_jax.models._model import Result
from etm_jax.networks import apply
from etm_jax.presets import PRESETS
from etm_jax.runs import Checkpoints
from etm_jax.selection import LexicaseSelection, MapElitesArchive
from etm_jax.task import clean_inputs

LONGER = FitnessConfig(("5=0.5", "2=0.25"), longer_episodes=3)
EPISODES = {1: 4, 2: 4, 5: 3}  # 4 are `score_episodes`
BY_EPISODE = SelectionConfig(LexicaseSelection(num_elites=1), cases="episodes")
CHANGES = {"lifetime": DARWINIAN, "fitness": LONGER, "selection": BY_EPISODE}


@functools.cache
def marks():
    """A first generation's performance, accuracy and performance by episode at each length, network by network."""
    start, (state, _) = after(0, COPY, **CHANGES)[0], after(1, COPY, **CHANGES)
    key = jax.random.split(keys_of(start)[2])[1]

    @jax.jit
    def of(genome):
        found = {}
        for length, episodes in EPISODES.items():
            suite = COPY if length == 1 else COPY.longer(length)
            episode = suite.sample(key if length < 3 else jax.random.fold_in(key, length), episodes, jnp.ones(1))
            outputs = apply(genome, clean_inputs(episode), BOUNDS)
            alone = [
                suite.tasks[0].performance(
                    outputs[row : row + 1], jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], episode)
                )
                for row in range(episodes)
            ]
            found[length] = suite.performance(outputs, episode), suite.accuracy(outputs, episode), jnp.stack(alone)
        return found

    genomes = state.population.genomes
    each = [of(jax.tree.map(lambda leaf, index=index: leaf[index], genomes)) for index in range(4)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def test_the_fitness_averages_performance_over_lengths_by_weight():
    state, record = after(1, COPY, **CHANGES)
    performance = {length: found[0] for length, found in marks().items()}
    np.testing.assert_allclose(record.performance, performance[1], atol=1e-6)
    assert set(record.longer) == {2, 5}
    for length in (2, 5):
        np.testing.assert_allclose(record.longer[length], performance[length], atol=1e-6)
    earned = (performance[1] + 0.25 * performance[2] + 0.5 * performance[5])[:, 0] / 1.75
    assert np.ptp(earned) > 0
    np.testing.assert_allclose(state.population.fitness, earned + 0.2 * np.asarray(record.efficiency), atol=1e-5)


@pytest.mark.parametrize("lengths", [{}, {2: 0.25, 5: 0.5}])
def test_what_is_right_as_a_whole_earns_its_share(lengths):
    suite = etm_tasks.make_suite(("copy=0.5,bits=2", "recall=0.3,bits=2"))
    performance, accuracy = jnp.array([[0.9, 0.8]]), jnp.array([[0.4, 0.2]])
    longer = dict.fromkeys(lengths, performance), dict.fromkeys(lengths, accuracy / 2)
    result = Result(performance, accuracy, jnp.zeros(1), jnp.array([True]), longer=longer[0], longer_accuracy=longer[1])
    fitness = fitness_of(suite, toy_problem().model, 0.0, jnp.zeros((1, 2)), result.over_lengths(lengths, exact=0.25))
    weight = sum(lengths.values())
    accurate = accuracy * (1 + weight / 2) / (1 + weight)
    wanted = (0.75 * performance + 0.25 * accurate) @ jnp.array(suite.weights)
    np.testing.assert_allclose(fitness, wanted, rtol=1e-6)


def test_the_accuracy_at_longer_lengths_enters_the_fitness():
    exact = FitnessConfig(LONGER.longer, exact=0.5, longer_episodes=3)
    state, record = after(1, COPY, **CHANGES | {"fitness": exact})
    each = {length: (found[0] + found[1])[:, 0] / 2 for length, found in marks().items()}
    earned = (each[1] + 0.25 * each[2] + 0.5 * each[5]) / 1.75
    np.testing.assert_allclose(state.population.fitness, earned + 0.2 * np.asarray(record.efficiency), atol=1e-5)


def test_cases_are_the_episodes_of_every_length_of_the_fitness():
    state, _ = after(1, COPY, **CHANGES)
    expected = np.concatenate([marks()[length][2] for length in EPISODES], axis=1)
    assert expected.shape == (4, 11)
    np.testing.assert_allclose(state.population.scores.cases, expected, atol=1e-6)


def test_lexicase_picks_parents_by_episodes():
    (first, _), (second, _) = after(1, COPY, **CHANGES), after(2, COPY, **CHANGES)
    key_select = jax.random.split(keys_of(first)[1], 4)[0]
    picked = np.asarray(jax.jit(BY_EPISODE.method)(key_select, first.population.scores).parents)
    ids = np.asarray(first.population.ids)
    np.testing.assert_array_equal(np.asarray(second.population.parents)[1:, 0], ids[picked[:, 0]])


def test_the_champion_is_the_most_reliable_over_all_lengths():
    state, record = after(1, COPY, **CHANGES)
    reliability = np.mean([marks()[length][1][:, 0] for length in EPISODES], axis=0)
    assert reliability.max() > reliability.min()
    assert float(state.champion_score) == pytest.approx(reliability.max(), abs=1e-6)
    assert int(state.champion_id) == int(record.ids[reliability.argmax()])


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    checkpoints = Checkpoints(tmp_path, "")
    checkpoints.save(after(1, COPY, **CHANGES)[0])
    restored = checkpoints.restore(after(0, COPY, **CHANGES)[0])
    checkpoints.close()
    state, _ = compiled_step(COPY, **CHANGES)(restored)
    assert_trees_equal(state.population, after(2, COPY, **CHANGES)[0].population)


@pytest.mark.parametrize("weights", [{}, {2: 0.25, 5: 0.5}, {2: 1.0, 5: 3.0, 10: 0.1}])
def test_a_perfect_network_earns_the_sum_of_the_weights(weights):
    suite = etm_tasks.make_suite(("copy=0.5,bits=2", "recall=0.3,bits=2"))
    ones, longer = jnp.ones((2, 2)), {length: jnp.ones((2, 2)) for length in weights}
    result = Result(ones, ones, jnp.zeros(2), jnp.array([True, False]), longer=longer)
    fitness = fitness_of(suite, toy_problem().model, 0.2, jnp.zeros((2, 2)), result.over_lengths(weights))
    np.testing.assert_allclose(fitness, [0.8, np.nan], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fitness": LONGER}, r"Result.longer must be the performance at \[2, 5\], got \[\]"),
        ({"selection": BY_EPISODE}, "Result.cases must be 64 for each individual, as the context asks, got 1"),
    ],
)
def test_a_model_that_does_not_give_what_the_context_asks_is_told_so(changes, told):
    problem = toy_problem(**changes)
    state = jax.eval_shape(lambda: init(problem, jax.random.key(0)))
    with pytest.raises(ValueError, match=told):
        jax.eval_shape(lambda state: step(problem, state), state)


@pytest.mark.parametrize(
    ("task", "preset", "changes", "told"),
    [
        ("parity,bits=4", "quick", {"fitness": LONGER}, "must leave out 5, which parity cannot be asked at: longer"),
        (
            "addition",
            "quick",
            {"fitness": LONGER},
            "must leave out 5, which addition cannot be asked at: addition",
        ),
        (
            "t_maze",
            "acting",
            {"fitness": LONGER},
            "must leave out 2, which t_maze cannot .*: an environment has",
        ),
        ("doubling", "em43", {"fitness": LONGER}, "must leave out 2, which doubling cannot .*: a function of numbers"),
        ("doubling", "em43", {"selection": BY_EPISODE}, "selection.cases must be tasks for a function of numbers"),
        (
            "copy",
            "quick",
            {"selection": BY_EPISODE, "archive": MapElitesArchive()},
            "selection.cases must be tasks with an archive that parents come from",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(task, preset, changes, told):
    config = {field: getattr(PRESETS[preset], field) for field in ("model", "selection")} | changes
    suite = etm_tasks.make_suite((task,))
    with pytest.raises(ValueError, match=told) as caught:
        make_problem(EvolutionaryTuringConfig(**config), suite)
    assert "\n" not in str(caught.value)


def test_lengths_of_the_preset_that_a_task_lacks_are_left_out_and_said_and_those_of_flags_are_refused(capsys):
    command = read_command(["--task", "parity,bits=4"])
    found = with_lengths_of(etm_tasks.make_suite(("parity,bits=4",)), command)
    assert found.settings.fitness.lengths == {2: 0.25}
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == [
        f"parity cannot be asked at {length} times its length" for length in (5, 10)
    ]
    asked = read_command(["--task", "parity,bits=4", "--fitness.longer", "5=1"])
    assert with_lengths_of(etm_tasks.make_suite(("parity,bits=4",)), asked) == asked
    copies = read_command(["--task", "copy"])
    assert with_lengths_of(etm_tasks.make_suite(("copy",)), copies) == copies
