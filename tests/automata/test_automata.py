"""Automata under the engine: variation, scores, a run that solves a function, the command line, bad input."""

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
from etm_jax.automata import EvolvedEM43
from etm_jax.automata._config import AutomataVariation, EM43Config
from etm_jax.automata._genome import constrain_programme, constrain_rule
from etm_jax.config import SelectionConfig
from etm_jax.evolution import make_problem, summarise
from etm_jax.evolution._generation import init
from etm_jax.evolution._propose import propose, scored
from etm_jax.evolution._run import run
from etm_jax.evolution._state import NO_ID
from etm_jax.evolve import main
from etm_jax.number_task import NumberSuite, NumberTask
from etm_jax.presets import PRESETS
from etm_jax.selection import LexicaseSelection
from etm_tasks import FUNCTIONS

SMALL = dataclasses.replace(
    PRESETS["em43"],
    population_size=400,
    max_generations=30,
    devices=1,
    model=EM43Config(programme_length=10, window=64, max_steps=100),
    selection=SelectionConfig(LexicaseSelection(num_elites=40)),
)
DOUBLER = EvolvedEM43(
    rule="0100123223201003122210112213030102202303301200000121031103023121",
    programme="00000000000001000000000000200000",
)


def suite_of(name, **options):
    return NumberSuite((etm_tasks.make(name, **options),), (1.0,))


@functools.cache
def problem(**changes):
    return make_problem(settings(SMALL, **changes), suite_of("increment"))


def model(**rates):
    """The model of SMALL with other variation."""
    return problem(variation=AutomataVariation(**rates)).model


def children_of(model, first, second, mates, count):
    """Some children of two automata, or of the first alone."""
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: model.offspring(key, first, second, jnp.array(mates), jnp.array(0.0)))(keys)


def evolving():
    """A problem that solves increment within 20 generations."""
    return problem(
        seed=2,
        population_size=500,
        max_generations=20,
        immigrant_rate=0.2,
        selection=SelectionConfig(LexicaseSelection(num_elites=10)),
        variation=AutomataVariation(rule_rate=0.03, programme_rate=0.08),
    )


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_is_frozen_hashable_named_as_listed_and_asked_for_numbers_it_was_not_evolved_on(name):
    task = etm_tasks.make(name)
    assert isinstance(task, NumberTask)
    assert task.name == name and hash(task) == hash(etm_tasks.make(name))
    seen, near, far = (
        set(map(tuple, part().tolist())) for part in (task.train_inputs, task.test_inputs, task.far_inputs)
    )
    assert not (seen & near or seen & far or near & far)
    assert len(seen) >= 5 and len(near) >= 10 and len(far) >= 3
    for inputs in (seen, near, far):
        values = task.targets(np.array(sorted(inputs)))
        assert values.min() >= 0 and np.issubdtype(values.dtype, np.integer)


