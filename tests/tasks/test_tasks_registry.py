"""What every task of the registry must do; a task is tested by being listed, and by a decoder."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoders_reasoning import (
    decode_add_numbers,
    decode_addition,
    decode_inference,
    decode_logic,
    decode_parity,
    decode_shortest_path,
    decode_traversal,
)
from helpers import assert_trees_equal
from task_decoders import (
    decode_copy,
    decode_n_grams,
    decode_priority_sort,
    decode_recall,
    decode_repeat_copy,
    decode_reverse_copy,
    decode_vocab_copy,
    decode_vocab_repeat_copy,
)

import etm_tasks
from etm_jax.task import Task, TaskSuite
from etm_tasks import TASKS

BATCH = 64


@dataclass(frozen=True)
class Case:
    """How to make and check one task.

    Attributes:
        options: settings that keep the task small.
        decode: from a task and one episode's inputs to its length, and to its answers by step (or a list of them, if
            several are right).
        shortest, longest: names of the task's settings for its least and greatest length.
        wrong: options that must be refused.
        growth: how many times as long episodes of `longer(2)` are; 1 where they cannot be longer.
        guessed: accuracy that guesses stay below.
        grows: lengths grow with difficulty; else something else does.
    """

    options: dict[str, Any]
    decode: Any
    shortest: str
    longest: str
    wrong: tuple[dict[str, Any], ...]
    growth: int = 2
    guessed: float = 0.12
    grows: bool = True


WRONG_GRAPHS = (
    {"min_nodes": 2},
    {"min_nodes": 5, "max_nodes": 4},
    {"max_nodes": 1001},
    {"max_out_degree": 1},
    {"max_nodes": 6, "max_out_degree": 6},
)
CASES = {
    "copy": Case(
        {"bits": 3, "max_length": 5},
        decode_copy,
        "min_length",
        "max_length",
        ({"bits": 0}, {"max_length": 0, "min_length": 0}, {"min_length": 6, "max_length": 5}, {"min_length": -1}),
    ),
    "recall": Case(
        {"bits": 4, "item_length": 2, "max_items": 5},
        decode_recall,
        "min_items",
        "max_items",
        ({"bits": 0}, {"item_length": 0}, {"min_items": 1}, {"min_items": 7, "max_items": 6}),
    ),
    "reverse_copy": Case(
        {"bits": 3, "max_length": 5},
        decode_reverse_copy,
        "min_length",
        "max_length",
        ({"bits": 0}, {"min_length": 6, "max_length": 5}, {"min_length": 0}),
    ),
    "repeat_copy": Case(
        {"bits": 4, "min_length": 2, "max_length": 5, "max_repeats": 3},
        decode_repeat_copy,
        "min_length",
        "max_length",
        ({"bits": 0}, {"max_repeats": 0}, {"min_length": 6, "max_length": 5}, {"min_length": 0}),
        grows=False,
    ),
    "priority_sort": Case(
        {"bits": 3, "min_vectors": 2, "max_vectors": 6, "answers": 4},
        decode_priority_sort,
        "min_vectors",
        "max_vectors",
        ({"bits": 0}, {"answers": 0}, {"answers": 21}, {"min_vectors": 0}, {"min_vectors": 7, "max_vectors": 6}),
    ),
    "n_grams": Case(
        {"context": 2, "min_length": 22, "max_length": 22},
        decode_n_grams,
        "min_length",
        "max_length",
        ({"context": 0}, {"context": 11}, {"context": 5, "min_length": 5}, {"min_length": 7, "max_length": 6}),
    ),
    "vocab_copy": Case(
        {"symbols": 5, "max_length": 5},
        decode_vocab_copy,
        "min_length",
        "max_length",
        ({"symbols": 1}, {"min_length": 0}, {"min_length": 6, "max_length": 5}),
    ),
    "vocab_repeat_copy": Case(
        {"symbols": 5, "min_length": 2, "max_length": 5, "max_repeats": 3},
        decode_vocab_repeat_copy,
        "min_length",
        "max_length",
        ({"symbols": 1}, {"max_repeats": 0}, {"min_length": 0}, {"min_length": 6, "max_length": 5}),
        grows=False,
    ),
    "parity": Case(
        {"bits": 6},
        decode_parity,
        "min_nonzero",
        "bits",
        ({"bits": 0}, {"min_nonzero": 0}, {"bits": 3, "min_nonzero": 4}),
        growth=1,
        guessed=0.6,
    ),
    "logic": Case(
        {"max_length": 4, "max_gates": 3},
        decode_logic,
        "min_length",
        "max_length",
        ({"min_length": 0}, {"min_length": 5, "max_length": 4}, {"max_gates": 0}),
        guessed=0.35,
    ),
    "addition": Case(
        {"digits": 3, "max_length": 4, "sum_digits": 5},
        decode_addition,
        "min_length",
        "max_length",
        ({"min_length": 1}, {"min_length": 5, "max_length": 4}, {"digits": 0}, {"digits": 6}, {"max_length": 11}),
    ),
    "add_numbers": Case(
        {"max_digits": 4},
        decode_add_numbers,
        "min_digits",
        "max_digits",
        ({"min_digits": 0}, {"min_digits": 5, "max_digits": 4}, {"teacher_forcing": 2}),
        grows=False,
    ),
    "traversal": Case(
        {"max_nodes": 6, "max_out_degree": 3, "max_path": 4},
        decode_traversal,
        "min_path",
        "max_path",
        (*WRONG_GRAPHS, {"min_path": 0}, {"min_path": 5, "max_path": 4}),
    ),
    "shortest_path": Case(
        {"max_nodes": 16, "max_out_degree": 3, "max_path": 2, "planning_steps": 2},
        decode_shortest_path,
        "min_path",
        "max_path",
        (*WRONG_GRAPHS, {"min_path": 0}, {"min_path": 5}, {"max_path": 20}, {"planning_steps": -1}),
    ),
    "inference": Case(
        {"max_nodes": 6, "max_out_degree": 3, "planning_steps": 2},
        decode_inference,
        "min_length",
        "max_length",
        (*WRONG_GRAPHS, {"min_length": 1}, {"max_length": 6}, {"max_out_degree": 11}, {"planning_steps": -1}),
        growth=1,
    ),
}

every_task = pytest.mark.parametrize("name", list(CASES))


def make(name):
    return etm_tasks.make(name, **CASES[name].options)


@functools.cache
def sampler(task):
    """The task's jitted `sample`, and a list that grows by one whenever it is traced."""
    traces = []

    def sample(key, batch_size, difficulty):
        traces.append(batch_size)
        return task.sample(key, batch_size, difficulty)

    return jax.jit(sample, static_argnums=1), traces


