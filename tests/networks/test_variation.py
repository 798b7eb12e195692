"""Mutation, growth and crossover: what changes, how often, and what must stay."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import TINY, all_finite, assert_trees_equal, forward, genes, make_genome, make_inputs, put_where_absent

from etm_jax.networks import VariationRates, describe, mask_of
from etm_jax.networks.genome._genes import architecture_from
from etm_jax.networks.variation._mutation import add_weight_noise, boosted_gene_rate, mutate_architecture, resize
from etm_jax.networks.variation._offspring import cross_genes, cross_weights, offspring

RATES = VariationRates()


@functools.cache
def compiled_resize():
    return jax.jit(lambda key, genome, architecture: resize(key, genome, architecture, TINY))


def resized(genome, seed=0, **changes):
    architecture = architecture_from(describe(genome.architecture) | changes)
    return compiled_resize()(jax.random.key(seed), genome, architecture)


def outputs(genome, native=False):
    return np.asarray(forward(TINY, native)(genome, make_inputs())[0])


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"controller_size": 5}, 1e-6),
        ({"num_read_heads": 2}, 1e-6),
        # New columns start at the constant initial memory of 1e-6 and are read.
        ({"slot_width": 4}, 2e-5),
        # A closed erase gate is sigmoid(-10) = 5e-5, a closed shift exp(-10), not 0.
        ({"num_write_heads": 2}, 2e-3),
        ({"shift_range": 2}, 2e-3),
        ({"controller_size": 5, "num_read_heads": 2, "slot_width": 4, "num_write_heads": 2}, 2e-3),
    ],
)
def test_growth_keeps_the_function(changes, tolerance, native):
    genome = make_genome(TINY, seed=3)
    grown = resized(genome, **changes)
    np.testing.assert_allclose(outputs(grown, native), outputs(genome, native), atol=tolerance)


def test_location_addressing_starts_switched_off():
    genome = make_genome(TINY, seed=3, addressing="content")
    grown = resized(genome, addressing="content_and_location")
    np.testing.assert_allclose(outputs(grown), outputs(genome), atol=5e-3)


def test_growth_and_shrinkage_give_the_genome_back():
    genome = make_genome(TINY, seed=4)
    grown = resized(genome, controller_size=5, slot_width=4, num_read_heads=2, num_write_heads=2, num_slots=7)
    back = resized(grown, **describe(genome.architecture))
    live = mask_of(genome, TINY)
    kept = jax.tree.map(lambda array, exists: jnp.where(exists, array, 0), genome.params, live)
    assert_trees_equal(back.params, kept)


def test_growth_ignores_garbage_in_the_padding():
    genome = make_genome(TINY, seed=5)
    soiled = put_where_absent(genome, TINY, genes(), np.nan)
    grown = resized(soiled, controller_size=5, num_read_heads=2)
    assert all_finite(grown.params)
    assert_trees_equal(grown, resized(genome, controller_size=5, num_read_heads=2))


def test_new_weights_can_learn():
    """Closed weights must not sit at a saddle: some gradient reaches what grew."""
    grown = resized(make_genome(TINY, seed=6), controller_size=5, num_read_heads=2, slot_width=4, num_write_heads=2)

    def loss(params):
        return jnp.sum(forward(TINY)(grown.replace(params=params), make_inputs())[0] ** 2)

    gradient = jax.grad(loss)(grown.params)
    assert float(jnp.abs(gradient["output"]["controller_kernel"][4]).max()) > 0  # the new unit
    assert float(jnp.abs(gradient["output"]["read_kernel"][1]).max()) > 0  # the new read head
    assert float(jnp.abs(gradient["write"]["add_bias"][0, 3]).max()) > 0  # the new column
    assert float(jnp.abs(gradient["write"]["add_bias"][1]).max()) > 0  # the new write head


@functools.cache
def many_mutations(gene_rate, local_share, sigma):
    rates = VariationRates(local_share=local_share, controller_sigma=sigma)
    start = architecture_from(genes())

    @jax.jit
    def mutate_all(keys):
        return jax.vmap(lambda key: mutate_architecture(key, start, TINY, rates, gene_rate))(keys)

    return mutate_all(jax.random.split(jax.random.key(0), 2000))


def test_genes_stay_within_their_ranges():
    mutants = many_mutations(1.0, 0.5, 16.0)
    for name, (low, high) in TINY.ranges.items():
        values = np.asarray(getattr(mutants, name))
        assert values.min() == low
        assert values.max() == high


def test_a_gene_mutates_at_its_rate():
    """A redrawn gene of r values changes with probability rate * (1 - 1/r)."""
    mutants = many_mutations(0.3, 0.0, 1.0)
    for name, values in (("num_slots", 3), ("slot_width", 3), ("num_read_heads", 2)):
        changed = np.mean(np.asarray(getattr(mutants, name)) != genes()[name])
        assert changed == pytest.approx(0.3 * (1 - 1 / values), abs=0.04)


def test_no_gene_mutates_at_rate_zero():
    mutants = many_mutations(0.0, 0.5, 16.0)
    assert all(np.all(np.asarray(getattr(mutants, name)) == genes().get(name, 1)) for name in TINY.ranges)


def test_a_local_step_moves_by_an_eighth_of_the_range_at_most():
    mutants = many_mutations(1.0, 1.0, 1.0)
    assert np.abs(np.asarray(mutants.num_slots) - genes()["num_slots"]).max() == 1


def test_the_controller_takes_gaussian_steps():
    steps = np.asarray(many_mutations(1.0, 0.0, 1.0).controller_size) - genes()["controller_size"]
    # P(round(z) = 0) = P(|z| < 1/2); the range 2..5 clips the rest.
    assert np.mean(steps == 0) == pytest.approx(0.383, abs=0.035)
    assert np.mean(steps == -1) == pytest.approx(0.2417, abs=0.035)


def test_noise_touches_only_weights_that_exist_and_has_its_scale():
    genome = make_genome(TINY, seed=8)
    output = genome.params["output"] | {"bias": jnp.zeros_like(genome.params["output"]["bias"])}
    genome = dataclasses.replace(genome, params=genome.params | {"output": output})
    noisy = jax.jit(lambda key: add_weight_noise(key, genome, mask_of(genome, TINY), 0.1))(jax.random.key(1))
    live = mask_of(genome, TINY)
    ratios = []
    for old, new, exists in zip(*map(jax.tree.leaves, (genome.params, noisy.params, live)), strict=True):
        assert np.all(np.asarray(new)[~np.asarray(exists)] == 0)
        held = np.asarray(old)[np.asarray(exists)]
        ratios.extend((np.asarray(new)[np.asarray(exists)] - held) / max(np.sqrt(np.mean(held**2)), 0.1))
    assert np.std(ratios) == pytest.approx(0.1, rel=0.15)
    assert np.all(np.asarray(noisy.params["output"]["bias"]) != 0)  # what is 0 moves, too


def test_crossover_takes_genes_and_blocks_from_both_parents():
    first, second = make_genome(TINY, seed=1), make_genome(TINY, seed=2, num_slots=7, num_read_heads=2)
    keys = jax.random.split(jax.random.key(0), 40)
    mixed = jax.vmap(lambda key: cross_genes(key, first.architecture, second.architecture))(keys)
    assert set(np.asarray(mixed.num_slots).tolist()) == {6, 7}
    taken = set()
    for key in keys[:8]:
        child = cross_weights(key, first, second, mask_of(first, TINY), mask_of(second, TINY))
        for block, part in child.params.items():
            exists = np.asarray(mask_of(first, TINY)[block]["key_bias" if block == "heads" else sorted(part)[0]])
            name = "key_bias" if block == "heads" else sorted(part)[0]
            value, one, other = (
                np.asarray(p[block][name])[exists] for p in (child.params, first.params, second.params)
            )
            origin = "first" if np.array_equal(value, one) else "second"
            assert origin == "first" or np.array_equal(value, other)
            taken.add((block, origin))
    assert {block for block, origin in taken if origin == "second"} == set(first.params)


def test_an_only_parent_without_mutation_has_an_identical_child():
    genome = make_genome(TINY, seed=9)
    rates = VariationRates(noise_rate=0.0)
    still = jnp.asarray(False)
    child = jax.jit(lambda key: offspring(key, genome, genome, still, TINY, rates, 0.0))(jax.random.key(3))
    np.testing.assert_array_equal(outputs(child), outputs(genome))


def test_diversity_is_zero_for_clones_and_about_a_third_for_a_random_population():
    clones = jax.tree.map(lambda gene: jnp.repeat(gene[None], 6), architecture_from(genes()))
    assert float(TINY.diversity(clones)) == 0
    drawn = jax.vmap(lambda key: TINY.random_architecture(key))(jax.random.split(jax.random.key(0), 300))
    assert 0.33 < float(TINY.diversity(drawn)) < 0.55  # 1/3 for many values, 1/2 for a gene of two
    alone = jax.tree.map(lambda gene: gene[:1], clones)
    assert float(TINY.diversity(alone)) == 0


def test_the_gene_rate_rises_as_diversity_falls_below_its_floor():
    rates = VariationRates(gene_rate=0.1, diversity_floor=0.2)
    assert float(boosted_gene_rate(rates, jnp.asarray(0.2))) == pytest.approx(0.1)
    assert float(boosted_gene_rate(rates, jnp.asarray(0.1))) == pytest.approx(0.3)
    assert float(boosted_gene_rate(rates, jnp.asarray(0.0))) == pytest.approx(0.5)
