"""The same run again: the same key, one trip or several, other devices and lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_close, assert_trees_equal
from tiny import after, compiled_init, compiled_step, problem

from etm_jax.config import LifetimeConfig
from etm_jax.evolution import (
    replicated,
    step,
    steps,
)


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


def test_several_generations_in_one_trip_are_the_same_run():
    made = problem()
    state = compiled_init()(jax.random.key(0))
    # Room for three in the trip, two to do: the third row is void.
    together, metrics = jax.jit(lambda s: steps(made, s, jnp.asarray(2), 3))(state)
    assert int(together.generation) == 2
    apart, last = after(2)
    np.testing.assert_allclose(metrics["fitness"][1], last["fitness"], rtol=1e-5)
    assert_trees_equal(together.population.ids, apart.population.ids)


@pytest.mark.parametrize("devices", [2, 4])
def test_several_devices_are_the_same_run_as_one(devices):
    """XLA fuses each program in its own way, so weights agree to float32 rounding, descent and genes exactly.

    Plain gradient descent: Adam's first steps divide rounding by rounding where a gradient is next to nothing.
    """
    lifetime = LifetimeConfig(steps=2, batch_size=2, optimiser="sgd", learning_rate=0.1)
    one, _ = after(2, devices=1, lifetime=lifetime)
    many, _ = after(2, devices=devices, lifetime=lifetime)
    assert problem(devices=devices, lifetime=lifetime).mesh.size == devices
    for name in ("ids", "parents", "alive"):
        np.testing.assert_array_equal(getattr(many.population, name), getattr(one.population, name))
    assert_trees_equal(many.population.genomes.architecture, one.population.genomes.architecture)
    assert_trees_close(many.population.genomes.params, one.population.genomes.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(many.population.fitness, one.population.fitness, atol=1e-5)


def test_all_lanes_at_once_are_the_same_run_as_one_by_one():
    """A wide vmap orders sums in another way, so floats agree to rounding and descent exactly."""
    wide, _ = after(1, lanes=4)
    narrow, _ = after(1, lanes=1)
    np.testing.assert_allclose(wide.population.fitness, narrow.population.fitness, atol=1e-5)


def test_devices_are_as_many_as_divide_the_population():
    assert problem(population_size=3, devices=4).mesh.size == 3
    assert problem(population_size=1).mesh.size == 1


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="devices must be at most 4"):
        problem(devices=5)
