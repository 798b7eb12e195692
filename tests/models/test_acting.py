"""Networks that act: a genome step by step, suites of environments, gymnax, and evolution without gradients."""

import dataclasses
import functools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import policies
import pytest
from flax import nnx
from helpers import assert_trees_close
from tiny import BOUNDS, settings

import etm_tasks
from etm_jax.environment import Environment, EnvironmentSuite, as_suite, from_gymnax, rollout
from etm_jax.evolution import make_problem
from etm_jax.evolve import main
from etm_jax.models._registry import MODELS, load_best
from etm_jax.networks import LifetimeConfig, apply, compact, random_genome, stepper
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.networks.learning._score import score
from etm_jax.report import write_report
from etm_jax.task import TaskSuite

T_MAZE = etm_tasks.make("t_maze", length=2)
DOUBLE = etm_tasks.make("double_t_maze", length=1)
SUITE = EnvironmentSuite((T_MAZE, DOUBLE), (0.5, 1.5))
DARWINIAN = settings(devices=1, lifetime=LifetimeConfig(inheritance="darwinian"))


@functools.cache
def genome(seed=0):
    draw = jax.jit(lambda key: random_genome(key, BOUNDS, SUITE.input_size, SUITE.output_size))
    return draw(jax.random.key(seed))


# a genome, step by step


def test_a_genome_step_by_step_is_the_genome_over_the_sequence():
    inputs = jax.random.normal(jax.random.key(1), (9, SUITE.input_size))

    @jax.jit
    def step_by_step(genome):
        start_carry, step = stepper(genome, BOUNDS)
        return jax.lax.scan(step, start_carry, inputs)[1]

    np.testing.assert_allclose(step_by_step(genome()), apply(genome(), inputs, BOUNDS), rtol=1e-5, atol=1e-6)


def test_a_compact_network_acts_as_the_padded_genome():
    network = compact(genome(), BOUNDS)

    @nnx.jit
    def as_network(network, key):
        start_carry = network.cell.initialize_carry((SUITE.input_size,))
        return SUITE.rollouts(key, start_carry, network.cell, 5, jnp.ones(2))

    padded = jax.jit(lambda key: SUITE.rollouts(key, *stepper(genome(), BOUNDS), 5, jnp.ones(2)))(jax.random.key(0))
    assert_trees_close(as_network(network, jax.random.key(0)), padded, rtol=1e-4, atol=1e-5)


# suites


def test_a_suite_shows_each_environment_padded_and_with_its_cue():
    np.testing.assert_array_equal(SUITE.as_inputs(0, jnp.ones((3, 4))), [[1, 1, 1, 1, 1, 0]] * 3)
    np.testing.assert_array_equal(SUITE.as_inputs(1, jnp.ones(3)), [1, 1, 1, 0, 0, 1])  # one channel fewer
    alone = EnvironmentSuite((T_MAZE,), (1.0,))
    np.testing.assert_array_equal(alone.as_inputs(0, jnp.ones(4)), jnp.ones(4))
    assert (SUITE.input_size, SUITE.output_size, alone.input_size) == (6, 3, 4)


def test_a_suite_runs_each_environment_with_its_own_part_of_the_network():
    start, follow = policies.follow_cue()

    def both(carry, inputs):
        carry, logits = follow(carry, inputs[:4])
        return carry, jnp.where(inputs[4] > 0, logits, policies.action(policies.LEFT))  # crashes in the other

    lived = jax.jit(lambda key: SUITE.rollouts(key, start, both, 16, jnp.ones(2)))(jax.random.key(0))
    assert [one.observations.shape for one in lived] == [(16, 3, 4), (16, 64, 4)]
    np.testing.assert_array_equal(SUITE.accuracy(lived), [1, 0])
    np.testing.assert_allclose(SUITE.performance(lived), [1, 0])
    np.testing.assert_allclose(SUITE.loss(lived), -10 * 0.5 / 2.0)  # by weight


def test_each_environment_of_a_suite_has_its_own_difficulty():
    start, step = policies.follow_cue()
    lived = SUITE.rollouts(jax.random.key(0), start, lambda carry, seen: step(carry, seen[:4]), 2, jnp.array([0.0, 1]))
    np.testing.assert_array_equal(lived[0].step_valid.sum(axis=1), 2)  # a corridor of 1, though its greatest is 2


