"""One generation: descent, settling, failures, inheritance, the champion, the curriculum, fitness."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_equal
from tiny import BOUNDS, CONFIG, SUITE, after, compiled_init, compiled_step, problem

from etm_jax.config import CurriculumConfig, LifetimeConfig, SelectionConfig
from etm_jax.evolution import (
    NOBODY,
    Result,
    make_problem,
    member,
    propose,
    scored,
    step,
)
from etm_jax.evolution._evaluation import learning_rate_scale
from etm_jax.evolution._generation import crown, next_difficulty
from etm_jax.genomes import Bounds, efficiency, largest, multiply_adds, smallest
from etm_jax.selection import TournamentSelection
from etm_jax.variation import VariationRates


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
        lambda key: propose(
            key, failed, problem().family, TournamentSelection(), VariationRates(), settling=jnp.asarray(True)
        )
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
    offered = jax.jit(
        lambda key: propose(key, failed, problem().family, TournamentSelection(num_elites=3), VariationRates())
    )(jax.random.key(5))
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
    changes = {
        "lifetime": dataclasses.replace(CONFIG.lifetime, inheritance=inheritance),
        "variation": dataclasses.replace(CONFIG.variation, noise_rate=0.0),
    }
    made = problem(**changes)
    start = compiled_init(**changes)(jax.random.key(0))
    state, _ = compiled_step(**changes)(start)
    key_propose = jax.random.split(start.key, 3)[1]
    born = jax.jit(lambda key: propose(key, start.population, made.family, made.selector, made.config.variation))(
        key_propose
    )
    same = np.allclose(
        np.asarray(born.genomes.params["output"]["bias"]),
        np.asarray(state.population.genomes.params["output"]["bias"]),
    )
    assert same == (inheritance != "lamarckian")
    champion = np.asarray(state.champion.params["output"]["bias"])
    assert np.any(champion != 0) == (inheritance != "darwinian")  # biases start at 0; here only learning moves them


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