def episodes(task, seed=0, difficulty=1.0, batch_size=BATCH):
    return sampler(task)[0](jax.random.key(seed), batch_size, difficulty)


def many_episodes(task):
    """Enough for statistics of a task with one bit an episode."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *[episodes(task, seed) for seed in range(16)])


@functools.cache
def score(task):
    """Jitted: accuracy, performance and loss of outputs, and the performance on each episode."""
    suite = TaskSuite((task,), (1.0,))

    def scores(outputs, episode):
        whole = task.accuracy(outputs, episode), task.performance(outputs, episode), task.loss(outputs, episode)
        return *whole, suite.performance_by_episode(outputs, episode)

    return jax.jit(scores)


def scored(task, outputs, episode):
    return map(float, score(task)(np.asarray(outputs, np.float32), episode)[:3])


def lengths(name, task, episode):
    return [CASES[name].decode(task, inputs)[0] for inputs in np.asarray(episode.inputs)]


def right(episode):
    return 20 * np.asarray(episode.targets) - 10


def test_every_listed_task_is_tested_here():
    assert set(CASES) == set(TASKS)


@every_task
def test_a_task_is_frozen_hashable_named_as_listed_and_fulfils_the_protocol(name):
    task = make(name)
    assert isinstance(task, Task)
    assert task.name == name
    assert {task: 1}[make(name)] == 1
    assert 0 < task.solved <= 1
    with pytest.raises(AttributeError):
        task.bits = 1


@every_task
def test_episodes_have_the_sizes_that_the_task_tells(name):
    task, episode = make(name), episodes(make(name))
    assert episode.inputs.shape == (BATCH, task.num_steps, task.input_size)
    assert episode.targets.shape == (BATCH, task.num_steps, task.output_size)
    assert episode.step_valid.shape == (BATCH, task.num_steps)
    assert episode.inputs.dtype == episode.targets.dtype == jnp.float32
    assert episode.step_valid.dtype == bool


@every_task
def test_a_second_difficulty_needs_no_second_compile(name):
    task = etm_tasks.make(name)  # other settings than elsewhere, so that the count starts at none
    for difficulty in (0.0, 0.3, 1.0):
        episodes(task, difficulty=difficulty, batch_size=2)
    assert len(sampler(task)[1]) == 1


PLAIN = ("copy", "n_grams", "logic")  # without jit every operation compiles by itself


@pytest.mark.parametrize("name", [*PLAIN, *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n not in PLAIN)])
def test_a_jitted_sample_is_the_plain_one(name):
    plain = make(name).sample(jax.random.key(0), BATCH)
    assert_trees_equal(episodes(make(name)), plain)


@every_task
def test_a_plain_reading_of_the_inputs_gives_exactly_the_targets_at_the_valid_steps(name):
    task, episode = make(name), episodes(make(name))
    for inputs, targets, valid in zip(*map(np.asarray, jax.tree.leaves(episode)), strict=True):
        _, answers = CASES[name].decode(task, inputs)
        answers = answers if isinstance(answers, list) else [answers]
        assert answers
        for answer in answers:
            np.testing.assert_array_equal(np.flatnonzero(valid), sorted(answer))
        given = [targets[step] for step in np.flatnonzero(valid)]
        assert any(np.array_equal(list(answer.values()), given) for answer in answers)


@every_task
def test_lengths_run_from_the_least_to_the_greatest_as_difficulty_grows(name):
    task, case = make(name), CASES[name]
    least, greatest = getattr(task, case.shortest), getattr(task, case.longest)
    shortest, middle = (least, least + round((greatest - least) / 2)) if case.grows else (greatest, greatest)
    for difficulty, longest in ((0.0, shortest), (0.5, middle), (1.0, greatest)):
        assert set(lengths(name, task, episodes(task, difficulty=difficulty))) == set(range(least, longest + 1))
    for beyond in (-3.0, 7.0):  # clipped
        assert set(lengths(name, task, episodes(task, difficulty=beyond))) <= set(range(least, greatest + 1))


@every_task
def test_a_longer_task_is_exactly_that_much_longer_in_every_episode(name):
    task, case = make(name), CASES[name]
    longer = task.longer(2)
    assert set(lengths(name, longer, episodes(longer))) == {case.growth * getattr(task, case.longest)}
    assert (longer.input_size, longer.output_size, longer.name) == (task.input_size, task.output_size, task.name)
    assert longer.num_steps <= 2 * task.num_steps + 1
    assert case.growth == 1 or task.num_steps < longer.num_steps


@every_task
def test_the_same_key_draws_the_same_episodes_and_another_key_others(name):
    task = make(name)
    first, again, other = episodes(task), episodes(task), episodes(task, seed=1)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert np.mean(np.any(np.asarray(first.inputs != other.inputs), axis=(1, 2))) > 0.9
    rows = np.asarray(first.inputs).reshape(BATCH, -1)
    assert len(np.unique(rows, axis=0)) > 0.7 * BATCH  # the shortest episodes may repeat


@every_task
def test_answers_are_fair_bits_or_one_symbol_a_place(name):
    task, episode = make(name), many_episodes(make(name))
    due = np.asarray(episode.targets)[np.asarray(episode.step_valid)]
    if hasattr(task, "num_symbols"):
        assert set(due.reshape(-1, task.num_symbols).sum(axis=1)) == {1}
        assert set(due.flat) == {0, 1}
    else:
        assert 0.4 < due[:, : getattr(task, "bits", None)].mean() < 0.6  # an end marker is no bit


@every_task
def test_right_outputs_score_1_and_inverted_ones_0(name):
    task, episode = make(name), episodes(make(name))
    accuracy, performance, loss = scored(task, right(episode), episode)
    assert (accuracy, performance) == (1, 1) and loss < 1e-3
    accuracy, performance, loss = scored(task, -right(episode), episode)
    assert (accuracy, performance) == (0, 0) and loss > 5


@every_task
def test_right_outputs_score_1_and_inverted_ones_0_on_each_episode(name):
    task, episode = make(name), episodes(make(name))
    for sign in (1, -1):
        found = np.asarray(score(task)(np.asarray(sign * right(episode), np.float32), episode)[3])
        assert found.shape == (BATCH,)
        np.testing.assert_array_equal(found, sign > 0)


@every_task
def test_one_wrong_answer_spoils_one_sequence(name):
    task, episode = make(name), episodes(make(name))
    step = int(np.flatnonzero(episode.step_valid[5])[-1])
    outputs = right(episode)
    outputs[5, step] *= -1
    accuracy, performance, _ = scored(task, outputs, episode)
    np.testing.assert_allclose(accuracy, 1 - 1 / BATCH, rtol=1e-6)
    below = performance < 1 or name == "n_grams"  # which has no answers that inputs tell
    assert below and performance > 0.9


@every_task
def test_guesses_score_about_0(name):
    task, episode = make(name), many_episodes(make(name))
    for seed in range(5):
        guesses = np.random.default_rng(seed).normal(size=episode.targets.shape)
        accuracy, performance, _ = scored(task, guesses, episode)
        assert performance < 0.12
        assert accuracy < CASES[name].guessed
    _, performance, _ = scored(task, np.zeros(episode.targets.shape), episode)
    assert performance < 0.12


@every_task
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_never_score(name, broken):
    task = make(name)
    for seed in range(4):  # answers have more zeros than ones with some keys and fewer with others
        episode = episodes(task, seed)
        accuracy, performance, _ = scored(task, np.full(episode.targets.shape, broken), episode)
        assert (accuracy, performance) == (0, 0)


@every_task
def test_the_loss_has_a_gradient_at_valid_steps_only(name):
    task, episode = make(name), episodes(make(name))
    grads = np.asarray(jax.jit(jax.grad(task.loss))(np.zeros(episode.targets.shape, np.float32), episode))
    valid = np.asarray(episode.step_valid)
    assert np.all(grads[valid] != 0)
    assert not grads[~valid].any()


@every_task
def test_settings_that_make_no_sense_are_refused_by_name(name):
    for wrong in CASES[name].wrong:
        with pytest.raises(ValueError, match=f"^{name} needs .*got"):
            etm_tasks.make(name, **wrong)


def test_an_unknown_task_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"unknown task 'cpoy'; the tasks are .*copy.*recall"):
        etm_tasks.make("cpoy")


def test_an_unknown_option_is_refused_with_the_options_there_are():
    with pytest.raises(
        ValueError, match="task 'copy' has no option 'bit'; its options are bits, min_length, max_length"
    ):
        etm_tasks.make("copy", bit=8)


# copy


def test_empty_copy_episodes_count_neither_for_nor_against():
    task = etm_tasks.make("copy", bits=2, min_length=0, max_length=3)
    episode = episodes(task)
    empty = ~np.any(np.asarray(episode.step_valid), axis=1)
    assert 0.1 < empty.mean() < 0.5  # one of four lengths
    for outputs in (right(episode), right(episode) * np.where(empty, -1.0, 1.0)[:, None, None]):
        accuracy, performance, _ = scored(task, outputs, episode)
        assert (accuracy, performance) == (1, 1)


def test_a_batch_of_empty_copy_episodes_scores_0_and_has_a_finite_gradient():
    task = etm_tasks.make("copy", bits=2, min_length=0, max_length=3)
    episode = episodes(task, difficulty=0.0)
    assert not np.any(episode.step_valid)
    np.testing.assert_array_equal(episode.inputs[:, 0], np.broadcast_to([0, 0, 1], (BATCH, 3)))
    outputs = np.ones(episode.targets.shape, np.float32)
    assert list(scored(task, outputs, episode)) == [0, 0, 0]
    assert not np.any(jax.jit(jax.grad(task.loss))(outputs, episode))


# repeat copy


@pytest.mark.parametrize("name", ["repeat_copy", "vocab_repeat_copy"])
def test_repeats_run_from_1_to_the_most_as_difficulty_grows(name):
    task = make(name)
    for difficulty, most in ((0.0, 1), (0.5, 2), (1.0, 3)):
        episode = episodes(task, difficulty=difficulty)
        due = np.sum(np.asarray(episode.step_valid), axis=1) - 1
        repeats = due / lengths(name, task, episode)
        assert set(repeats) == set(range(1, most + 1))


# recall


def test_any_item_but_the_last_is_asked_for():
    task = etm_tasks.make("recall", bits=8, item_length=2, min_items=4, max_items=4)
    episode = episodes(task)
    asked = set()
    for inputs in np.asarray(episode.inputs):
        items, query = inputs[: 4 * 3].reshape(4, 3, -1)[:, 1:, :8], inputs[13:15, :8]
        asked |= {index for index in range(4) if np.array_equal(items[index], query)}
    assert asked == {0, 1, 2}
