"""Norms and cosines of large arrays from samples: near the exact ones, and nothing that is not finite is missed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal
from test_ae_transform import walk

from etm_jax import ae
from etm_jax.ae._trees import SAMPLE, inner_product, sampled, sizes

LARGE = {"w": (96, 512), "odd": (173, 97), "b": (512,)}  # the first two are sampled


def large(key, scale=1.0):
    keys = jax.random.split(key, len(LARGE))
    return {name: scale * jax.random.normal(k, shape) for (name, shape), k in zip(LARGE.items(), keys, strict=True)}


def outer(key, rank=8):
    """As gradients of a batch are: sums of a few outer products, whose rows and columns differ in size."""
    left, right, rows = jax.random.split(key, 3)
    one = jax.random.normal(left, (96, rank)) * jnp.exp(jax.random.normal(rows, (96, 1)))
    return {"w": one @ jax.random.normal(right, (rank, 512))}


@pytest.mark.parametrize("make", [large, outer])
def test_a_cosine_and_a_length_of_a_sample_are_near_those_of_all_entries(make):
    def figures(first, second, of=None):
        squares = inner_product(first, first, of), inner_product(second, second, of)
        return inner_product(first, second, of) / jnp.sqrt(squares[0] * squares[1]), jnp.sqrt(squares[0])

    errors = []
    for seed in range(20):
        one, other = make(jax.random.key(2 * seed)), make(jax.random.key(2 * seed + 1))
        other = jax.tree.map(lambda a, b: 0.3 * a + b, one, other)
        cosine, length = figures(one, other)
        few = figures(sampled(one, SAMPLE), sampled(other, SAMPLE), sizes(one))
        errors.append((float(few[0] - cosine), float(few[1] / length - 1)))
    spread, bias = np.std(errors, axis=0), np.mean(errors, axis=0)
    assert np.all(spread < (0.04, 0.06)), spread
    assert np.all(np.abs(bias) < 3 * spread / np.sqrt(20)), bias


@pytest.mark.parametrize("shape", [(4097,), (5000,), (64, 100), (256, 512), (3, 3, 64, 128), (1000, 1000)])
def test_a_sample_misses_no_row_or_column_of_a_matrix_for_good(shape):
    """It is of a bounded size, of no entry twice, and stretches over nearly all of the array."""
    seen = np.asarray(sampled(jnp.arange(np.prod(shape)).reshape(shape), SAMPLE)).ravel()
    assert len(set(seen)) == len(seen) <= SAMPLE
    assert len(seen) >= SAMPLE / 4
    assert seen.max() - seen.min() > 0.85 * np.prod(shape)
    if len(shape) == 2:
        assert len(set(seen % shape[1])) == shape[1]


@pytest.mark.parametrize("make", [ae.ae_adam, ae.ae_adamw, ae.ae_sgdm, ae.ae_schedule_free_adamw])
def test_a_run_on_samples_is_nearly_the_run_on_all_entries(make):
    goal = large(jax.random.key(1))

    def loss(params):
        return sum(jnp.mean((params[name] - goal[name]) ** 2) for name in LARGE)

    def run(sample):
        return walk(make(1e-3, sample=sample), 40, large(jax.random.key(2)), loss)[1]

    few, every = run(SAMPLE), run(None)
    # over the run, not at each step: the phase of an averaged chain begins as rounding, where mean and iterate are one
    ratio = few["coefficient/learning_rate"] / every["coefficient/learning_rate"]
    assert np.mean(np.abs(np.log(ratio))) < 0.05
    assert np.mean(np.abs(few["signal/alignment"] - every["signal/alignment"])) < 0.03
    assert np.any(np.asarray(few["signal/alignment"]) != np.asarray(every["signal/alignment"]))


def test_small_arrays_are_not_sampled():
    (few, _), trace = walk(ae.ae_adamw(1e-3), 10)
    (every, _), same = walk(ae.ae_adamw(1e-3, sample=None), 10)
    assert_trees_equal((few, trace), (every, same))


@pytest.mark.parametrize("make", [ae.ae_adam, ae.ae_adamw, ae.ae_sgdm, ae.ae_schedule_free_adamw])
def test_a_nan_outside_the_sample_skips_the_step(make):
    params, gradient, tx = large(jax.random.key(3)), large(jax.random.key(4), 1e-2), make(1e-3)
    entries = np.arange(96 * 512).reshape(96, 512)
    row, column = np.argwhere(~np.isin(entries, sampled(jnp.asarray(entries), SAMPLE)))[0]
    _, state = tx.update(gradient, tx.init(params), params, value=1.0)
    bad = {**gradient, "w": gradient["w"].at[row, column].set(jnp.nan)}
    updates, after = jax.jit(lambda state: tx.update(bad, state, params, value=1.0))(state)
    assert not any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(updates))
    assert_trees_equal(ae.find(after).inner_state, ae.find(state).inner_state)
    assert int(ae.find(after).skipped) == 1