def test_as_suite_makes_the_right_kind_and_refuses_a_mixture():
    copy = etm_tasks.make("copy")
    assert as_suite([T_MAZE, DOUBLE], [0.5, 1.5]) == SUITE
    assert as_suite([copy], [1.0]) == TaskSuite((copy,), (1.0,))
    with pytest.raises(ValueError, match="tasks or on environments, got the tasks copy and the environments t_maze"):
        as_suite([T_MAZE, copy], [1.0, 1.0])


@pytest.mark.parametrize(("members", "weights"), [((), ()), ((T_MAZE, T_MAZE), (1.0, 1.0)), ((T_MAZE,), (0.0,))])
def test_suites_that_make_no_sense_are_refused(members, weights):
    with pytest.raises(ValueError, match="a suite needs one"):
        EnvironmentSuite(members, weights)


# gymnax


class Space(NamedTuple):
    n: int = 2
    shape: tuple[int, ...] = (2, 1)


class Params(NamedTuple):
    max_steps_in_episode: int = 5


class Counts:
    """Gymnax's interface: action 1 pays 1; over at the third one, then begun again."""

    name = "Counts"

    def action_space(self, params):
        return Space()

    def observation_space(self, params):
        return Space()

    def reset(self, key, params):
        return self.seen(jnp.array(0)), jnp.array(0)

    def step(self, key, state, action, params):
        state = state + action
        over = state == 3
        state = jnp.where(over, 0, state)
        return self.seen(state), state, action.astype(jnp.int32), over, jnp.array(False), {}

    def seen(self, state):
        return jnp.array([[state], [1]])


def always(chosen):
    return lambda carry, seen: (carry, 1.0 * jax.nn.one_hot(chosen, 2))


def test_an_environment_of_gymnax_keeps_the_contract():
    environment = from_gymnax(Counts(), Params(), chance_reward=1.0, solved_reward=3.0)
    assert isinstance(environment, Environment)
    sizes = environment.name, environment.input_size, environment.output_size, environment.num_steps
    assert sizes == ("Counts", 2, 2, 5)
    _, seen = environment.reset(jax.random.key(0), 0.3)
    assert seen.shape == (2,) and seen.dtype == jnp.float32
    paid = jax.jit(lambda key: rollout(environment, key, (), always(1), 2))(jax.random.key(0))
    np.testing.assert_array_equal(paid.total_reward, [3, 3])  # what comes after the automatic reset does not count
    np.testing.assert_array_equal(paid.step_valid, [[1, 1, 1, 0, 0]] * 2)
    assert float(environment.accuracy(paid.total_reward)) == float(environment.performance(paid.total_reward)) == 1
    unpaid = rollout(environment, jax.random.key(0), (), always(0), 2)
    assert float(environment.accuracy(unpaid.total_reward)) == float(environment.performance(unpaid.total_reward)) == 0
    assert float(environment.performance(jnp.array([2.0, 2.0]))) == 0.5
    assert {environment: 1}[environment] == 1


class Continuous(Counts):
    def action_space(self, params):
        return object()


class Several(Counts):
    def observation_space(self, params):
        return object()


@pytest.mark.parametrize(
    ("environment", "changes", "message"),
    [
        (Continuous(), {}, "environment must have discrete actions"),
        (Several(), {}, "environment must have observations in one array"),
        (Counts(), {"num_steps": 0}, "num_steps must be a whole number of at least 1, got 0"),
        (Counts(), {"solved_reward": 1.0}, "chance_reward must be below solved_reward, got 1.0 and 1.0"),
    ],
)
def test_what_does_not_fit_the_contract_is_refused(environment, changes, message):
    with pytest.raises(ValueError, match=message):
        from_gymnax(environment, Params(), **{"chance_reward": 1.0, "solved_reward": 3.0} | changes)


def test_gymnax_itself():
    gymnax = pytest.importorskip("gymnax")
    environment, params = gymnax.make("MemoryChain-bsuite")
    params = params.replace(memory_length=3)
    chain = from_gymnax(environment, params, chance_reward=0.0, solved_reward=1.0, num_steps=8)

    def recall(bit, seen):
        bit = jnp.where(seen[0] == 1, seen[2], bit)  # the time left is whole at the start, where the bit is shown
        return bit, jnp.stack([-bit, bit])

    found = jax.jit(lambda key: rollout(chain, key, jnp.array(0.0), recall, 32))(jax.random.key(0))
    assert float(chain.accuracy(found.total_reward)) == 1


# the engine


