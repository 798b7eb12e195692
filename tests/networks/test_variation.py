"""Mutation, growth and crossover: what changes, how often, and what must stay."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    TINY,
    all_finite,
    assert_trees_equal,
    forward,
    genes,
    genes_within,
    make_genome,
    make_inputs,
    put_where_absent,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from etm_jax.networks import VariationRates, describe, mask_of
from etm_jax.networks.genome._genes import architecture_from
from etm_jax.networks.variation._mutation import add_weight_noise, boosted_gene_rate, mutate_architecture, resize
from etm_jax.networks.variation._offspring import cross_genes, cross_weights, offspring, slerp

RATES = VariationRates()


# Kinds that a growing network may have or come to have; a hard tape's jumps and moves keep no function.
GROWING = dataclasses.replace(
    TINY, controllers=("lstm", "gru", "rnn", "feedforward"), memories=("none", "tape", "ntm", "dnc")
)
ROUNDING = 1e-5  # of float32, 6e-8, as nine steps of a random network add it up and amplify it; 2e-6 at most was seen


@functools.cache
def compiled_resize(bounds=TINY):
    return jax.jit(lambda key, genome, architecture: resize(key, genome, architecture, bounds))


def resized(genome, seed=0, bounds=TINY, /, **changes):
    architecture = architecture_from(describe(genome.architecture) | changes)
    return compiled_resize(bounds)(jax.random.key(seed), genome, architecture)


def outputs(genome, native=False, bounds=TINY):
    return np.asarray(forward(bounds, native)(genome, make_inputs())[0])


@st.composite
def growth(draw):
    """The genes of a network, and those of one that has no less of anything, and kinds that hold the ones before."""
    before = draw(genes_within(GROWING))
    after = {name: draw(st.integers(before[name], high)) for name, (_, high) in GROWING.ranges.items()}
    after |= {"num_slots": before["num_slots"], "controller": before["controller"], "memory": before["memory"]}
    after["addressing"] = "content_and_location" if draw(st.booleans()) else before["addressing"]
    if before["controller"] == "feedforward":
        after["controller"] = draw(st.sampled_from(["feedforward", "rnn"]))
    if before["memory"] == "none":
        after["memory"] = draw(st.sampled_from(GROWING.memories))
    if before["memory"] == "tape" and after["addressing"] == "content_and_location":
        after["memory"] = draw(st.sampled_from(["tape", "ntm"]))
    return before, after


@settings(max_examples=60)
@given(step=growth(), seed=st.integers(0, 999))
def test_growth_keeps_the_function(native, step, seed):
    before, after = step
    genome = make_genome(GROWING, seed, **before)
    grown = resized(genome, seed, GROWING, **after)
    found, expected = (outputs(one, native, GROWING) for one in (grown, genome))
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


@pytest.mark.parametrize(
    "step",
    [
        {"controller_size": (4, 5)},
        {"num_read_heads": (1, 2)},
        {"slot_width": (3, 4)},
        {"num_write_heads": (1, 2)},
        {"shift_range": (1, 2)},
        {"addressing": ("content", "content_and_location")},
        {"controller": ("feedforward", "rnn")},
        *({"memory": ("none", memory)} for memory in ("tape", "ntm", "dnc")),
        {"memory": ("tape", "ntm")},
    ],
    ids=lambda step: " ".join(map(str, [*step, *step[next(iter(step))]])),
)
def test_a_single_step_of_growth_keeps_the_function(step):
    """Each to the last digits, so that no step hides behind the tolerance of many."""
    before, after = ({name: ends[index] for name, ends in step.items()} for index in (0, 1))
    for seed in range(5):
        genome = make_genome(GROWING, seed, **before)
        grown = resized(genome, seed, GROWING, **after)
        np.testing.assert_allclose(outputs(grown, False, GROWING), outputs(genome, False, GROWING), atol=2e-6)


# Places of the padded gates (all four) where a kind's sum from inputs, from units and the bias come from, by its own.
MOVED = {
    ("rnn", "lstm"): ({2: 0}, {2: 0}, {2: 0}),
    ("feedforward", "lstm"): ({2: 0}, {}, {2: 0}),
    ("rnn", "gru"): ({2: 0}, {3: 0}, {2: 0}),
    ("lstm", "gru"): ({0: 0, 1: 1, 2: 2}, {0: 0, 1: 1, 3: 2}, {0: 0, 1: 1, 2: 2}),
    ("gru", "lstm"): ({0: 0, 1: 1, 2: 2}, {0: 0, 1: 1, 2: 3}, {0: 0, 1: 1, 2: 2}),
    ("gru", "rnn"): ({0: 2}, {0: 3}, {0: 2}),
    ("lstm", "feedforward"): ({0: 2}, {}, {0: 2}),
    ("lstm", "lstm"): tuple({place: place for place in range(4)} for _ in range(3)),
}


@pytest.mark.parametrize(("was", "becomes"), MOVED, ids="-".join)
def test_what_enters_a_unit_stays_that_when_the_controller_changes(was, becomes):
    genome = make_genome(GROWING, seed=7, controller=was)
    changed = resized(genome, 0, GROWING, controller=becomes)
    exists = mask_of(changed, GROWING)["controller"]
    arrays = (("input_kernel", 1), ("read_kernel", 2)), (("recurrent_kernel", 1),), (("bias", 0),)
    for named, places in zip(arrays, MOVED[was, becomes], strict=True):
        for name, axis in named:
            before, after, here = (
                np.moveaxis(np.asarray(of), axis, 0)
                for of in (genome.params["controller"][name], changed.params["controller"][name], exists[name])
            )
            for place in range(here.shape[0]):
                if place in places:
                    np.testing.assert_array_equal(after[place], np.where(here[place], before[places[place]], 0))
                else:  # none of the weights before, but fresh ones where the kind has any
                    assert not np.any(np.isin(after[place][here[place] & (after[place] != 0)], before))


def test_another_number_of_slots_changes_the_function():
    genome = make_genome(TINY, seed=3)
    assert np.abs(outputs(resized(genome, num_slots=7)) - outputs(genome)).max() > 1e-3


@pytest.mark.parametrize("memory", ["tape", "ntm", "dnc"])
def test_a_first_memory_can_learn(memory):
    """Were it closed inside as well as outside, no gradient would reach it."""
    grown = resized(make_genome(GROWING, seed=6, memory="none"), 0, GROWING, memory=memory)

    def loss(params):
        return jnp.sum(forward(GROWING)(grown.replace(params=params), make_inputs())[0] ** 2)

    gradient = jax.grad(loss)(grown.params)
    assert float(jnp.abs(gradient["output"]["read_kernel"]).max()) > 1e-4
    assert float(jnp.abs(grown.params["write"]["add_kernel"]).max()) > 0
    assert not np.any(grown.params["output"]["read_kernel"])


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
    assert float(jnp.abs(gradient["write"]["erase_bias"][1]).max()) > 0  # which can open its erase gate


@functools.cache
def many_mutations(gene_rate, local_share, sigma, change_rate=1.0):
    rates = VariationRates(local_share=local_share, controller_sigma=sigma, change_rate=change_rate)
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


def test_the_architecture_changes_in_a_share_of_the_offspring_only():
    """Where every gene mutates, a child that may change keeps this one redrawn gene of 3 values in 1 of 3 cases."""
    mutants = many_mutations(1.0, 0.0, 16.0, 0.25)
    changed = {name: np.asarray(getattr(mutants, name)) != genes().get(name, 1) for name in TINY.ranges}
    assert np.mean(changed["num_slots"]) == pytest.approx(0.25 * 2 / 3, abs=0.03)
    # Genes change together or not at all: by themselves they would leave almost no child as it was.
    assert np.mean(~np.any(list(changed.values()), axis=0)) == pytest.approx(0.75, abs=0.05)


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


def slerp_by_hand(one, two, share):
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    if abs(cosine) > 0.9995:
        return (1 - share) * one + share * two
    angle = np.arccos(cosine)
    return (np.sin((1 - share) * angle) * one + np.sin(share * angle) * two) / np.sin(angle)


def test_slerp_stays_on_the_arc_between_two_vectors():
    one, two = np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)
    one, two = one / np.linalg.norm(one), two / np.linalg.norm(two)
    for share in (0.0, 0.3, 1.0):
        found = np.asarray(slerp(jnp.asarray(one), jnp.asarray(two), jnp.asarray(share)))
        np.testing.assert_allclose(found, slerp_by_hand(one, two, share), rtol=1e-5, atol=1e-6)
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_slerp_of_vectors_without_an_arc_is_their_mean(factor):
    one = np.arange(1, 5, dtype=np.float32)
    found = slerp(jnp.asarray(one), jnp.asarray(factor * one), jnp.asarray(0.25))
    np.testing.assert_allclose(found, 0.75 * one + 0.25 * factor * one, rtol=1e-6)


def test_crossover_by_slerp_has_one_share_before_a_place_and_its_complement_behind():
    """Of the weights that both have, in their order; the others are the child's own."""
    child, second = make_genome(TINY, seed=1), make_genome(TINY, seed=2, controller_size=3, num_read_heads=2)
    here, there = mask_of(child, TINY), mask_of(second, TINY)
    cross = jax.jit(lambda key: cross_weights(key, child, second, here, there, crossover="slerp").params)
    one, two, own, others = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (child.params, second.params, here, there)
    )
    shared = own & others
    assert 0 < shared.sum() < own.sum()
    places = set()
    for seed in range(4):
        key_place, key_share = jax.random.split(jax.random.key(seed))
        place = int(np.floor(float(jax.random.uniform(key_place)) * shared.sum()))
        share = float(jax.random.uniform(key_share))
        first, last = np.flatnonzero(shared)[:place], np.flatnonzero(shared)[place:]
        expected = one.copy()
        expected[first] = slerp_by_hand(one[first], two[first], share)
        expected[last] = slerp_by_hand(one[last], two[last], 1 - share)
        found = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(cross(jax.random.key(seed)))])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        places.add(place)
    assert len(places) == 4


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
