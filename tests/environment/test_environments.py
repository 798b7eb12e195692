"""What every environment of the registry must do; one is tested by being listed, and by a policy that solves it."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import policies
import pytest
from helpers import assert_trees_equal

import etm_tasks
from etm_jax.environment import Environment, EnvironmentSuite, WithLastAction, rollout
from etm_tasks import ENVIRONMENTS, TASKS

BATCH = 256


@dataclass(frozen=True)
class Case:
    """How to make and check one environment.

    Attributes:
        options: settings that keep it small.
        policy: makes a policy that solves it.
        wrong: options that must be refused.
        performance: of that policy, at least; below 1 where more is possible than it does.
        solves: share of episodes, at least.
    """

    options: dict[str, Any]
    policy: Any
    wrong: tuple[dict[str, Any], ...]
    performance: float = 0.97
    solves: float = 1.0


CASES = {
    "t_maze": Case({"length": 4}, policies.follow_cue, ({"length": 0}, {"length": -2})),
    "double_t_maze": Case(
        {"length": 2, "visits": 16}, lambda: policies.go_to(0, search=True), ({"length": 0}, {"visits": 15})
    ),
    "cart_pole": Case({"steps": 200}, policies.balance, ({"steps": 49},)),
    "deceptive_maze": Case({}, policies.go_round, ({"steps": 69},)),
    "car": Case({}, policies.drive, ({"previous": 2}, {"speed": -1}, {"every": 0}), performance=0.5, solves=0.95),
}

every_environment = pytest.mark.parametrize("name", list(CASES))


def make(name):
    return etm_tasks.make(name, **CASES[name].options)


@functools.cache
def lived(environment, policy=None, difficulty=1.0, seed=0):
    """Episodes under a policy made by `policy`, or random actions."""

    @jax.jit
    def at_random(key):
        start, step = policies.random_actions(key, environment.output_size)
        return rollout(environment, jax.random.fold_in(key, 1), start, step, 1, difficulty)

    if policy is None:
        together = jax.vmap(at_random)(jax.random.split(jax.random.key(seed), BATCH))
        return jax.tree.map(lambda array: array[:, 0], together)
    start, step = policy()
    return jax.jit(lambda key: rollout(environment, key, start, step, BATCH, difficulty))(jax.random.key(seed))


def test_every_listed_environment_is_tested_here_and_no_name_is_listed_twice():
    assert set(CASES) == set(ENVIRONMENTS)
    assert not set(ENVIRONMENTS) & set(TASKS)


@every_environment
def test_an_environment_is_frozen_hashable_named_as_listed_and_fulfils_the_protocol(name):
    environment = make(name)
    assert isinstance(environment, Environment)
    assert environment.name == name
    assert {environment: 1}[make(name)] == 1
    assert 0 < environment.solved <= 1
    with pytest.raises(AttributeError):
        environment.length = 1


def test_tasks_are_no_environments():
    assert not isinstance(etm_tasks.make("copy"), Environment)


@every_environment
def test_states_and_observations_keep_their_sizes_and_types(name):
    environment = make(name)
    reset = jax.eval_shape(environment.reset, jax.random.key(0), 1.0)
    action = jax.ShapeDtypeStruct((environment.output_size,), jnp.float32)
    step = jax.eval_shape(environment.step, jax.random.key(0), reset[0], action)
    assert reset[1].shape == step[1].shape == (environment.input_size,)
    assert reset[1].dtype == step[1].dtype == step[2].dtype == jnp.float32
    assert (step[2].shape, step[3].shape, step[3].dtype) == ((), (), bool)
    same = jax.tree.map(lambda old, new: (old.shape, old.dtype) == (new.shape, new.dtype), reset[0], step[0])
    assert all(jax.tree.leaves(same))


@every_environment
def test_a_rollout_is_the_plain_loop_over_reset_and_step(name):
    """In float64: two programs round otherwise, and a beam that grazes a wall magnifies that a hundredfold."""
    with jax.enable_x64(True):
        assert_rollout_is_the_plain_loop(name)


def assert_rollout_is_the_plain_loop(name):
    environment = make(name)
    found = lived.__wrapped__(environment, CASES[name].policy)  # not kept: in double precision the draws are others
    carry, act = CASES[name].policy()
    act, step = jax.jit(act), jax.jit(environment.step)
    key_reset, key_steps = jax.random.split(jax.random.split(jax.random.key(0), BATCH)[7])
    state, seen = environment.reset(key_reset)
    for time, key in enumerate(jax.random.split(key_steps, environment.num_steps)):
        np.testing.assert_allclose(found.observations[7, time], seen, atol=1e-6)
        carry, logits = act(carry, seen)
        state, seen, reward, done = step(key, state, logits)
        assert float(found.rewards[7, time]) == pytest.approx(float(reward), abs=1e-5)
        assert bool(found.step_valid[7, time])
        if done:
            break
    assert not np.any(found.step_valid[7, time + 1 :])


@every_environment
def test_what_comes_after_the_end_is_not_counted(name):
    found = lived(make(name))  # random actions crash soon
    ends = np.asarray(found.step_valid).sum(axis=1)
    rewards = [np.asarray(found.rewards)[row, :end].sum() for row, end in enumerate(ends)]
    np.testing.assert_allclose(found.total_reward, rewards, rtol=1e-5, atol=1e-6)
    spoilt = dataclasses.replace(found, rewards=jnp.where(found.step_valid, found.rewards, jnp.nan))
    np.testing.assert_array_equal(spoilt.total_reward, found.total_reward)
    assert (np.diff(np.asarray(found.step_valid).astype(int), axis=1) <= 0).all()


@dataclass(frozen=True)
class Pays:
    """One a step; over after the step `last`, and after every so many more."""

    last: int
    name: str = "pays"
    input_size: int = 1
    output_size: int = 1
    num_steps: int = 6
    solved: float = 1.0

    def reset(self, key, difficulty=1.0):
        return jnp.array(0), jnp.zeros(1)

    def step(self, key, state, action):
        return state + 1, jnp.zeros(1), jnp.array(1.0), state % (self.last + 1) == self.last

    def performance(self, total_reward):
        return jnp.mean(total_reward)

    def accuracy(self, total_reward):
        return jnp.mean(total_reward)


@pytest.mark.parametrize(("last", "total"), [(0, 1), (2, 3), (9, 6)])
def test_the_step_that_is_done_still_pays_and_the_horizon_ends_all(last, total):
    found = rollout(Pays(last), jax.random.key(0), (), lambda carry, seen: (carry, seen), 2)
    np.testing.assert_array_equal(found.total_reward, [total, total])


@every_environment
def test_a_policy_that_solves_it_has_performance_1_at_every_difficulty(name):
    for difficulty in (0.0, 0.5, 1.0):
        environment = make(name)
        total = lived(environment, CASES[name].policy, difficulty).total_reward
        assert float(environment.performance(total)) > CASES[name].performance
        assert float(environment.accuracy(total)) >= CASES[name].solves
        if CASES[name].performance > 0.9:
            assert float(total.mean()) == pytest.approx(environment.best_reward, rel=0.03)


@every_environment
def test_random_actions_have_performance_0(name):
    environment = make(name)
    total = lived(environment).total_reward
    assert float(environment.performance(total)) < 0.05
    assert float(environment.accuracy(total)) < 0.05


@every_environment
def test_the_chance_reward_is_that_of_random_actions(name):
    environment = make(name)
    if hasattr(environment, "length"):
        environment = dataclasses.replace(environment, length=1)  # short, so that random actions arrive at times
    totals = np.concatenate([np.asarray(lived(environment, seed=seed).total_reward) for seed in range(8)])
    error = totals.std() / np.sqrt(totals.size)
    assert error > 0
    assert abs(totals.mean() - environment.chance_reward) < 4 * error


@every_environment
def test_performance_goes_from_0_to_1_as_rewards_rise_and_never_beyond(name):
    environment = make(name)
    steps = np.linspace(environment.chance_reward, environment.best_reward, 5)
    found = [float(environment.performance(jnp.full(3, reward))) for reward in (-1e6, *steps, 1e6)]
    np.testing.assert_allclose(found, [0, 0, 0.25, 0.5, 0.75, 1, 1], atol=1e-5)
    assert float(environment.accuracy(jnp.array([-1e6, 1e6]))) == 0.5


@every_environment
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_logits_that_are_not_finite_fail_the_episode(name, broken):
    environment = make(name)
    start, step = CASES[name].policy()

    def breaks(before, observation):
        carry, time = before
        carry, logits = step(carry, observation)
        return (carry, time + 1), jnp.where(time == 1, broken, logits)

    found = rollout(environment, jax.random.key(0), (start, 0), breaks, 2)
    assert np.isnan(found.total_reward).all()
    assert np.isnan(float(environment.performance(found.total_reward)))
    assert float(environment.accuracy(found.total_reward)) == 0


def test_logits_after_the_end_fail_nothing():
    maze = etm_tasks.make("t_maze", length=4)

    def crash_then_break(steps, observation):
        return steps + 1, jnp.where(steps > 0, jnp.nan, policies.action(policies.LEFT))

    np.testing.assert_array_equal(rollout(maze, jax.random.key(0), 0, crash_then_break, 2).total_reward, [0, 0])


@every_environment
def test_the_same_key_gives_the_same_episodes_and_another_key_others(name):
    environment, policy = make(name), CASES[name].policy
    start, step = policy()
    again = jax.jit(lambda key: rollout(environment, key, start, step, BATCH))(jax.random.key(0))
    assert_trees_equal(lived(environment, policy), again)
    other = lived(environment, policy, seed=1)
    assert np.any(np.asarray(other.observations) != np.asarray(again.observations))
    assert len(np.unique(np.asarray(again.observations).reshape(BATCH, -1), axis=0)) > 1


@every_environment
def test_a_second_difficulty_and_key_need_no_second_compile(name):
    environment, traces = make(name), []

    @jax.jit
    def begin(key, difficulty):
        traces.append(difficulty)
        return environment.reset(key, difficulty)[1]

    for seed, difficulty in enumerate((0.0, 0.3, 1.0)):
        begin(jax.random.key(seed), difficulty)
    assert len(traces) == 1


@every_environment
def test_settings_that_make_no_sense_are_refused_by_name(name):
    for wrong in CASES[name].wrong:
        with pytest.raises(ValueError, match=f"^{name} needs .*got"):
            etm_tasks.make(name, **wrong)


def test_with_a_temperature_actions_are_drawn_by_the_softmax_of_bounded_logits():
    """The junction of a t_maze, reached by going on in the corridor of one step."""
    maze = etm_tasks.make("t_maze", length=1)
    logits = np.array([1.0, 0.0, -0.5])
    for temperature in (0.5, 2.0):
        found = rollout(maze, jax.random.key(0), (), lambda c, seen: (c, jnp.asarray(logits)), 4000, 1.0, temperature)
        weights = np.exp(np.tanh(logits) / temperature)
        shares = weights / weights.sum()
        went_on = np.asarray(found.step_valid[:, 1])
        assert went_on.mean() == pytest.approx(shares[0], abs=0.025)  # three standard deviations of 4,000 draws
        assert (np.asarray(found.total_reward) > 0).mean() == pytest.approx(shares[0] * (1 - shares[0]), abs=0.025)
        np.testing.assert_array_equal(found.logits, np.broadcast_to(logits.astype(np.float32), found.logits.shape))


def test_a_temperature_is_refused_where_it_makes_no_sense():
    policy = (), lambda carry, seen: (carry, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"temperature must be a finite number of at least 0, got -1"):
        rollout(make("t_maze"), jax.random.key(0), *policy, 1, temperature=-1.0)
    with pytest.raises(ValueError, match=r"temperature must be 0 in car, whose actions are numbers, got 1"):
        rollout(make("car"), jax.random.key(0), *policy, 1, temperature=1.0)


def test_with_the_last_action_a_network_sees_what_was_drawn_and_else_what_it_saw_before():
    maze = make("double_t_maze")
    seeing = WithLastAction(maze)
    logits = jnp.array([0.6, 0.2, 0.0])

    def lived(environment):
        policy = (), lambda carry, seen: (carry, logits)
        return rollout(environment, jax.random.key(3), *policy, 64, 1.0, 1.0)

    found, plain = lived(seeing), lived(maze)
    np.testing.assert_array_equal(found.observations[..., :4], plain.observations)
    np.testing.assert_array_equal(found.total_reward, plain.total_reward)
    last = np.asarray(found.observations[..., 4:])
    assert np.all(last[:, 0] == 0)
    assert np.all(last[:, 1:].sum(axis=-1) == 1)
    # In the corridor forward alone leads to the junction, at the junction a turn alone leads on.
    corridor, junction = np.asarray(found.observations[..., 1]) == 1, np.asarray(found.observations[..., 2]) == 1
    began, went_on = corridor[:, :-1] & junction[:, 1:], junction[:, :-1] & corridor[:, 1:]
    assert began.any() and went_on.any()
    assert np.all(last[:, 1:][began] == np.eye(3)[policies.FORWARD])
    assert np.all(last[:, 1:][went_on][:, policies.FORWARD] == 0)


def test_an_environment_with_the_last_action_is_an_environment():
    maze = make("t_maze")
    seeing = WithLastAction(maze)
    assert isinstance(seeing, Environment)
    assert {seeing: 1}[WithLastAction(make("t_maze"))] == 1
    assert seeing.observed == (*maze.observed, "last forward", "last left", "last right")
    assert (seeing.name, seeing.actions, seeing.num_steps) == (maze.name, maze.actions, maze.num_steps)
    assert EnvironmentSuite((seeing,), (1.0,)).input_size == 7
    assert not hasattr(seeing, "place")
    with pytest.raises(ValueError, match="environment must be one whose actions are choices, got 'car'"):
        WithLastAction(make("car"))


# the mazes


@pytest.mark.parametrize("turn", [policies.LEFT, policies.RIGHT])
def test_who_ignores_the_cue_is_right_half_of_the_time(turn):
    maze = make("t_maze")
    total = np.asarray(lived(maze, functools.partial(policies.same_turn, turn)).total_reward)
    assert set(total.tolist()) == {1.0, 10.0}
    assert 0.4 < float(maze.accuracy(jnp.asarray(total))) < 0.6
    assert 0.45 < float(maze.performance(jnp.asarray(total))) < 0.65


def test_the_cue_is_seen_once_and_the_corridor_is_as_long_as_difficulty_says():
    maze = make("t_maze")
    for difficulty, length in ((0.0, 1), (0.34, 2), (1.0, 4)):
        found = lived(maze, policies.follow_cue, difficulty)
        seen = np.asarray(found.observations)[:, : length + 1]
        expected = ["cue", *["corridor"] * (length - 1), "junction"]
        np.testing.assert_array_equal(seen[:, 0, :2].sum(axis=1), 1)
        assert 0.4 < seen[:, 0, 0].mean() < 0.6
        for time, what in enumerate(expected[1:], 1):
            channel = maze.observed.index(what)
            np.testing.assert_array_equal(seen[:, time], np.broadcast_to(np.eye(4)[channel], (BATCH, 4)))
        np.testing.assert_array_equal(found.step_valid.sum(axis=1), length + 1)


def test_a_crash_ends_a_t_maze_and_a_visit():
    maze, double = make("t_maze"), make("double_t_maze")
    onwards = lambda carry, seen: (carry, policies.action(policies.FORWARD))  # noqa: E731
    turns = lambda carry, seen: (carry, policies.action(policies.LEFT))  # noqa: E731
    for policy, steps in ((onwards, 5), (turns, 1)):
        found = rollout(maze, jax.random.key(0), (), policy, 1)
        assert (float(found.total_reward[0]), int(found.step_valid.sum())) == (0, steps)
    for policy, steps in ((onwards, 16 * 3), (turns, 16)):
        found = rollout(double, jax.random.key(0), (), policy, 1)
        assert (float(found.total_reward[0]), int(found.step_valid.sum())) == (0, steps)


def test_the_high_reward_of_a_double_t_maze_is_everywhere_as_often_and_moves_once_to_another_end():
    maze = make("double_t_maze")
    start, _ = jax.vmap(maze.reset)(jax.random.split(jax.random.key(0), 2000))
    goals, move = np.asarray(start.goals), np.asarray(start.move_visit)
    pairs, counts = np.unique(goals, axis=0, return_counts=True)
    assert len(pairs) == 12 and (pairs[:, 0] != pairs[:, 1]).all()
    assert counts.min() > 100
    assert set(move.tolist()) == {7, 8, 9}
    for end in range(4):  # who always goes to one end is paid 10 there and 1 elsewhere, before and after the move
        found = lived(maze, functools.partial(policies.go_to, end, search=False))
        start, _ = jax.vmap(maze.reset)(jax.vmap(jax.random.split)(jax.random.split(jax.random.key(0), BATCH))[:, 0])
        stays = np.where(np.arange(16)[None] < start.move_visit[:, None], start.goals[:, :1], start.goals[:, 1:])
        paid = np.asarray(found.rewards).reshape(BATCH, 16, 6)
        assert not paid[:, :, :5].any()
        np.testing.assert_array_equal(paid[:, :, 5], np.where(stays == end, 10, 1))


def test_going_to_one_end_of_a_double_t_maze_never_solves_it():
    for visits in (16, 17, 24):
        maze = etm_tasks.make("double_t_maze", length=1, visits=visits)
        total = lived(maze, functools.partial(policies.go_to, 2, search=False)).total_reward
        assert float(maze.accuracy(total)) == 0
        assert 0.3 < float(maze.performance(total)) < 0.5


def test_a_double_t_maze_shows_at_the_start_what_the_last_visit_paid():
    found = lived(make("double_t_maze"), functools.partial(policies.go_to, 0, search=True))
    seen = np.asarray(found.observations).reshape(BATCH, 16, 6, 4)
    paid = np.asarray(found.rewards).reshape(BATCH, 16, 6)[:, :, 5]
    np.testing.assert_array_equal(seen[:, 0, 0], np.broadcast_to([1, 0, 0, 0], (BATCH, 4)))
    np.testing.assert_allclose(seen[:, 1:, 0, 3], paid[:, :-1] / 10)
    assert not seen[:, :, 1:, 3].any()
