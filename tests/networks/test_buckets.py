"""Size buckets: networks compute in smaller padded shapes what they compute at full padding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from helpers import LARGER, TINY, assert_trees_close, assert_trees_equal, forward, genes, make_genome, make_inputs

from etm_jax.evolution._buckets import choose_buckets as choose
from etm_jax.evolution._buckets import next_choice
from etm_jax.evolution._generation import step
from etm_jax.evolution._run import run
from etm_jax.networks import Bounds, mask_of
from etm_jax.networks._batches import groups
from etm_jax.networks.genome._buckets import bucket_costs, choose_buckets, crop, fitting, uncrop
from etm_jax.networks.genome._genes import architecture_from, multiply_adds
from etm_jax.networks.learning._lifetime import default_micro_batch
from etm_jax.parallel._devices import replicated

SMALLER = dataclasses.replace(
    TINY, num_slots=(5, 6), slot_width=(2, 3), num_read_heads=(1, 1), num_write_heads=(1, 2), controller_size=(3, 4)
)
CHOSEN = genes(num_slots=6, slot_width=3, num_read_heads=1, num_write_heads=2, controller_size=3)


def zero_where_absent(genome):
    mask = jax.jit(lambda genome: mask_of(genome, TINY))(genome)
    params = jax.tree.map(lambda array, exists: np.where(exists, array, np.float32(0)), genome.params, mask)
    return dataclasses.replace(genome, params=params)


def test_a_genome_computes_in_a_bucket_what_it_computes_in_its_bounds(native):
    genome = make_genome(TINY, **CHOSEN)
    small = jax.jit(lambda genome: crop(genome, SMALLER))(genome)
    assert small.params["controller"]["recurrent_kernel"].shape == (4, 4, 4)
    assert small.params["heads"]["key_bias"].shape == (3, 3)
    np.testing.assert_allclose(
        forward(SMALLER, native)(small, make_inputs()).outputs,
        forward(TINY, native)(genome, make_inputs()).outputs,
        rtol=1e-5,
        atol=1e-6,
    )


def test_cropping_and_uncropping_keeps_every_weight_that_exists():
    genome = zero_where_absent(make_genome(TINY, **CHOSEN))
    there_and_back = jax.jit(lambda genome: uncrop(crop(genome, SMALLER), TINY))
    assert_trees_equal(there_and_back(genome), genome)


def test_a_network_fits_a_bucket_that_is_as_large_in_everything():
    fits = architecture_from(CHOSEN)
    wider = architecture_from({**CHOSEN, "slot_width": 4})
    assert fitting(fits, [SMALLER, TINY]).tolist() == [True, True]
    assert fitting(wider, [SMALLER, TINY]).tolist() == [False, True]


@pytest.fixture(scope="module")
def classic():
    """Fifty random architectures of the classic bounds."""
    return jax.jit(jax.vmap(lambda key: Bounds().random_architecture(key)))(jax.random.split(jax.random.key(0), 50))


def efficiency_in(buckets, architectures):
    """Useful over executed multiply-adds, counted out one by one."""
    costs = np.asarray(bucket_costs(buckets, 9, 8))
    paid = [min(cost for cost, fits in zip(costs, row, strict=True) if fits) for row in fitting(architectures, buckets)]
    return float(np.sum(multiply_adds(architectures, 9, 8)) / np.sum(paid))


def test_more_buckets_compute_with_less_padding(classic):
    reached = [
        efficiency_in(choose_buckets(classic, Bounds(), 9, 8, most=most, enough=1.0), classic)
        for most in (1, 4, 12, 51)
    ]
    assert reached[0] < 0.3 < reached[1] < 0.5 < reached[2] < 0.7 < reached[3]
    assert reached[3] > 0.8


def test_buckets_are_few_cheapest_first_and_hold_every_individual(classic):
    buckets = choose_buckets(classic, Bounds(), 9, 8, most=8, enough=1.0)
    assert len(buckets) <= 8
    assert buckets[-1] == Bounds()
    costs = np.asarray(bucket_costs(buckets, 9, 8))
    assert np.all(np.diff(costs) > 0)
    assert all(bucket.num_slots[1] % 16 == 0 and bucket.controller_size[1] % 16 == 0 for bucket in buckets)


def test_no_more_buckets_than_the_padding_is_worth(classic):
    buckets = choose_buckets(classic, Bounds(), 9, 8, most=51, enough=0.5)
    assert 0.5 <= efficiency_in(buckets, classic) < 0.7
    assert len(buckets) < 15


def test_a_batch_computes_in_the_cheapest_bucket_that_holds_all_of_it():
    sizes = [CHOSEN, CHOSEN, {**CHOSEN, "slot_width": 4}]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[architecture_from(genes) for genes in sizes])
    members, buckets = groups(stacked, 2, [SMALLER, TINY])
    assert members.tolist() == [[0, 1], [2, 2]]
    assert buckets.tolist() == [0, 1]
    assert groups(stacked, 0, [SMALLER, TINY])[1].tolist() == [1]


@pytest.mark.slow
@pytest.mark.parametrize("individuals_per_batch", [1, 2])
def test_a_generation_in_buckets_equals_one_at_full_padding(individuals_per_batch):
    whole, record = tiny.after(2, native="off")
    problem = tiny.problem(individuals_per_batch=individuals_per_batch, size_buckets=3, native="off")
    state = tiny.compiled_init(size_buckets=3)(jax.random.key(0))
    state = choose(problem, state)
    bucketed = dataclasses.replace(problem, model=problem.model.in_buckets(state.buckets))
    assert 1 < len(bucketed.model.buckets) <= 3
    placed = replicated(problem.mesh)
    compiled = jax.jit(lambda state: step(bucketed, state), in_shardings=placed, out_shardings=placed)
    state = jax.device_put(state, placed)
    for _ in range(2):
        state, ours = compiled(state)
    assert_trees_equal(state.population.ids, whole.population.ids)
    assert_trees_equal(state.population.genomes.architecture, whole.population.genomes.architecture)
    assert_trees_close(state.population.genomes, whole.population.genomes, rtol=1e-4, atol=1e-5)
    assert_trees_close(ours.loss, record.loss, rtol=1e-4, atol=1e-5)
    assert ours.padding_efficiency > record.padding_efficiency


def test_buckets_are_chosen_again_on_time_and_not_between():
    assert [next_choice(10, 3, generation) for generation in (0, 1, 3, 8, 9)] == [3, 3, 6, 9, 10]
    assert tiny.problem().model.rebucket_every == 0  # with one bucket there is nothing to choose
    assert next_choice(tiny.CONFIG.max_generations, 0, 0) == tiny.CONFIG.max_generations
    problem = tiny.problem(size_buckets=3, rebucket_every=3, native="off")
    assert problem.model.rebucket_every == 3
    state = tiny.compiled_init(size_buckets=3)(jax.random.key(0))
    between = choose(problem, dataclasses.replace(state, generation=jnp.array(2, jnp.int32)))
    assert_trees_equal(between.buckets, state.buckets)
    assert np.any(choose(problem, state).buckets != state.buckets)


@pytest.mark.slow
def test_a_run_with_buckets_goes_through_several_choices():
    problem = tiny.problem(
        tiny.COPY,
        size_buckets=3,
        rebucket_every=2,
        max_generations=3,
        generations_per_chunk=1,
        lifetime=tiny.DARWINIAN,
        native="off",
    )
    outcome = run(problem)
    assert int(outcome.state.generation) == len(outcome.history) == 3
    assert len(problem.model.in_buckets(outcome.state.buckets).buckets) > 1
    assert all(0 < row["padding_efficiency"] <= 1 for row in outcome.history.rows)


def test_few_large_memories_run_side_by_side_on_a_cpu():
    assert default_micro_batch(Bounds(), 32) == 4  # 64 KiB each
    assert default_micro_batch(TINY, 32) == 0
    assert default_micro_batch(dataclasses.replace(LARGER, num_slots=(5, 2**14)), 32) == 1
    assert Bounds().largest().num_slots == 256
