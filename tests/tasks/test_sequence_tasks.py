"""What single sequence tasks promise beyond what every task of the registry does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etm_tasks

REPEATING = ("repeat_copy", "vocab_repeat_copy")


@functools.cache
def sampler(task, batch_size):
    return jax.jit(lambda key, difficulty: task.sample(key, batch_size, difficulty))


def episodes(task, batch_size=64, difficulty=1.0, seed=0):
    return sampler(task, batch_size)(jax.random.key(seed), difficulty)


def right(episode):
    return 20 * episode.targets - 10


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("copy", (9, 8, 41)),
        ("reverse_copy", (9, 8, 41)),
        ("repeat_copy", (10, 9, 113)),
        ("recall", (8, 6, 32)),
        ("priority_sort", (10, 8, 37)),
        ("n_grams", (1, 1, 199)),
        ("vocab_copy", (98, 97, 41)),
        ("vocab_repeat_copy", (99, 97, 113)),
    ],
)
def test_default_sizes_are_the_published_ones(name, sizes):
    task = etm_tasks.make(name)
    assert (task.input_size, task.output_size, task.num_steps) == sizes


# repeat copy, of bits and of symbols


def small(name, **options):
    width = {"bits": 3} if name == "repeat_copy" else {"symbols": 5}
    return etm_tasks.make(name, **width, **options)


def numbers_shown(episode):
    """What stands on the channel of the number, in the step after the delimiter."""
    inputs = np.asarray(episode.inputs)
    rows, delimiters = np.nonzero(inputs[..., -2])
    return inputs[rows, delimiters + 1, -1]


@pytest.mark.parametrize("name", REPEATING)
def test_the_number_of_repeats_has_mean_0_and_variance_1_at_full_difficulty_and_one_meaning_at_all(name):
    task = small(name, max_length=2, max_repeats=10)
    scale = np.sqrt(99 / 12)  # of 1..10
    shown = numbers_shown(episodes(task, 1000))
    np.testing.assert_allclose(np.unique(shown), np.arange(-4.5, 5) / scale, rtol=1e-6)
    assert abs(shown.mean()) < 0.15
    assert abs(shown.var() - 1) < 0.1
    easy = episodes(task, 1000, difficulty=0.0)  # one repeat
    np.testing.assert_allclose(numbers_shown(easy), -4.5 / scale, rtol=1e-6)
    assert set(np.unique(np.sum(easy.step_valid, axis=1))) == {2, 3}  # the lengths stay: 1 or 2 vectors, and the end
    halfway = episodes(task, 1000, difficulty=0.5)  # 1 to 1 + round(4.5) = 5 repeats
    np.testing.assert_allclose(np.unique(numbers_shown(halfway)), np.arange(-4.5, 0) / scale, rtol=1e-6)


@pytest.mark.parametrize("name", REPEATING)
def test_a_single_repeat_shows_0(name):
    episode = episodes(small(name, max_length=2, max_repeats=1))
    assert not numbers_shown(episode).any()


@pytest.mark.parametrize("name", REPEATING)
def test_longer_lengthens_the_sequence_and_keeps_the_repeats(name):
    task = small(name, max_length=2, max_repeats=3)
    due = np.asarray(episodes(task.longer(3)).step_valid).sum(axis=1) - 1
    assert set(due) == {6, 12, 18}
    assert set(numbers_shown(episodes(task.longer(3)))) == set(numbers_shown(episodes(task)))


def marker_said(task, episode, where):
    """Right outputs but for the end marker, which is said at the given steps of each sequence."""
    outputs, where = np.asarray(right(episode)).copy(), np.asarray(where)
    if task.name == "repeat_copy":
        outputs[..., -1] = np.where(where, 10, -10)
    else:
        outputs[..., -1] = np.where(where, 20, -20)
    return jnp.asarray(outputs)


@pytest.mark.parametrize("name", REPEATING)
def test_the_end_marker_counts_where_it_is_due_and_nowhere_before(name):
    task = small(name, min_length=2, max_length=4, max_repeats=3)
    episode = episodes(task, 8)
    step = np.arange(task.num_steps)[None]
    end = np.max(np.where(episode.step_valid, step, 0), axis=1, keepdims=True)
    start = np.argmax(episode.step_valid, axis=1)[:, None]

    def accuracy(where):
        return float(task.end_marker_accuracy(marker_said(task, episode, where), episode))

    assert accuracy(step == end) == 1
    assert accuracy((step == end) | (step < start) | (step > end)) == 1  # where nothing is due nothing counts
    assert accuracy(step == end - 1) == 0
    assert accuracy((step == end) | (step == start)) == 0  # said too early
    assert accuracy(step < 0) == 0
    assert accuracy((step == end) & (np.arange(8) < 6)[:, None]) == 6 / 8
    broken = right(episode).at[0].set(np.nan)
    assert float(task.end_marker_accuracy(broken, episode)) == 7 / 8


@pytest.mark.parametrize("name", REPEATING)
@pytest.mark.parametrize("always", [False, True])
def test_a_marker_said_never_or_always_earns_nothing(name, always):
    task = small(name, max_length=1, max_repeats=2)  # up to half of the steps are ends
    episode = episodes(task)
    outputs = marker_said(task, episode, np.full(episode.step_valid.shape, always))
    expected = 0 if always and name == "vocab_repeat_copy" else 0.9  # which has no channel for anything else
    np.testing.assert_allclose(task.performance(outputs, episode), expected, atol=1e-6)


# priority sort


def test_priority_sort_of_20_vectors_is_the_papers():
    episode = episodes(etm_tasks.make("priority_sort", min_vectors=20))
    np.testing.assert_array_equal(np.sum(episode.step_valid, axis=1), 16)  # of 8 bits: chance is 128
    priority = np.asarray(episode.inputs)[:, :20, 8]
    assert priority.min() < -0.9
    assert priority.max() > 0.9
    assert abs(priority.mean()) < 0.1


def test_fewer_vectors_have_the_same_share_of_answers():
    task = etm_tasks.make("priority_sort", bits=2, min_vectors=1, max_vectors=10, answers=8)
    episode = episodes(task, 200)
    number = np.argmax(np.asarray(episode.inputs)[..., 3], axis=1)
    due = np.sum(episode.step_valid, axis=1)
    found = dict(zip(number, due, strict=True))
    assert found == {1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 8}
    np.testing.assert_array_equal(np.sum(episodes(task.longer(3)).step_valid, axis=1), 24)


# n-grams


def logits_of(probability):
    return (jnp.log(probability) - jnp.log1p(-probability))[..., None]


def test_the_estimator_takes_128_of_195_bits_as_published():
    """127.98 +- 0.25 over 20,000 sequences, their standard deviation 36; here 2,000."""
    task = etm_tasks.make("n_grams")
    bits = np.concatenate([task.optimal_bits(episodes(task, 1000, seed=seed)) for seed in range(2)])
    assert abs(bits.mean() - 127.98) < 3 * 36 / np.sqrt(len(bits))
    assert 33 < bits.std() < 39


def test_the_estimator_is_a_plain_count_of_what_followed_the_context():
    task = etm_tasks.make("n_grams", context=3, min_length=10, max_length=60)
    episode = episodes(task, 8)
    estimate = np.asarray(task.estimate(episode))
    optimal, code = np.asarray(task.optimal_bits(episode)), np.zeros(8)
    for row in range(8):
        bits = [int(bit) for bit in np.asarray(episode.inputs)[row, :, 0]]
        counts = {}
        for step in np.flatnonzero(episode.step_valid[row]):
            zeros, ones = counts.setdefault(tuple(bits[step - 2 : step + 1]), [0, 0])
            np.testing.assert_allclose(estimate[row, step], (ones + 0.5) / (zeros + ones + 1), rtol=1e-5)
            target = int(episode.targets[row, step, 0])
            code[row] -= np.log2(([zeros, ones][target] + 0.5) / (zeros + ones + 1))
            counts[tuple(bits[step - 2 : step + 1])][target] += 1
    np.testing.assert_allclose(optimal, code, rtol=1e-4)


def test_lengths_of_n_grams_are_mixed_and_scaled_by_difficulty():
    task = etm_tasks.make("n_grams", context=3, min_length=10, max_length=14)

    def predictions(task, difficulty=1.0):
        return set(np.sum(episodes(task, difficulty=difficulty).step_valid, axis=1).tolist())

    assert predictions(task) == {7, 8, 9, 10, 11}
    assert predictions(task, 0.5) == {7, 8, 9}
    assert predictions(task, 0.0) == {7}
    assert predictions(task.longer(2)) == {25}


def test_n_grams_score_0_at_one_half_and_1_at_the_estimator():
    task = etm_tasks.make("n_grams")
    episode = episodes(task, 200)
    half, best = jnp.zeros(episode.targets.shape), logits_of(task.estimate(episode))
    assert float(task.performance(half, episode)) < 1e-5
    assert float(task.accuracy(half, episode)) < 0.01
    np.testing.assert_allclose(task.bits_per_sequence(half, episode), 195, rtol=1e-5)
    np.testing.assert_allclose(task.performance(best, episode), 1, rtol=1e-5)
    assert float(task.accuracy(best, episode)) == 1
    np.testing.assert_allclose(task.excess_bits(best, episode), 0, atol=1e-3)
    # the loss is the same code, in nats a prediction
    np.testing.assert_allclose(task.loss(best, episode), task.optimal_bits(episode).mean() * np.log(2) / 195, rtol=1e-5)
    # one bit too many a sequence, about the paper's network, is solved; three are not
    noise = np.random.default_rng(0).normal(size=best.shape).astype(np.float32)
    for scale, excess, solved in ((0.2, 0.9, True), (0.38, 3.0, False)):
        near = best + scale * noise
        assert abs(float(task.excess_bits(near, episode).mean()) - excess) < 0.3
        assert bool(task.accuracy(near, episode) >= task.solved) == solved
        assert 0.9 < float(task.performance(near, episode)) < 1


def test_a_prediction_that_is_not_finite_makes_an_infinite_code_of_its_own_sequence_only():
    task = etm_tasks.make("n_grams", context=1, min_length=5, max_length=9)
    episode = episodes(task, 8)
    outputs = logits_of(task.estimate(episode))
    ended = int(np.argmin(np.sum(episode.step_valid, axis=1)))
    spoilt = outputs.at[ended, -1].set(np.nan)  # past its end
    np.testing.assert_array_equal(task.excess_bits(spoilt, episode), task.excess_bits(outputs, episode))
    spoilt = outputs.at[2, 1].set(np.inf)
    bits = np.asarray(task.bits_per_sequence(spoilt, episode))
    assert np.isinf(bits[2])
    assert np.isfinite(np.delete(bits, 2)).all()
    assert float(task.accuracy(spoilt, episode)) == 7 / 8
    assert float(task.performance(spoilt, episode)) == 0


# vocabularies


def test_symbol_accuracy_is_of_characters_and_accuracy_of_strings():
    task = etm_tasks.make("vocab_copy", symbols=4, min_length=5, max_length=5)
    episode = episodes(task, 8)
    outputs = right(episode).at[3, 6].multiply(-1)  # the first answer of one string
    np.testing.assert_allclose(task.symbol_accuracy(outputs, episode), 39 / 40, rtol=1e-6)
    assert float(task.accuracy(outputs, episode)) == 7 / 8


def test_strings_use_the_whole_alphabet_evenly_and_keep_the_end_symbol_out():
    shown = np.asarray(episodes(etm_tasks.make("vocab_copy", symbols=7), 500).inputs)[..., :7].sum(axis=(0, 1))
    np.testing.assert_allclose(shown / shown.sum(), 1 / 7, atol=0.02)
    shown = np.asarray(episodes(small("vocab_repeat_copy"), 500).inputs)[..., :5].sum(axis=(0, 1))
    np.testing.assert_allclose(shown / shown.sum(), [1 / 4] * 4 + [0], atol=0.04)
