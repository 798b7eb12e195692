"""Crossover between units that are alike: the order of a parent's hidden units makes no difference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import MIXED, TINY, assert_trees_equal, forward, make_genome, make_inputs, put_where_absent
from helpers import genes as genes_of

from etm_jax.networks import VariationRates, mask_of
from etm_jax.networks.variation._align import align_units, match, permute_units
from etm_jax.networks.variation._offspring import cross_weights, offspring

KINDS = [
    {"controller": "lstm", "memory": "ntm"},
    {"controller": "gru", "memory": "dnc"},
    {"controller": "rnn", "memory": "hard_tape", "ponder_steps": 2},
    {"controller": "window", "memory": "tape", "num_layers": 2},
    {"controller": "feedforward", "memory": "none"},
]
CROSSOVERS = ["blocks", "slerp"]
SIZES = [(5, 5), (3, 5), (5, 3)]  # units of the child and of the second parent


@functools.cache
def compiled(crossover="blocks", bounds=TINY):
    def cross(key, child, second):
        masks = mask_of(child, bounds), mask_of(second, bounds)
        return cross_weights(key, child, second, *masks, align=True, crossover=crossover)

    return jax.jit(cross), jax.jit(permute_units)


def shuffled(genome, seed):
    """The genome with the units that exist in a random order, and that order."""
    size = int(genome.architecture.controller_size)
    order = np.arange(TINY.controller_size[1])
    order[:size] = np.random.default_rng(seed).permutation(size)
    return compiled()[1](genome, jnp.asarray(order)), order


def live(genome, bounds=TINY):
    return jax.tree.map(lambda array, here: np.where(here, array, 0), genome.params, mask_of(genome, bounds))


@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "-".join(map(str, kinds.values())))
def test_the_order_of_units_changes_nothing_that_a_network_computes(kinds):
    genome = make_genome(MIXED, seed=1, controller_size=5, **kinds)
    moved, _ = shuffled(genome, seed=2)
    assert not np.array_equal(genome.params["output"]["controller_kernel"], moved.params["output"]["controller_kernel"])
    run, inputs = forward(MIXED), make_inputs()
    np.testing.assert_allclose(run(moved, inputs).outputs, run(genome, inputs).outputs, atol=1e-5)


@pytest.mark.parametrize("crossover", CROSSOVERS)
@pytest.mark.parametrize(("own", "theirs"), SIZES)
def test_a_permuted_second_parent_gives_the_same_child_to_the_bit(own, theirs, crossover):
    child = make_genome(TINY, seed=1, controller_size=own)
    second = make_genome(TINY, seed=2, controller_size=theirs, num_read_heads=2)
    cross, _ = compiled(crossover)
    for seed in range(6):
        key = jax.random.key(seed)
        mixed = cross(key, child, second)
        assert_trees_equal(cross(key, child, shuffled(second, seed)[0]), mixed)


@pytest.mark.parametrize(("own", "theirs"), SIZES)
def test_a_permuted_first_parent_gives_the_same_child_in_that_order(own, theirs):
    child = make_genome(TINY, seed=1, controller_size=own)
    second = make_genome(TINY, seed=2, controller_size=theirs, num_read_heads=2)
    cross, permute = compiled()
    for seed in range(6):
        key = jax.random.key(seed)
        moved, order = shuffled(child, seed)
        expected = permute(cross(key, child, second), jnp.asarray(order))
        assert_trees_equal(live(cross(key, moved, second)), live(expected))


def test_offspring_of_permuted_parents_compute_the_same(native):
    """Through the whole of an offspring that mates, without mutation."""
    first, second = (make_genome(TINY, seed=seed, controller_size=5) for seed in (1, 2))
    rates, mates = VariationRates(noise_rate=0.0, align=True), jnp.asarray(True)
    bear = jax.jit(lambda key, one, other: offspring(key, one, other, mates, TINY, rates, 0.0))
    run, inputs = forward(TINY, native), make_inputs()
    for seed in range(4):
        key = jax.random.key(seed)
        child = bear(key, first, second)
        again = bear(key, shuffled(first, seed)[0], shuffled(second, seed + 1)[0])
        np.testing.assert_allclose(run(again, inputs).outputs, run(child, inputs).outputs, atol=1e-5)


def test_a_network_crossed_with_itself_in_another_order_stays_itself():
    genome = make_genome(TINY, seed=3, controller_size=5)
    moved, order = shuffled(genome, seed=1)
    params, mask = jax.jit(align_units)(genome, moved, mask_of(genome, TINY), mask_of(moved, TINY))
    assert_trees_equal(params, genome.params)
    assert_trees_equal(mask, mask_of(genome, TINY))
    assert list(order) != list(range(5))
    plain = cross_weights(jax.random.key(0), genome, moved, mask_of(genome, TINY), mask_of(moved, TINY))
    pairs = zip(jax.tree.leaves(plain.params), jax.tree.leaves(genome.params), strict=True)
    assert not all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("crossover", CROSSOVERS)
@pytest.mark.parametrize(("own", "theirs"), [(4, 4), (3, 4), (4, 3)])
def test_padding_is_neither_looked_at_nor_touched(own, theirs, crossover):
    child = make_genome(TINY, seed=4, controller_size=own)
    second = make_genome(TINY, seed=5, controller_size=theirs)
    cross, _ = compiled(crossover)
    soiled = [
        put_where_absent(genome, TINY, genes_of(controller_size=size), np.nan)
        for genome, size in ((child, own), (second, theirs))
    ]
    for seed in range(4):
        key = jax.random.key(seed)
        clean, dirty = cross(key, child, second), cross(key, *soiled)
        assert_trees_equal(live(clean), live(dirty))
        untouched = jax.tree.map(lambda array, here: np.where(here, 0, array), child.params, mask_of(child, TINY))
        still = jax.tree.map(lambda array, here: np.where(here, 0, array), clean.params, mask_of(child, TINY))
        assert_trees_equal(still, untouched)


@pytest.mark.parametrize("nothing", [np.inf, np.nan])
def test_the_match_is_the_greedy_one(nothing):
    """With loops, the last rows and columns absent: these come last, and every row and column is matched once."""
    costs = np.random.default_rng(0).normal(size=(30, 7, 7)).astype(np.float32) ** 2
    costs[:, 5:] = nothing
    costs[:, :, 4:] = nothing
    found = np.asarray(jax.jit(jax.vmap(match))(costs))
    for cost, columns in zip(costs, found, strict=True):
        assert sorted(columns) == list(range(7))
        left = np.where(np.isfinite(cost), cost, np.inf)
        for _ in range(4):
            row, column = np.unravel_index(np.argmin(left), left.shape)
            assert columns[row] == column
            left[row], left[:, column] = np.inf, np.inf