def test_learning_by_gradients_is_refused_on_environments_with_the_way_out():
    for inheritance in ("lamarckian", "baldwinian"):
        config = settings(lifetime=LifetimeConfig(inheritance=inheritance))
        with pytest.raises(ValueError, match=r"got the environments t_maze, double_t_maze,.* with --lifetime"):
            make_problem(config, SUITE)


def test_a_score_is_that_of_the_rollouts_and_a_network_that_is_not_finite_fails():
    problem = make_problem(DARWINIAN, SUITE)
    where = Lifetime(BOUNDS, SUITE)
    score_of = jax.jit(lambda genome: score(where, jax.random.key(5), genome, jnp.ones(2), 4))
    lived = jax.jit(lambda genome: SUITE.rollouts(jax.random.key(5), *stepper(genome, BOUNDS), 4, jnp.ones(2)))
    result = score_of(genome())
    np.testing.assert_allclose(result.performance, SUITE.performance(lived(genome())), rtol=1e-6)
    assert bool(result.finite)
    broken = jax.tree.map(lambda array: jnp.full_like(array, jnp.nan), genome().params)
    broken = dataclasses.replace(genome(), params=broken)
    assert not bool(score_of(broken).finite)

    two = jax.tree.map(lambda *arrays: jnp.stack(arrays), genome(), broken, genome(1), genome())
    arguments = (jax.random.key(0), two, genome(), jnp.ones(2))
    evaluation = jax.jit(lambda *arguments: problem.model.evaluate(problem.context, *arguments))(*arguments)
    validation_scores = evaluation.validation_scores
    np.testing.assert_array_equal(evaluation.result.finite, [True, False, True, True])
    np.testing.assert_array_equal(np.isnan(validation_scores), [False, True, False, False])
    assert float(validation_scores[0]) == float(validation_scores[3])  # the same episodes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small evolution on the T-maze by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "maze"
    flags = [
        "--preset",
        "narrow",
        "--task",
        "t_maze=1,length=3",
        "--lifetime.inheritance",
        "darwinian",
        "--population-size",
        "128",
    ]
    flags += ["--max-generations", "24", "--generations-per-chunk", "8", "--score-episodes", "32", "--devices", "1"]
    flags += ["--bounds.num-slots", "4", "6", "--bounds.slot-width", "3", "4", "--bounds.controller-size", "4", "8"]
    flags += ["--bounds.num-read-heads", "1", "1", "--bounds.num-write-heads", "1", "1"]
    flags += ["--variation.noise-rate", "0.9", "--variation.noise-scale", "0.3", "--efficiency-weight", "0.02"]
    flags += ["--variation.gene-rate", "0.1", "--variation.controller-sigma", "2", "--selection.size", "5"]
    flags += ["--selection.num-elites", "4", "--selection.warmup-generations", "1", "--out", str(folder)]
    main(flags)
    return folder


@pytest.mark.slow
def test_evolution_without_gradients_learns_to_remember_the_cue(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    assert len(rows) == 24
    assert rows[0]["mean_performance"]["t_maze"] < 0.1  # random networks
    ignores_cue = 0.55
    assert summary["held_out"]["performance"]["t_maze"] > ignores_cue + 0.2
    assert summary["held_out"]["accuracy"]["t_maze"] > 0.8


@pytest.mark.slow
def test_scores_at_longer_lengths_are_left_out_of_summary_and_report(run):
    held_out = json.loads((run / "summary.json").read_text())["held_out"]
    assert set(held_out) == {"episodes", "accuracy", "performance"}
    page = (run / "report.html").read_text()
    assert "times the length" not in page and "Scores by length" not in page
    assert all(title in page for title in ("Observations", "Actions", "Reward (1 is 10)", "Write head 1"))


@pytest.mark.slow
def test_the_report_of_a_run_on_environments_can_be_made_again(run, capsys):
    before = (run / "report.html").read_text()
    main(["report", str(run)])
    assert (run / "report.html").read_text() == before
    with pytest.raises(ValueError, match="model takes 4 input channels but the suite has 6"):
        write_report(run, load_best(run), SUITE, MODELS["networks"].report)


def test_the_command_line_refuses_a_mixture_and_lists_the_environments(capsys):
    with pytest.raises(SystemExit):
        main(["--task=t_maze", "--task=copy", "--lifetime.inheritance=darwinian"])
    assert "a run evolves on tasks or on environments" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--task=t_maze"])
    assert "evolve on them with --lifetime.inheritance darwinian" in capsys.readouterr().err
    main(["--list-tasks"])
    assert "double_t_maze" in capsys.readouterr().out
