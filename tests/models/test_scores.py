"""What an evaluation asks at which length, and held-out scores."""

import types
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import unchecked_types
from tiny import COPY, SUITE, problem

import etm_tasks
from etm_jax.environment import EnvironmentSuite
from etm_jax.models import Result
from etm_jax.models._scores import HELD_OUT_EPISODES, asked_of, held_out, key_at, validation_score, with_longer
from etm_jax.networks.learning import _score
from etm_jax.task import TaskSuite

MAZE = EnvironmentSuite((etm_tasks.make("t_maze"),), (1.0,))


def result(performance, finite=True, cases=None):
    performance = jnp.asarray(performance)
    return Result(performance, performance, jnp.array(0.0), jnp.asarray(finite), cases)


def test_twice_the_length_is_always_asked_and_the_lengths_of_the_fitness_on_fewer_episodes():
    context = replace(problem(COPY).context, score_episodes=8, longer=(2, 5), longer_episodes=3)
    asked = asked_of(COPY, context)
    assert {length: episodes for length, (_, episodes) in asked.items()} == {1: 8, 2: 8, 5: 3}
    assert [suite for suite, _ in asked.values()] == [COPY, COPY.longer(2), COPY.longer(5)]
    assert set(asked_of(COPY, replace(context, longer=()))) == {1, 2}
    assert set(asked_of(MAZE, replace(context, longer=()))) == {1}


def test_lengths_beyond_twice_have_episodes_of_their_own():
    key = jax.random.key(0)
    numbers = {length: int(jax.random.bits(key_at(key, length))) for length in (1, 2, 5, 10)}
    assert numbers[1] == numbers[2] and len(set(numbers.values())) == 3


def test_what_is_not_finite_at_a_longer_length_earns_nothing_there():
    results = {1: result([0.5, 0.6]), 2: result([0.5, jnp.nan]), 5: result([1.0, 1.0], finite=False)}
    joined = with_longer(results, (2, 5))
    np.testing.assert_array_equal(joined.longer[2], [0.5, 0])
    np.testing.assert_array_equal(joined.longer[5], [0, 0])
    np.testing.assert_allclose(joined.over_lengths({2: 1.0, 5: 2.0}).performance, [0.25, 0.15], rtol=1e-6)
    assert np.isnan(float(validation_score(SUITE, [results[1], results[5]])))


def test_cases_follow_each_other_length_by_length():
    results = {length: result([0.5], cases=jnp.full(2, float(length))) for length in (1, 2, 5)}
    assert with_longer(results, (5,)).cases.tolist() == [1, 1, 5, 5]
    assert with_longer(results, ()).cases.tolist() == [1, 1]
    assert with_longer({1: result([0.5]), 2: result([0.5])}, (2,)).cases is None


def test_the_validation_score_weighs_tasks_and_counts_lengths_alike():
    results = [result([1.0, 0.5]), result([0.5, 0.0]), result([0.0, 0.1])]
    score = float(validation_score(SUITE, results))
    assert score == pytest.approx((0.5 * 0.5 + 0.3 * 0.2) / 0.8)


def known(genome, key, difficulty, suite, episodes):
    """An `Examine` whose accuracy is the steps of the longest task, and whose performance the number of episodes."""
    del key, difficulty
    steps = jnp.stack([genome * task.num_steps for task in suite.tasks])
    return Result(steps * 0 + episodes, steps, jnp.array(0.0), jnp.array(True)), {
        task.name: {"steps": jnp.array(task.num_steps)} for task in suite.tasks
    }


def test_held_out_scores_are_named_by_their_length_and_what_cannot_be_asked_is_left_out_with_a_word():
    tasks = (etm_tasks.make("copy", bits=2, max_length=2), etm_tasks.make("parity", bits=2))
    found = held_out(known, jnp.array(1.0), 0, TaskSuite(tasks, (1.0, 1.0)))
    assert found["accuracy"] == {"copy": 5, "parity": 1}
    assert found["accuracy_x2"] == {"copy": 9, "parity": 1}
    for length, steps in ((5, 21), (10, 41)):
        assert found[f"accuracy_x{length}"] == {"copy": steps}
        assert found[f"performance_x{length}"] == {"copy": HELD_OUT_EPISODES[length]}
        assert found[f"episodes_x{length}"] == HELD_OUT_EPISODES[length]
        assert found[f"extra_x{length}"] == {"copy": {"steps": steps}}
        assert found[f"left_out_x{length}"] == {"parity": f"longer({length}) asks the same as longer(2)"}
    assert found["episodes"] == found["episodes_x2"] == 1000 and "left_out_x2" not in found


@pytest.mark.parametrize("numbers", [2**26, 600, 1])
def test_examined_in_pieces_every_task_keeps_its_own_episodes(monkeypatch, numbers):
    """Answers that are right where the cue names copy and wrong where it names recall."""

    def answer(lifetime, genome, episode):
        sign = jnp.where(episode.inputs[..., -2:-1] > 0, 1.0, -1.0)
        return types.SimpleNamespace(outputs=sign * (2 * episode.targets - 1))

    monkeypatch.setattr(_score, "unroll_episode", answer)
    monkeypatch.setattr(_score, "PIECE_NUMBERS", numbers)
    assert _score.pieces_of(SUITE, 12) == {2**26: 1, 600: 3, 1: 12}[numbers]
    examine = jax.jit(lambda key: _score.examine_network(None, None, key, jnp.ones(2), SUITE, 12)[0].accuracy)
    with unchecked_types():
        np.testing.assert_array_equal(examine(jax.random.key(0)), [1, 0])
