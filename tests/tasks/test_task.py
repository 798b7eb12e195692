from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etm_tasks
from etm_jax.task import (
    Episode,
    Task,
    TaskSuite,
    above_chance,
    before_end,
    bit_loss,
    bits_right,
    clean_inputs,
    sequences_right,
)

COPY = etm_tasks.make("copy", bits=2, max_length=3)  # 7 steps, 3 channels in, 2 out
RECALL = etm_tasks.make("recall", bits=3, item_length=1, max_items=3)  # 10 steps, 5 channels in, 3 out


def make_episode(targets, valid, inputs=None):
    targets = jnp.asarray(targets, float)
    inputs = jnp.ones((*targets.shape[:2], 1)) if inputs is None else jnp.asarray(inputs, float)
    return Episode(inputs=inputs, targets=targets, step_valid=jnp.asarray(valid, bool))


# one episode


def test_a_sequence_ends_after_its_last_valid_step_whatever_comes_before():
    episode = make_episode(np.zeros((3, 4, 1)), [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(before_end(episode), [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])


def test_cleaned_inputs_are_zero_after_the_end_even_where_nan_stood():
    inputs = np.arange(1.0, 9.0).reshape(1, 4, 2)
    inputs[0, 2:] = [[np.nan, np.inf], [7, 8]]
    episode = make_episode(np.zeros((1, 4, 1)), [[0, 1, 0, 0]], inputs)
    np.testing.assert_array_equal(clean_inputs(episode), [[[1, 2], [3, 4], [0, 0], [0, 0]]])


def test_the_loss_is_the_mean_cross_entropy_of_the_valid_bits():
    episode = make_episode([[[1, 0], [1, 1]]], [[1, 0]])
    # logits 0 and log 3: -log(1/2) and -log(1 - 3/4)
    loss = bit_loss(jnp.array([[[0.0, np.log(3)], [50.0, -50.0]]]), episode)
    np.testing.assert_allclose(loss, (np.log(2) + np.log(4)) / 2, rtol=1e-6)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_outputs_and_targets_of_steps_that_do_not_count_change_nothing(garbage):
    targets, outputs = np.array([[[1.0], [garbage]]]), np.array([[[2.0], [garbage]]])
    episode = make_episode(targets, [[1, 0]])
    value, grads = jax.value_and_grad(bit_loss)(jnp.asarray(outputs), episode)
    np.testing.assert_allclose(value, np.log1p(np.exp(-2)), rtol=1e-6)
    np.testing.assert_allclose(grads, [[[-1 / (1 + np.exp(2))], [0.0]]], rtol=1e-5)
    assert float(bits_right(jnp.asarray(outputs), episode)) == 1
    assert float(sequences_right(jnp.asarray(outputs), episode)) == 1


def test_shares_of_right_bits_and_of_right_sequences_worked_by_hand():
    targets = [[[1, 0], [1, 1]], [[0, 0], [1, 0]], [[1, 1], [0, 0]]]
    episode = make_episode(targets, [[1, 1], [1, 1], [0, 0]])  # the third sequence counts neither way
    outputs = 2 * jnp.asarray(targets, float) - 1
    outputs = outputs.at[1, 0, 1].set(0.5).at[2].set(-outputs[2])  # one of eight valid bits wrong
    np.testing.assert_allclose(bits_right(outputs, episode), 7 / 8)
    np.testing.assert_allclose(sequences_right(outputs, episode), 1 / 2)


def test_an_output_of_zero_says_no():
    episode = make_episode([[[1], [0]]], [[1, 1]])
    np.testing.assert_allclose(bits_right(jnp.zeros((1, 2, 1)), episode), 0.5)


@pytest.mark.parametrize("score", [bits_right, sequences_right])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bit", [0.0, 1.0])
def test_an_output_that_is_not_finite_is_wrong_whatever_the_answer(score, broken, bit):
    episode = make_episode(np.full((2, 3, 2), bit), np.ones((2, 3)))
    assert float(score(jnp.full((2, 3, 2), broken), episode)) == 0


@pytest.mark.parametrize("score", [bit_loss, bits_right, sequences_right])
def test_a_batch_without_a_valid_step_scores_zero(score):
    episode = make_episode(np.ones((2, 3, 1)), np.zeros((2, 3)))
    assert float(score(jnp.ones((2, 3, 1)), episode)) == 0


def test_scores_are_scaled_from_chance_to_1_and_never_below_0():
    shares = [float(above_chance(jnp.asarray(share), 0.5)) for share in (0.2, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(shares, [0.0, 0.0, 0.5, 1.0])


# suites


@pytest.fixture(scope="module")
def suite():
    return TaskSuite((COPY, RECALL), (1.0, 3.0))


@pytest.fixture(scope="module")
def drawn(suite):
    sample = jax.jit(suite.sample, static_argnums=1)
    return sample(jax.random.key(0), 4, jnp.ones(2))


def right(episode):
    return 20 * episode.targets - 10


def test_a_suite_is_as_wide_and_long_as_its_widest_and_longest_task(suite, drawn):
    assert suite.names == ("copy", "recall")
    assert (suite.input_size, suite.output_size, suite.num_steps) == (5 + 2, 3, 10)
    assert drawn.inputs.shape == (8, 10, 7)
    assert drawn.targets.shape == (8, 10, 3)
    assert drawn.step_valid.shape == (8, 10)


def test_the_cue_names_the_task_at_every_step_and_the_padding_is_zero(drawn):
    np.testing.assert_array_equal(drawn.inputs[:4, :, 5:], np.broadcast_to([1, 0], (4, 10, 2)))
    np.testing.assert_array_equal(drawn.inputs[4:, :, 5:], np.broadcast_to([0, 1], (4, 10, 2)))
    assert not np.any(drawn.inputs[:4, 7:, :5]) and not np.any(drawn.inputs[:4, :, 3:5])
    assert not np.any(drawn.targets[:4, 7:]) and not np.any(drawn.targets[:4, :, 2:])
    assert not np.any(drawn.step_valid[:4, 7:])


def test_parts_give_every_task_its_own_episodes_back(suite, drawn):
    outputs = jnp.arange(drawn.targets.size, dtype=float).reshape(drawn.targets.shape)
    parts = suite.parts(outputs, drawn)
    assert [task for task, _, _ in parts] == [COPY, RECALL]
    for index, (task, own_outputs, own) in enumerate(parts):
        keys = jax.random.split(jax.random.key(0), 2)
        alone = jax.jit(task.sample, static_argnums=1)(keys[index], 4, 1.0)
        for name in ("inputs", "targets", "step_valid"):
            np.testing.assert_array_equal(getattr(own, name), getattr(alone, name), err_msg=f"{task.name} {name}")
        rows = slice(4 * index, 4 * index + 4)
        np.testing.assert_array_equal(own_outputs, outputs[rows, : task.num_steps, : task.output_size])


def test_a_suite_scores_each_task_on_its_own(suite, drawn):
    outputs = right(drawn).at[4:].multiply(-1.0)  # copy all right, recall all wrong
    np.testing.assert_array_equal(suite.accuracy(outputs, drawn), [1.0, 0.0])
    np.testing.assert_array_equal(suite.performance(outputs, drawn), [1.0, 0.0])


def test_the_performance_on_each_episode_is_that_of_the_episode_alone(suite, drawn):
    outputs = right(drawn).at[4:].multiply(-1.0).at[0, :, 0].multiply(-1.0)  # half of the first copy wrong
    np.testing.assert_array_equal(suite.performance_by_episode(outputs, drawn), [0, 1, 1, 1, 0, 0, 0, 0])


def test_the_loss_of_a_suite_weighs_the_losses_of_its_tasks(suite, drawn):
    outputs = right(drawn).at[4:].multiply(0.0)  # copy all right, recall undecided: log 2
    copy_loss = np.log1p(np.exp(-10))
    np.testing.assert_allclose(suite.loss(outputs, drawn), (copy_loss + 3 * np.log(2)) / 4, rtol=1e-5)


def test_outputs_in_the_padding_change_neither_loss_nor_scores(suite, drawn):
    outputs = right(drawn)
    dirty = outputs.at[:4, :, 2:].set(jnp.nan).at[:4, 7:].set(jnp.nan)
    assert float(suite.loss(dirty, drawn)) == float(suite.loss(outputs, drawn))
    np.testing.assert_array_equal(suite.accuracy(dirty, drawn), [1.0, 1.0])
    np.testing.assert_array_equal(suite.performance(dirty, drawn), [1.0, 1.0])


def test_every_task_of_a_suite_has_its_own_difficulty(suite):
    episode = jax.jit(suite.sample, static_argnums=1)(jax.random.key(1), 32, jnp.array([0.0, 1.0]))
    copy_lengths = np.sum(episode.step_valid[:32], axis=1)
    recall_ends = np.argmax(episode.step_valid[32:], axis=1)  # one step, later with more items
    np.testing.assert_array_equal(copy_lengths, 1)
    np.testing.assert_array_equal(np.unique(recall_ends), [2 * 2 + 3, 3 * 2 + 3])


def test_a_suite_of_one_task_is_that_task(suite):
    alone = TaskSuite((COPY,), (2.0,))
    assert alone.input_size == COPY.input_size
    episode = alone.sample(jax.random.key(2), 3, jnp.ones(1))
    assert episode.inputs.shape == (3, COPY.num_steps, COPY.input_size)
    outputs = jnp.ones(episode.targets.shape)
    np.testing.assert_allclose(alone.loss(outputs, episode), COPY.loss(outputs, episode), rtol=1e-6)


def test_a_longer_suite_has_longer_tasks_and_the_same_weights(suite):
    longer = suite.longer(2)
    assert longer.tasks == (COPY.longer(2), RECALL.longer(2))
    assert longer.weights == suite.weights
    assert longer.num_steps == RECALL.longer(2).num_steps == 16


def test_tasks_without_a_longer_form_stay_as_they_are_and_say_why():
    parity, addition = etm_tasks.make("parity", bits=2), etm_tasks.make("addition")
    suite = TaskSuite((COPY, parity, addition), (1.0, 1.0, 1.0))
    assert suite.without_longer(2) == {}
    absent = suite.without_longer(5000)
    assert list(absent) == ["parity", "addition"]
    assert absent["parity"] == "longer(5000) asks the same as longer(2)" and "sum_digits" in absent["addition"]
    assert suite.longer(5000).tasks == (COPY.longer(5000), parity, addition)
    assert suite.longer(5000).input_size == suite.input_size
    assert list(suite.at_lengths((1, 2, 5))) == [1, 2, 5]
    assert list(TaskSuite((parity,), (1.0,)).at_lengths((1, 2, 5))) == [1, 2]
    assert suite.at_lengths((1,)) == {1: suite}


@pytest.mark.parametrize(
    ("tasks", "weights", "told"),
    [
        ((), (), r"one or more tasks of different names, got \[\]"),
        ((COPY, COPY), (1.0, 1.0), r"different names, got \['copy', 'copy'\]"),
        ((COPY,), (1.0, 2.0), r"one positive weight a task, got \(1.0, 2.0\)"),
        ((COPY,), (0.0,), "one positive weight a task"),
        ((COPY,), (-1.0,), "one positive weight a task"),
        ((COPY,), (np.nan,), "one positive weight a task"),
        ((COPY,), (np.inf,), "one positive weight a task"),
    ],
    ids=["empty", "twice", "too many weights", "zero", "negative", "nan", "infinite"],
)
def test_suites_that_make_no_sense_are_refused(tasks, weights, told):
    with pytest.raises(ValueError, match=told):
        TaskSuite(tasks, weights)


def test_anything_with_the_members_of_a_task_is_one():
    @dataclass(frozen=True)
    class Nothing:
        name: str = "nothing"

    assert isinstance(COPY, Task)
    assert not isinstance(Nothing(), Task)
