"""Rings of automata that act: the policy, the model under the engine, the command line, the report."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal, start_command

import etm_jax as etm
import etm_tasks
from etm_jax.automata._em33 import EM33, controller
from etm_jax.automata._evolved import EvolvedEM33, load_em33, save_automaton
from etm_jax.automata._genome import genome_from
from etm_jax.config import SelectionConfig
from etm_jax.environment import EnvironmentSuite, rollout
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import init
from etm_jax.evolution._run import run
from etm_jax.evolve import main
from etm_jax.presets import PRESETS
from etm_jax.selection import TournamentSelection

EM = EM33(num_variables=4, bins=3, programme_cells=2, steps=3)
POLE = etm_tasks.make("cart_pole", steps=60)
TINY = dataclasses.replace(
    PRESETS["em33"],
    population_size=24,
    max_generations=2,
    score_episodes=2,
    devices=1,
    model=dataclasses.replace(PRESETS["em33"].model, bins=3, programme_cells=2, steps=3),
    selection=SelectionConfig(TournamentSelection(size=4, num_elites=4)),
)


def rings(count):
    draws = jax.random.uniform(jax.random.key(0), (count, 27 + EM.num_cells))
    return jax.vmap(lambda uniform: genome_from(uniform, 3))(draws)


def problem(**changes):
    return make_problem(dataclasses.replace(TINY, **changes), EnvironmentSuite((POLE,), (1.0,)))


def test_a_step_shows_the_bins_runs_the_ring_and_reads_it():
    rules, programmes = rings(5)
    observation = jnp.array([-1.7, -0.2, 0.4, 3.0])
    for rule, programme in zip(rules, programmes, strict=True):
        cells, step = controller(EM, 2, rule, programme)
        after, actions = step(cells, observation)
        expected = EM.run(rule, programme, jnp.array([0, 1, 2, 2]))
        np.testing.assert_array_equal(after, expected.cells)
        for action in range(2):
            left, right = (int(beside[action] + beside[action + 2]) for beside in (expected.left, expected.right))
            assert float(actions[action]) == pytest.approx(0.9 * (right - left) / (left + right + 3))


def test_rings_under_two_vmaps_are_the_rings_one_by_one():
    rules, programmes = rings(3)
    seen = jax.random.uniform(jax.random.key(1), (3, 2, 4), minval=-1, maxval=1)

    def act(rule, programme, observation):
        return controller(EM, 1, rule, programme)[1](programme, observation)

    together = jax.jit(jax.vmap(jax.vmap(act, (None, None, 0))))(rules, programmes, seen)
    for ring in range(3):
        for episode in range(2):
            alone = act(rules[ring], programmes[ring], seen[ring, episode])
            assert_trees_equal(alone, jax.tree.map(lambda leaf, at=(ring, episode): leaf[at], together))


def test_the_ring_continues_within_an_episode_and_starts_again_in_the_next():
    rules, programmes = rings(8)
    for rule, programme in zip(rules, programmes, strict=True):
        start, step = controller(EM, 1, rule, programme)
        lived = rollout(POLE, jax.random.key(0), start, step, 2)
        for episode in range(2):
            cells = start
            for time in range(int(lived.step_valid[episode].sum())):
                cells, action = step(cells, lived.observations[episode, time])
                np.testing.assert_array_equal(action, lived.logits[episode, time])


def test_more_actions_than_variables_are_refused():
    with pytest.raises(ValueError, match=r"num_actions must be at most num_variables \(4\), got 5"):
        controller(EM, 5, jnp.zeros(27, jnp.uint8), jnp.zeros(EM.num_cells, jnp.uint8))


def test_scores_are_those_of_the_ring_in_the_same_episodes_whatever_the_batch_size_and_devices():
    made = problem()
    state, key = init(made, jax.random.key(3)), jax.random.key(7)
    genomes = state.population.genomes
    asked = (key, genomes, state.champion, jnp.ones(1))
    found = made.model.evaluate(made.context, *asked)
    for index in (0, 11, 23):
        alone = made.model.export(jax.tree.map(lambda leaf, i=index: leaf[i], genomes))
        total = made.suite.rollouts(key, *alone.policy(), 2, jnp.ones(1))[0].total_reward
        assert float(found.result.loss[index]) == pytest.approx(-float(total.mean()))
        assert float(found.validation_scores[index]) == pytest.approx(
            float(POLE.performance(total) + POLE.accuracy(total)), abs=1e-6
        )
    assert float(found.champion_score) == float(found.validation_scores[0])
    for other in (problem(individuals_per_batch=5), problem(devices=4)):
        again = jax.jit(lambda o=other: o.model.evaluate(o.context, *asked))()
        assert_trees_equal((found.result, found.validation_scores), (again.result, again.validation_scores))


def test_rings_learn_to_balance_for_longer():
    rows = run(problem(population_size=64, max_generations=6)).history.rows
    assert rows[-1]["mean_fitness"] > 2 * rows[0]["mean_fitness"]


def test_a_ring_is_saved_and_read_back(tmp_path):
    model = EvolvedEM33("0" * 26 + "2", "01" * 14, num_variables=2, num_actions=1, bins=2)
    save_automaton(model, tmp_path / "best")
    assert load_em33(tmp_path / "best") == model
    assert model.architecture["live_cells"] == 14


@pytest.mark.slow
def test_a_run_of_rings_resumes_and_reports_with_its_pictures(tmp_path):
    folder = tmp_path / "run"
    flags = ["--model=em33", "--task=car,previous=0", "--population-size=16", "--selection.num-elites=2"]
    flags += ["--score-episodes=1", "--bins=2", "--programme-cells=1", "--steps=2"]
    first = start_command(*flags, "--devices=1", "--max-generations=1", "--out", str(folder))
    assert first.returncode == 0, first.stderr
    second = start_command("--resume", str(folder), "--max-generations=2")
    assert second.returncode == 0, second.stderr
    summary = json.loads((folder / "summary.json").read_text())
    model = etm.load_best(folder)
    assert isinstance(model, EvolvedEM33) and model.architecture == summary["architecture"]
    assert (model.num_variables, model.num_actions, len(model.programme)) == (10, 2, 40)
    assert summary["num_parameters"] == 67 and summary["generations"] == 2
    page = (folder / "report.html").read_text()
    for words in ("Where the champion goes", "ring holds", "Actions (0 is -1)"):
        assert words in page
    for name in ("path.png", "space_time.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model=em33", "--task=copy"], "model em33 evolves in environments, such as cart_pole, got copy"),
        (["--model=em33", "--task=doubling"], "model em33 evolves in environments, such as cart_pole, got doubling"),
        (["--model=em43", "--task=car"], "model em43 evolves on a function of numbers, such as doubling, got car"),
        (["--model=em33", "--bins=0"], "bins must be a whole number of at least 1, got 0"),
        (["--model=em33", f"--variation.rule={'0' * 64}"], "variation.rule must be 27 digits from 0 to 2, or empty"),
        (["--model=em33", f"--variation.rule={'3' * 27}"], "variation.rule must be 27 digits from 0 to 2, or empty"),
        (["--model=em33", "--window=99"], "Unrecognized options: --window=99"),
        (["--model=em33", "--task=car,every=0"], "car needs every >= 1, got 0"),
        (["--preset=acting", "--model=em33"], "--model em33 does not fit these settings"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*flags, "--out", str(tmp_path / "run"), "--compile-cache=off"])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and says in errors and errors.count("\n") == 1
