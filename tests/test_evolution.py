"""One generation: descent, failures, learning, the champion, the curriculum, devices, and evosax's protocol."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers import assert_trees_close, assert_trees_equal
from tiny import BOUNDS, CONFIG, SUITE, compiled_init, compiled_step, problem

from etm_jax.config import CurriculumConfig, LifetimeConfig, SelectionConfig
from etm_jax.evolution import (
    NOBODY,
    EvolvingTuringMachine,
    Result,
    init,
    learn,
    make_optimiser,
    make_problem,
    member,
    propose,
    replicated,
    score,
    scored,
    step,
    steps,
)
from etm_jax.evolution._generation import crown, learning_rate_scale, next_difficulty
from etm_jax.genomes import Bounds, compact, efficiency, largest, mask_of, multiply_adds, pad, smallest
from etm_jax.selection import TournamentSelection
from etm_jax.variation import VariationRates


@functools.cache
def after(generations, **changes):
    """State and metrics after some generations."""
    state, metrics = compiled_init(**changes)(jax.random.key(0)), {}
    for _ in range(generations):
        state, metrics = compiled_step(**changes)(state)
    return state, metrics


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


def test_elites_keep_their_id_and_children_name_their_parents():
    first, _ = after(1)
    second, _ = after(2)
    old, new = set(np.asarray(first.population.ids).tolist()), np.asarray(second.population.ids)
    assert len(set(new.tolist())) == 4
    ranked = np.asarray(first.population.ids)[np.argsort(-np.asarray(first.population.fitness))]
    assert new[:2].tolist() == ranked[:2].tolist()
    assert all(set(pair) <= old for pair in np.asarray(second.population.parents)[2:].tolist())
    assert int(second.population.next_id) > new.max()


def test_a_first_generation_descends_from_nobody():
    assert np.all(np.asarray(after(1)[0].population.parents) == NOBODY)


def test_founders_settle_before_selection_begins():
    changes = {"selection": SelectionConfig(settle_generations=2)}
    first, second, third = (after(count, **changes)[0].population for count in (1, 2, 3))
    np.testing.assert_array_equal(first.ids, second.ids)
    assert_trees_equal(first.genomes.architecture, second.genomes.architecture)
    assert np.any(first.genomes.params["output"]["bias"] != second.genomes.params["output"]["bias"])  # they learn on
    assert set(np.asarray(third.ids).tolist()) - set(np.asarray(first.ids).tolist())


def test_a_founder_that_fails_while_settling_is_drawn_afresh():
    state, _ = after(1)
    failed = scored(state.population, state.population.genomes, jnp.asarray([1.0, jnp.nan, 0.2, 0.1]))
    offered = jax.jit(
        lambda key: propose(key, failed, BOUNDS, TournamentSelection(), VariationRates(), settling=jnp.asarray(True))
    )(jax.random.key(5))
    before, now = np.asarray(failed.ids), np.asarray(offered.ids)
    assert (now == before).tolist() == [True, False, True, True]
    assert now[1] >= int(failed.next_id)
    assert np.asarray(offered.parents)[1].tolist() == [NOBODY, NOBODY]


def test_nan_individuals_fail_are_counted_and_have_no_children():
    state, _ = after(1)
    poisoned = jnp.asarray([True, True, False, False])
    genomes = jax.tree.map(
        lambda array: (
            jnp.where(poisoned.reshape(-1, *(1,) * (array.ndim - 1)), jnp.nan, array)
            if array.dtype == jnp.float32
            else array
        ),
        state.population.genomes,
    )
    failed = scored(state.population, genomes, jnp.where(poisoned, jnp.nan, jnp.asarray([1.0, 1.0, 0.2, 0.1])))
    assert np.asarray(failed.alive).tolist() == [False, False, True, True]
    offered = jax.jit(lambda key: propose(key, failed, BOUNDS, TournamentSelection(num_elites=3), VariationRates()))(
        jax.random.key(5)
    )
    sound = set(np.asarray(failed.ids)[2:].tolist())
    for own, pair in zip(np.asarray(offered.ids), np.asarray(offered.parents), strict=True):
        assert set(pair.tolist()) <= sound | {NOBODY} or own in sound
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(offered.genomes.params))


def test_learning_that_diverges_fails_and_the_run_goes_on():
    """Updates of NaN leave no finite weight; nobody is a parent, so the next generation is drawn afresh."""
    made = make_problem(CONFIG, SUITE, optimiser=optax.scale(float("nan")))
    advance = jax.jit(lambda state: step(made, state))
    state, metrics = advance(compiled_init()(jax.random.key(0)))
    assert not np.any(np.asarray(metrics["alive"]))
    assert int(state.champion_id) == NOBODY
    _, metrics = advance(state)
    assert np.all(np.asarray(metrics["parents"]) == NOBODY)


def test_a_population_of_one_lives():
    state, metrics = after(2, population_size=1)
    assert bool(metrics["alive"][0])
    assert int(state.champion_id) != NOBODY


@pytest.mark.parametrize("inheritance", ["darwinian", "baldwinian", "lamarckian"])
def test_what_is_inherited(inheritance):
    """Survivors of the next proposal carry learnt weights under Lamarck only."""
    changes = {"lifetime": LifetimeConfig(steps=2, batch_size=2, inheritance=inheritance)}
    made = problem(**changes)
    start = compiled_init(**changes)(jax.random.key(0))
    state, _ = compiled_step(**changes)(start)
    key_propose = jax.random.split(start.key, 3)[1]
    born = jax.jit(lambda key: propose(key, start.population, BOUNDS, made.selector, CONFIG.variation))(key_propose)
    same = np.allclose(
        np.asarray(born.genomes.params["output"]["bias"]),
        np.asarray(state.population.genomes.params["output"]["bias"]),
    )
    assert same == (inheritance != "lamarckian")
    champion = np.asarray(state.champion.params["output"]["bias"])
    assert np.any(champion != 0) == (inheritance != "darwinian")  # biases start at 0 and only learning moves them


@functools.cache
def learnt(seed):
    genome = member(after(1)[0].population.genomes, 0)
    config = LifetimeConfig(steps=60, batch_size=8)
    optimiser = optax.adam(1e-2)

    @jax.jit
    def live(key):
        return learn(key, genome, jnp.ones(2), 1.0, bounds=BOUNDS, suite=SUITE, config=config, optimiser=optimiser)

    return genome, live(jax.random.key(seed))


def test_learning_lowers_the_loss_on_fresh_episodes():
    judge = jax.jit(
        lambda genome: score(jax.random.key(99), genome, jnp.ones(2), bounds=BOUNDS, suite=SUITE, num_episodes=64).loss
    )
    before, later = learnt(0)
    assert float(judge(later)) < float(judge(before)) - 0.01


def test_learning_leaves_weights_that_do_not_exist_alone():
    before, later = learnt(0)
    for old, new, exists in zip(
        *map(jax.tree.leaves, (before.params, later.params, mask_of(before, BOUNDS))), strict=True
    ):
        absent = ~np.asarray(exists)
        np.testing.assert_array_equal(np.asarray(old)[absent], np.asarray(new)[absent])


def result(performance, finite=None):
    performance = jnp.asarray(performance)
    size = performance.shape[0]
    finite = jnp.ones(size, bool) if finite is None else jnp.asarray(finite)
    return Result(performance=performance, accuracy=performance, loss=jnp.zeros(size), finite=finite)


def test_difficulty_rises_for_the_task_that_the_median_individual_masters():
    made = problem(curriculum=CurriculumConfig(start=0.5, step=0.3, threshold=0.8))
    did = result([[0.9, 0.1], [0.85, 0.9], [0.9, 0.2]])
    np.testing.assert_allclose(next_difficulty(made, jnp.asarray([0.5, 0.5]), did), [0.8, 0.5])
    np.testing.assert_allclose(next_difficulty(made, jnp.asarray([0.9, 0.5]), did), [1.0, 0.5])


def test_a_failed_individual_masters_nothing():
    made = problem(curriculum=CurriculumConfig(start=0.5, step=0.3, threshold=0.8))
    did = result([[0.9, 0.9], [0.9, 0.9], [0.9, 0.9]], [True, False, False])
    np.testing.assert_allclose(next_difficulty(made, jnp.asarray([0.5, 0.5]), did), [0.5, 0.5])


def test_the_champion_is_replaced_by_a_fitter_challenger_only():
    genome = member(after(1)[0].population.genomes, 0)

    def duel(reign, claim):
        champion = (genome, jnp.asarray(1), jnp.asarray(reign))
        challenger = (genome, jnp.asarray(2), jnp.asarray(claim))
        _, identity, fitness = crown(champion, challenger)
        return int(identity), float(fitness)

    assert duel(0.5, 0.6) == (2, pytest.approx(0.6))
    assert duel(0.6, 0.5) == (1, pytest.approx(0.6))
    assert duel(0.5, 0.5) == (2, 0.5)
    assert duel(jnp.nan, 0.1) == (2, pytest.approx(0.1))
    assert duel(0.1, jnp.nan) == (1, pytest.approx(0.1))
    assert duel(jnp.nan, jnp.nan) == (1, -jnp.inf)


def test_the_learning_rate_falls_along_a_cosine():
    made = problem(max_generations=11, lifetime=LifetimeConfig(final_learning_rate=0.2))
    scales = [float(learning_rate_scale(made, jnp.asarray(generation))) for generation in (0, 5, 10)]
    assert scales == pytest.approx([1.0, 0.6, 0.2])


def test_efficiency_is_one_for_the_cheapest_and_zero_for_the_dearest_and_falls_with_the_logarithm():
    bounds = Bounds()
    low, high = (multiply_adds(end(bounds), 9, 8) for end in (smallest, largest))
    assert float(efficiency(smallest(bounds), bounds, 9, 8)) == pytest.approx(1)
    assert float(efficiency(largest(bounds), bounds, 9, 8)) == pytest.approx(0, abs=1e-6)
    middle = smallest(bounds).replace(controller_size=jnp.asarray(90))
    cost = float(multiply_adds(middle, 9, 8))
    expected = (np.log(float(high)) - np.log(cost)) / np.log(float(high) / float(low))
    assert float(efficiency(middle, bounds, 9, 8)) == pytest.approx(expected, rel=1e-5)


def test_multiply_adds_counted_by_hand():
    """H=4, W=3, N=5, R=1, one write head, S=1, 2 inputs, 1 output."""
    architecture = smallest(BOUNDS)
    controller = 4 * 4 * (2 + 3 + 4)
    interface = 4 * (2 * (3 + 1 + 5) + 2 * 3)
    addressing = 2 * 5 * (3 + 3 + 4) + 5 * 3
    memory = 3 * 5 * 3 + 5 * 3
    content = architecture.replace(addressing=jnp.asarray(1))
    assert float(multiply_adds(content, 2, 1)) == controller + interface + addressing + memory + (4 + 3)


def strategy():
    return EvolvingTuringMachine(8, BOUNDS, input_size=3, output_size=2)


def test_ask_and_tell_run_in_a_scan_and_minimise():
    """Cost = slots + width: evolution drives both to their lower bounds."""
    machine = strategy()
    params = machine.default_params

    def generation(state, key):
        key_ask, key_tell = jax.random.split(key)
        population, state = machine.ask(key_ask, state, params)
        genes = population.architecture
        cost = (genes.num_slots + genes.slot_width).astype(float)
        state, metrics = machine.tell(key_tell, population, cost, state, params)
        return state, metrics["best_fitness"]

    start = machine.init(jax.random.key(0), params)
    _, best = jax.jit(lambda state: jax.lax.scan(generation, state, jax.random.split(jax.random.key(1), 25)))(start)
    assert float(best[-1]) == BOUNDS.num_slots[0] + BOUNDS.slot_width[0]
    assert np.all(np.diff(np.asarray(best)) <= 0)  # elites make it monotone


def test_tell_counts_nan_as_failed():
    machine = strategy()
    params = machine.default_params
    population, state = machine.ask(jax.random.key(1), machine.init(jax.random.key(0), params), params)
    cost = jnp.arange(8.0).at[0].set(jnp.nan)
    state, metrics = machine.tell(jax.random.key(2), population, cost, state, params)
    assert int(metrics["failed"]) == 1
    assert float(metrics["best_fitness"]) == 1.0


def test_a_collapsed_population_regains_its_diversity():
    """Clones under selection that favours nothing: the boosted gene rate spreads them again."""
    machine = strategy()
    rates = VariationRates(gene_rate=0.05, diversity_floor=0.2)
    population, state = machine.ask(jax.random.key(1), machine.init(jax.random.key(0), rates), rates)
    clones = jax.tree.map(lambda array: jnp.repeat(array[:1], 8, axis=0), population)
    state, _ = machine.tell(jax.random.key(2), clones, jnp.zeros(8), state, rates)

    def generation(state, key):
        population, state = machine.ask(key, state, rates)
        state, metrics = machine.tell(key, population, jnp.zeros(8), state, rates)
        return state, metrics["diversity"]

    _, diversity = jax.jit(lambda state: jax.lax.scan(generation, state, jax.random.split(jax.random.key(3), 30)))(
        state
    )
    assert float(jnp.mean(diversity[-10:])) > 0.1


def test_any_optax_chain_learns():
    """Two steps of sign descent move a bias by 0, or by twice its rate."""
    config = dataclasses.replace(CONFIG, lifetime=LifetimeConfig(steps=2, batch_size=2, warmup_steps=0))
    made = make_problem(config, SUITE, optimiser=optax.sign_sgd(0.01))
    state = jax.jit(lambda key: init(made, key))(jax.random.key(0))
    state, _ = jax.jit(lambda state: step(made, state))(state)
    moved = np.abs(np.asarray(state.population.genomes.params["output"]["bias"]))
    np.testing.assert_allclose(np.minimum(moved, np.abs(moved - 0.02)), 0, atol=1e-7)
    assert moved.max() > 0


def test_adaptive_learning_does_not_see_the_padding():
    """The laws' norms and cosines count what exists: in wider bounds the same individual learns the same."""
    genome = member(after(1)[0].population.genomes, 0)
    wide = Bounds(
        num_slots=(5, 9), slot_width=(3, 7), num_read_heads=(1, 3), num_write_heads=(1, 3), controller_size=(4, 9)
    )
    config = LifetimeConfig(steps=6, batch_size=4)

    def lived(genome, bounds):
        optimiser = make_optimiser(dataclasses.replace(config, optimiser="ae_adam"))
        settings = {"bounds": bounds, "suite": SUITE, "config": config, "optimiser": optimiser}
        learnt = jax.jit(lambda genome: learn(jax.random.key(3), genome, jnp.ones(2), 1.0, **settings))(genome)
        return nnx.state(compact(learnt, bounds), nnx.Param)

    narrow = lived(genome, BOUNDS)
    assert_trees_close(lived(pad(compact(genome, BOUNDS), wide), wide), narrow, rtol=1e-3, atol=1e-5)
