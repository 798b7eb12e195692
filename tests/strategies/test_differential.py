"""Genes as a point of the unit cube, and differential evolution there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import MIXED, assert_trees_equal, genes_within
from hypothesis import given

from etm_jax.networks import describe
from etm_jax.networks.genome._genes import GENES, architecture_from
from etm_jax.strategies._differential import DifferentialEvolution, DifferentialRates, three_others

STRATEGY = DifferentialEvolution(20, jnp.zeros(4))
encode = jax.jit(lambda architecture: MIXED.to_unit_cube(architecture))
decode = jax.jit(lambda point: MIXED.from_unit_cube(point))


@given(genes_within(MIXED))
def test_decoding_an_encoded_architecture_gives_it_back(genes):
    assert describe(decode(encode(architecture_from(genes)))) == genes


def test_and_so_for_many_random_ones():
    drawn = jax.jit(jax.vmap(lambda key: MIXED.random_architecture(key)))(jax.random.split(jax.random.key(0), 2000))
    assert_trees_equal(jax.jit(jax.vmap(lambda own: decode(encode(own))))(drawn), drawn)


def test_the_cube_is_cut_evenly_and_its_faces_belong_to_it():
    """The gene number `floor(v k)`, in NumPy, over a fine grid; at 1 the last."""
    grid = np.linspace(0, 1, 1441, dtype=np.float32)
    points = jnp.tile(jnp.asarray(grid)[:, None], (1, len(GENES)))
    found = jax.jit(jax.vmap(lambda point: MIXED.from_unit_cube(point)))(points)
    for name, (low, high) in MIXED.ranges.items():
        count = high - low + 1
        expected = low + np.minimum(np.floor(grid * np.float32(count)), count - 1)
        np.testing.assert_array_equal(getattr(found, name), expected, err_msg=name)
    for name, kinds in MIXED.choices.items():
        places = np.minimum(np.floor(grid * np.float32(len(kinds))), len(kinds) - 1).astype(int)
        np.testing.assert_array_equal(getattr(found, name), np.array(kinds)[places], err_msg=name)
    corner = describe(decode(jnp.ones(len(GENES))))
    assert {name: corner[name] for name in MIXED.ranges}.items() <= describe(MIXED.largest()).items()


def started(costs):
    """The state about random parents of these costs."""
    points = jax.random.uniform(jax.random.key(0), (20, 4))
    costs = jnp.asarray(costs, jnp.float32)
    return STRATEGY.init(jax.random.key(1), points, costs, STRATEGY.default_params)


def test_one_step_is_that_of_the_paper():
    """Storn & Price 1997 with loops, from the same draws; F is a power of two, so that no sum is rounded twice."""
    params, key = DifferentialRates(scale=2.0, crossover_rate=0.3), jax.random.key(5)
    state = started(np.arange(20.0))
    trials, _ = STRATEGY.ask(key, state, params)
    draws, parents = jax.tree.map(np.asarray, jax.jit(STRATEGY.draw)(key)), np.asarray(state.population)
    redrawn = kept = 0
    for index in range(20):
        one, two, three = draws.others[index]
        assert len({index, one, two, three}) == 4
        expected = parents[index].copy()
        for gene in range(4):
            if draws.chance[index, gene] < params.crossover_rate or gene == draws.always[index]:
                value = parents[one, gene] + np.float32(2) * (parents[two, gene] - parents[three, gene])
                outside = value < 0 or value > 1
                expected[gene] = draws.fresh[index, gene] if outside else value
                redrawn += outside
            else:
                kept += 1
        np.testing.assert_array_equal(trials[index], expected)
    assert redrawn > 5 and kept > 20


def test_at_rate_zero_exactly_one_gene_crosses_and_at_one_all():
    state = started(np.arange(20.0))
    for rate, expected in ((0.0, 1), (1.0, 4)):
        trials, _ = STRATEGY.ask(jax.random.key(3), state, DifferentialRates(crossover_rate=rate))
        assert np.sum(np.asarray(trials) != np.asarray(state.population), axis=1).tolist() == [expected] * 20


def test_a_trial_replaces_its_parent_unless_it_is_worse_or_failed():
    state = started([*np.arange(19.0), np.nan])
    assert np.isinf(state.fitness[19])
    offered = jnp.full((20, 4), 0.5)
    costs = jnp.asarray([*np.arange(10.0), *[np.nan] * 5, *[20.0] * 4, 3.0], jnp.float32)
    after, metrics = STRATEGY.tell(jax.random.key(0), offered, costs, state, STRATEGY.default_params)
    replaced = np.all(np.asarray(after.population) == 0.5, axis=1)
    assert replaced.tolist() == [True] * 10 + [False] * 9 + [True]
    np.testing.assert_array_equal(after.fitness, [*np.arange(19.0), 3.0])
    assert (int(metrics["failed"]), int(metrics["replaced"]), float(after.best_fitness)) == (5, 11, 0.0)


def test_all_triples_of_others_are_drawn_alike():
    keys = jax.random.split(jax.random.key(0), 12_000)
    triples = np.asarray(jax.jit(jax.vmap(lambda key: three_others(key, jnp.array(2), 5)))(keys))
    found, counts = np.unique(triples, axis=0, return_counts=True)
    assert len(found) == 4 * 3 * 2 and 2 not in found
    assert all(len(set(triple)) == 3 for triple in found.tolist())
    assert counts.min() > 500 - 5 * np.sqrt(500) and counts.max() < 500 + 5 * np.sqrt(500)


def sphere(points):
    return jnp.sum((points - 0.3) ** 2, axis=-1)


def rastrigin(points):
    """Its usual cube [-5.12, 5.12] scaled to the unit cube, the optimum off its middle."""
    places = 10.24 * (points - 0.3)
    return jnp.sum(places**2 - 10 * jnp.cos(2 * jnp.pi * places) + 10, axis=-1)


@pytest.mark.parametrize(("cost", "scale", "rate", "reached"), [(sphere, 0.5, 0.9, 1e-8), (rastrigin, 0.5, 0.2, 1e-3)])
def test_it_finds_the_optimum(cost, scale, rate, reached):
    params = DifferentialRates(scale=scale, crossover_rate=rate)
    strategy = DifferentialEvolution(30, jnp.zeros(5))

    def generation(state, key):
        points, state = strategy.ask(key, state, params)
        state, metrics = strategy.tell(key, points, cost(points), state, params)
        return state, metrics["best_fitness"]

    @jax.jit
    def evolve(key):
        points = jax.random.uniform(key, (30, 5))
        start = strategy.init(key, points, cost(points), params)
        return jax.lax.scan(generation, start, jax.random.split(key, 300))[1]

    best = np.asarray(evolve(jax.random.key(0)))
    assert np.all(np.diff(best) <= 0)
    assert best[-1] < reached


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, np.zeros(2)), "population_size must be a whole number of at least 4, got 3"),
        ((4, {"none": np.zeros(0)}), "solution must be a point with at least one coordinate"),
    ],
)
def test_too_few_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DifferentialEvolution(*arguments)