PLAIN = {
    "increment": lambda n: n + 1,
    "plus_two": lambda n: n + 2,
    "decrement": lambda n: n - 1,
    "doubling": lambda n: 2 * n,
    "quadrupling": lambda n: 4 * n,
    "halving": lambda n: n / 2,
    "sum_of_two": lambda a, b: a + b,
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_targets_are_the_function(name):
    inputs = etm_tasks.make(name).test_inputs()
    assert etm_tasks.make(name).targets(inputs).tolist() == [PLAIN[name](*row) for row in inputs.tolist()]


def test_offspring_keep_what_never_changes_and_else_change_at_the_rates():
    same = problem().model
    one = same.random(jax.random.key(1))
    children = children_of(same, one, one, True, 2000)
    assert_trees_equal(jax.vmap(constrain_rule)(children.rule), children.rule)
    assert_trees_equal(jax.vmap(constrain_programme)(children.programme), children.programme)
    changed = np.asarray(children.rule) != np.asarray(one.rule)
    assert changed.mean() == pytest.approx(0.02 * 0.75 * 56 / 64, rel=0.1)  # 3 of 4 draws differ, 56 entries are free
    programme = np.asarray(one.programme)
    fresh = 1 - np.array([0.7, 0.2, 0.1])[programme]
    assert (np.asarray(children.programme) != programme).mean(axis=0) == pytest.approx(0.06 * fresh, abs=0.02)


def test_two_parents_are_joined_at_one_cut():
    still = model(rule_rate=0.0, programme_rate=0.0)
    first, second = (still.random(jax.random.key(seed)) for seed in (1, 2))
    flat = [np.concatenate([one.rule, one.programme]) for one in (first, second)]
    found = children_of(still, first, second, True, 50)
    children = np.concatenate([found.rule, found.programme], axis=1)
    for child in children:
        assert any(np.array_equal(child, np.r_[flat[0][:cut], flat[1][cut:]]) for cut in range(75))
    assert len(np.unique(children, axis=0)) > 10
    alone = still.offspring(jax.random.key(0), first, second, jnp.array(False), jnp.array(0.0))
    assert_trees_equal(alone, first)


def test_a_rule_that_is_given_never_changes_and_programmes_do():
    given = model(rule=DOUBLER.rule)
    first = given.random(jax.random.key(1))
    assert "".join(map(str, first.rule.tolist())) == DOUBLER.rule
    children = children_of(given, first, first, False, 100)
    assert np.all(np.asarray(children.rule) == np.asarray(first.rule))
    assert len(np.unique(children.programme, axis=0)) > 10


def test_immigrants_have_no_parents_and_come_at_their_rate():
    made = problem()
    start = init(made, jax.random.key(0))
    ready = scored(start.population, start.population.genomes, jnp.arange(400.0))
    rates = {"crossover_rate": 1.0, "immigrant_rate": 0.25}
    after = jax.jit(lambda key: propose(key, ready, made.model, made.selector, **rates))(jax.random.key(1))
    immigrants = np.asarray(after.parents)[40:, 0] == NO_ID
    assert immigrants.mean() == pytest.approx(0.25, abs=0.07)
    assert np.asarray(after.parents)[:40].tolist() == np.asarray(ready.parents)[:40].tolist()  # elites are none


def test_scores_are_those_of_the_automaton_run_by_itself():
    made = problem()
    state = init(made, jax.random.key(3))
    genomes = state.population.genomes
    found = made.model.evaluate(made.context, jax.random.key(0), genomes, state.champion, jnp.ones(1))
    inputs = made.suite.task.train_inputs()
    for index in (0, 7, 399):
        outputs = made.model.em.run(genomes.rule[index], genomes.programme[index], inputs).outputs
        error = np.abs(np.asarray(outputs) - (inputs[:, 0] + 1))
        assert float(found.result.performance[index, 0]) == pytest.approx(1 / (1 + error.mean()))
        assert float(found.result.accuracy[index, 0]) == pytest.approx(np.mean(error == 0))
        assert float(found.validation_scores[index]) == pytest.approx(np.mean(error == 0) + 1 / (1 + error.mean()))


def test_several_devices_score_as_one():
    key, one = jax.random.key(0), problem()
    state = init(one, jax.random.key(3))
    several = problem(devices=4)
    found = [
        jax.jit(functools.partial(made.model.evaluate, made.context))(
            key, state.population.genomes, state.champion, jnp.ones(1)
        )
        for made in (one, several)
    ]
    assert_trees_equal(*found)


def test_increment_is_solved_for_numbers_never_seen():
    outcome = run(evolving())
    summary = summarise(evolving(), outcome, started=0.0)
    assert summary["held_out"]["accuracy"] == {"increment": 1.0}
    assert summary["held_out"]["extra"]["increment"]["exact_far_beyond"] == 1.0
    best = [row["best_fitness"] for row in outcome.history.rows]
    assert best == sorted(best)  # elites stay, and nothing is left to chance


def test_the_doubler_computes_far_beyond_its_tape():
    numbers = [1, 2, 7, 30, 64, 300, 500]
    run = DOUBLER(numbers)
    assert run.outputs.tolist() == [2 * number for number in numbers]
    assert run.steps.tolist()[:5] == [29, 31, 41, 87, 155]
    history = DOUBLER.history(7)
    assert history.shape == (42, 200)
    assert (history[-1] == 2).nonzero()[0].max() == 32 + 3 + 14
    live, blue = (history > 0).sum(axis=1), (history == 3).sum(axis=1)
    assert (2 * blue >= live)[1:].nonzero()[0].tolist() == [40]  # it halts at the last step and at none before


@pytest.mark.slow
def test_a_run_of_the_command_line_is_resumed_and_leaves_a_report_and_an_automaton(tmp_path):
    folder = tmp_path / "run"
    flags = ["--model=em43", "--task=decrement", "--population-size=100", "--selection.num-elites=10", "--devices=1"]
    flags += ["--programme-length=8", "--window=64", "--max-steps=60"]
    first = start_command(*flags, "--max-generations=5", "--out", str(folder))
    assert first.returncode == 0, first.stderr
    second = start_command("--resume", str(folder), "--max-generations=10")
    assert second.returncode == 0, second.stderr
    assert "100 genomes, 10 generations, on decrement" in second.stdout
    summary = json.loads((folder / "summary.json").read_text())
    model = etm.load_best(folder)
    assert model.architecture == summary["architecture"]
    assert len(model.rule) == 64 and len(model.programme) == 8
    assert summary["num_parameters"] == 72 and summary["generations"] == 10
    page = (folder / "report.html").read_text()
    assert "What the champion computes" in page and "decrement of 11" in page
    assert (folder / "space_time.png").read_bytes().startswith(b"\x89PNG")
    main(["report", str(folder)])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model=em43", "--task=copy"], "model em43 evolves on a function of numbers, such as doubling, got copy"),
        (["--task=doubling"], "networks evolve on tasks or environments, got the function doubling; try --model em43"),
        (["--model=em43", "--task=doubling", "--task=halving"], "automata evolve on one function of numbers"),
        (["--model=em43", "--task=doubling", "--task=copy"], "a function of numbers must be the only task"),
        (["--model=em43", "--task=doubling,largest=100"], "window must leave room for 200"),
        (["--model=em43", "--window=20"], "window must be a whole number of at least 37, got 20"),
        (["--model=em43", "--variation.rule=0123"], "variation.rule must be 64 digits from 0 to 3, or empty, got"),
        (["--model=em43", "--variation.rule-rate=2"], "variation.rule_rate must be a number from 0 to 1, got 2"),
        (["--model=em43", "--lifetime.inheritance=baldwinian"], "Unrecognized options: --lifetime.inheritance"),
        (["--model=em43", "--size-buckets=2"], "Unrecognized options: --size-buckets=2"),
        (["--model=em43", "--score-episodes=3"], "score_episodes is read by the models networks and em33 and graph"),
        (["--model=networks", "--preset=em43"], "--model networks does not fit these settings"),
        (["--model=em43", "--task=doubling,largest=1"], "doubling needs largest >= 2, got 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*flags, "--out", str(tmp_path / "run"), "--compile-cache=off"])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and says in errors and errors.count("\n") == 1
    assert not (tmp_path / "run").exists()
