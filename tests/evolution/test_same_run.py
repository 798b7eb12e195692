"""The same run again: the same key, one chunk or several, other devices and batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_close, assert_trees_equal
from tiny import COPY, DARWINIAN, after, compiled_init, compiled_step, problem

from etm_jax.evolution._generation import step
from etm_jax.evolution._run import run
from etm_jax.parallel._devices import replicated


def test_the_same_key_gives_the_same_run():
    state = compiled_init()(jax.random.key(0))
    for _ in range(2):
        state, _ = compiled_step()(state)
    assert_trees_equal(jax.random.key_data(state.key), jax.random.key_data(after(2)[0].key))
    assert_trees_equal(state.population, after(2)[0].population)


def test_a_second_generation_compiles_nothing():
    made, compiled = problem(), []

    def count(event, duration, **about):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    whole = replicated(made.mesh)
    advance = jax.jit(lambda state: step(made, state), in_shardings=whole, out_shardings=whole)
    start = compiled_init()(jax.random.key(0))
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        state, _ = advance(start)
        assert compiled  # the listener hears
        compiled.clear()
        state, _ = advance(state)
        advance(state)
        assert compiled == []
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


def test_several_generations_in_one_chunk_are_the_same_run():
    """Of three chunks of two generations the last has one to do, so its second row is void and left out."""
    outcome = run(problem())
    apart, last = after(5)
    assert len(outcome.history) == int(outcome.state.generation) == 5
    assert outcome.history.rows[-1]["best_fitness"] == pytest.approx(float(jnp.max(last.fitness)), rel=1e-5)
    assert_trees_equal(outcome.state.population.ids, apart.population.ids)
    assert_trees_equal(outcome.state.population.genomes.architecture, apart.population.genomes.architecture)


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_several_devices_are_the_same_run_as_one(devices):
    """XLA fuses each program in its own way, so weights agree to float32 rounding, descent and genes exactly."""
    one, _ = after(2)
    many, _ = after(2, devices=devices)
    assert problem(devices=1).mesh.size == 1 and problem(devices=devices).mesh.size == devices
    for name in ("ids", "parents", "alive"):
        np.testing.assert_array_equal(getattr(many.population, name), getattr(one.population, name))
    assert_trees_equal(many.population.genomes.architecture, one.population.genomes.architecture)
    assert_trees_close(many.population.genomes.params, one.population.genomes.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(many.population.fitness, one.population.fitness, atol=1e-5)


def test_one_batch_of_all_scores_as_one_by_one():
    """A wide vmap orders sums in another way, so floats agree to rounding."""
    state = compiled_init(COPY)(jax.random.key(0))
    found = []
    for size in (1, 4):
        made = problem(COPY, individuals_per_batch=size, lifetime=DARWINIAN)
        score = jax.jit(
            lambda state, made=made: made.model.evaluate(
                made.context, state.key, state.population.genomes, state.champion, state.difficulty
            )
        )
        found.append(score(state))
    assert_trees_close(found[0], found[1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_one_batch_of_all_is_the_same_run_as_one_by_one():
    """A wide vmap orders sums in another way, so floats agree to rounding and descent exactly."""
    wide, _ = after(1, individuals_per_batch=4)
    narrow, _ = after(1)
    np.testing.assert_array_equal(wide.population.ids, narrow.population.ids)
    assert_trees_equal(wide.population.genomes.architecture, narrow.population.genomes.architecture)
    np.testing.assert_allclose(wide.population.fitness, narrow.population.fitness, atol=1e-5)


def test_devices_are_as_many_as_divide_the_population():
    assert problem(population_size=3, devices=4).mesh.size == 3
    assert problem(population_size=1, devices=0).mesh.size == 1
    assert problem(devices=0).mesh.size == 4


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="devices must be at most 4"):
        problem(devices=5)
