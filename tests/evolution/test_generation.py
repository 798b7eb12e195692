"""One generation: descent, warming_up, failures, inheritance, the champion, the curriculum, fitness."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etm_jax.networks._evaluation import learning_rate_scale
from helpers import assert_trees_equal
from tiny import BOUNDS, CONFIG, COPY, SUITE, after, changed, compiled_step, problem

from etm_jax.config import SelectionConfig
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import crown, next_difficulty
from etm_jax.evolution._propose import propose, scored
from etm_jax.evolution._state import NO_PARENT
from etm_jax.models._model import Result
from etm_jax.networks import Bounds, LifetimeConfig, VariationRates
from etm_jax.networks.genome._architecture import largest, smallest
from etm_jax.networks.genome._cost import efficiency, multiply_adds
from etm_jax.selection import TournamentSelection
from etm_jax.task import CurriculumConfig


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
    assert np.all(np.asarray(after(1)[0].population.parents) == NO_PARENT)


def ready(suite=SUITE, **changes):
    """A first state whose founders count as evaluated, so that a generation before warming_up ends keeps them."""
    return changed(after(0, suite, **changes)[0], scores__alive=np.ones(CONFIG.population_size))


def test_founders_settle_before_selection_begins():
    """Before the generation `warmup_generations`, which is 1, nobody is replaced."""
    first = ready()
    second, _ = compiled_step()(first)
    third, _ = compiled_step()(second)
    before, settled, later = (state.population for state in (first, second, third))
    np.testing.assert_array_equal(before.ids, settled.ids)
    assert_trees_equal(before.genomes.architecture, settled.genomes.architecture)
    # They learn on.
    assert np.any(np.asarray(before.genomes.params["output"]["bias"]) != settled.genomes.params["output"]["bias"])
    assert set(np.asarray(later.ids).tolist()) - set(np.asarray(before.ids).tolist())


@pytest.mark.slow
def test_founders_settle_for_as_long_as_the_settings_say():
    changes = {"selection": SelectionConfig(warmup_generations=2)}
    first, second, third = (after(count, COPY, **changes)[0].population for count in (1, 2, 3))
    np.testing.assert_array_equal(first.ids, second.ids)
    assert_trees_equal(first.genomes.architecture, second.genomes.architecture)
    assert set(np.asarray(third.ids).tolist()) - set(np.asarray(first.ids).tolist())


@functools.cache
def offer():
    """`propose` with three elites, jitted."""
    selector = TournamentSelection(num_elites=3)
    return jax.jit(
        lambda key, population, warming_up: propose(
            key, population, problem().family, selector, VariationRates(), warming_up=warming_up
        )
    )


def judged(population, fitness):
    """The population with this fitness; NaN has failed."""
    fitness = np.asarray(fitness, np.float32)
    scores = dataclasses.replace(population.scores, fitness=fitness, alive=np.isfinite(fitness))
    return jax.tree.map(np.asarray, dataclasses.replace(population, scores=scores))


def test_a_founder_that_fails_while_settling_is_drawn_afresh():
    failed = judged(after(1)[0].population, [1.0, np.nan, 0.2, 0.1])
    offered = offer()(jax.random.key(5), failed, True)
    before, now = np.asarray(failed.ids), np.asarray(offered.ids)
    assert (now == before).tolist() == [True, False, True, True]
    assert now[1] >= int(failed.next_id)
    assert np.asarray(offered.parents)[1].tolist() == [NO_PARENT, NO_PARENT]


def test_whoever_has_no_finite_fitness_has_failed():
    state, _ = after(1)
    marked = jax.jit(lambda fitness: scored(state.population, state.population.genomes, fitness))
    fitness = jnp.asarray([jnp.nan, 0.5, jnp.inf, 0.1])
    assert np.asarray(marked(fitness).alive).tolist() == [False, True, False, True]


def test_nan_individuals_fail_are_counted_and_have_no_children():
    population = judged(after(1)[0].population, [np.nan, np.nan, 0.2, 0.1])

    def poison(array):
        array = np.array(array)
        if array.dtype == np.float32:
            array[:2] = np.nan
        return array

    failed = dataclasses.replace(population, genomes=jax.tree.map(poison, population.genomes))
    offered = offer()(jax.random.key(5), failed, False)
    sound = set(np.asarray(failed.ids)[2:].tolist())
    for own, pair in zip(np.asarray(offered.ids), np.asarray(offered.parents), strict=True):
        assert set(pair.tolist()) <= sound | {NO_PARENT} or own in sound
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(offered.genomes.params))


def test_learning_that_diverges_fails_and_the_run_goes_on():
    """A rate of NaN leaves no finite weight; nobody is a parent, so the next generation is drawn afresh."""
    state = changed(ready(), genomes__learning__learning_rate=np.full(CONFIG.population_size, np.nan))
    state, metrics = compiled_step()(state)
    assert not np.any(np.asarray(metrics["alive"]))
    assert int(state.champion_id) == NO_PARENT
    _, metrics = compiled_step()(state)
    assert np.all(np.asarray(metrics["parents"]) == NO_PARENT)
    assert np.all(np.asarray(metrics["alive"]))


def test_an_optimiser_that_is_given_replaces_that_of_the_settings():
    given = optax.sgd(0.5)
    assert make_problem(CONFIG, SUITE, optimiser=given).make_optimiser(None) is given


@pytest.mark.slow
@pytest.mark.parametrize("inheritance", ["darwinian", "lamarckian"])
def test_a_population_of_one_lives(inheritance):
    lifetime = dataclasses.replace(CONFIG.lifetime, inheritance=inheritance)
    state, metrics = after(2, COPY, population_size=1, lifetime=lifetime)
    assert bool(metrics["alive"][0])
    assert int(state.champion_id) != NO_PARENT


@pytest.mark.parametrize(
    ("suite", "inheritance"),
    [(COPY, "darwinian"), (COPY, "baldwinian"), (SUITE, "lamarckian")],
    ids=["darwinian", "baldwinian", "lamarckian"],
)
def test_what_is_inherited(inheritance, suite):
    """Genomes carry learnt weights under Lamarck only; the champion, as it was scored, under Baldwin too."""
    changes = {"lifetime": dataclasses.replace(CONFIG.lifetime, inheritance=inheritance)}
    start = ready(suite, **changes)  # a generation that keeps its members as they are
    state, metrics = compiled_step(suite, **changes)(start)
    before, now = (np.asarray(one.population.genomes.params["output"]["bias"]) for one in (start, state))
    assert np.array_equal(before, now) == (inheritance != "lamarckian")
    champion = np.asarray(state.champion.params["output"]["bias"])
    born = before[np.asarray(metrics["ids"]).tolist().index(int(state.champion_id))]
    assert np.array_equal(champion, born) == (inheritance == "darwinian")


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
    one, other = np.zeros(3, np.float32), np.ones(3, np.float32)
    crowned = jax.jit(lambda reign, claim: crown((one, jnp.asarray(1), reign), (other, jnp.asarray(2), claim)))

    def duel(reign, claim):
        genome, identity, fitness = crowned(reign, claim)
        assert np.all(np.asarray(genome) == int(identity) - 1)
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
