"""One generation: descent, warm-up, failures, inheritance, the champion, the curriculum, fitness."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_equal
from tiny import BOUNDS, CONFIG, COPY, SUITE, after, changed, compiled_step, problem

from etm_jax.config import SelectionConfig
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import Contender, next_difficulty, update_champion
from etm_jax.evolution._propose import propose, scored
from etm_jax.evolution._state import NO_ID
from etm_jax.models._model import Result
from etm_jax.networks import Bounds, LifetimeConfig
from etm_jax.networks.genome._genes import multiply_adds
from etm_jax.networks.learning._optimisers import learning_rate_scale
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


def test_a_first_generation_has_no_parents():
    assert np.all(np.asarray(after(1)[0].population.parents) == NO_ID)


def test_the_record_has_what_the_lifetimes_took():
    """Multiply-adds are those of the live sizes, whatever computes them."""
    state, record = after(2)
    architectures = state.population.genomes.architecture
    needed = jax.jit(lambda genomes: problem(native="off").model.multiply_adds(genomes))(state.population.genomes)
    each = [jax.tree.map(lambda gene, one=one: gene[one], architectures) for one in range(CONFIG.population_size)]
    by_hand = [float(multiply_adds(one, SUITE.input_size, SUITE.output_size)) for one in each]
    np.testing.assert_allclose(record.spent["multiply_adds"], by_hand, rtol=1e-6)
    np.testing.assert_allclose(needed, by_hand, rtol=1e-6)
    assert len(set(by_hand)) > 1
    np.testing.assert_array_equal(record.spent["steps"], CONFIG.model.lifetime.steps)


def ready(suite=SUITE, **changes):
    """A first state whose individuals count as evaluated, so that a generation of the warm-up keeps them."""
    return changed(after(0, suite, **changes)[0], scores__alive=np.ones(CONFIG.population_size))


def test_first_individuals_warm_up_before_selection_begins():
    """Before the generation `warmup_generations`, which is 1, none is replaced."""
    first = ready()
    second, _ = compiled_step()(first)
    third, _ = compiled_step()(second)
    before, warm, later = (state.population for state in (first, second, third))
    np.testing.assert_array_equal(before.ids, warm.ids)
    assert_trees_equal(before.genomes.architecture, warm.genomes.architecture)
    # They learn on.
    assert np.any(np.asarray(before.genomes.params["output"]["bias"]) != warm.genomes.params["output"]["bias"])
    assert set(np.asarray(later.ids).tolist()) - set(np.asarray(before.ids).tolist())


@pytest.mark.slow
def test_the_warm_up_is_as_long_as_the_settings_say():
    changes = {"selection": SelectionConfig(warmup_generations=2)}
    first, second, third = (after(count, COPY, **changes)[0].population for count in (1, 2, 3))
    np.testing.assert_array_equal(first.ids, second.ids)
    assert_trees_equal(first.genomes.architecture, second.genomes.architecture)
    assert set(np.asarray(third.ids).tolist()) - set(np.asarray(first.ids).tolist())


@functools.cache
def proposing():
    """`propose` with three elites, jitted."""
    selector = TournamentSelection(num_elites=3)
    return jax.jit(
        lambda key, population, warming_up: propose(
            key, population, problem().model, selector, crossover_rate=0.1, immigrant_rate=0.0, warming_up=warming_up
        )
    )


def with_fitness(population, fitness):
    """The population with this fitness; NaN has failed."""
    fitness = np.asarray(fitness, np.float32)
    scores = dataclasses.replace(population.scores, fitness=fitness, alive=np.isfinite(fitness))
    return jax.tree.map(np.asarray, dataclasses.replace(population, scores=scores))


def test_an_individual_that_fails_in_the_warm_up_is_drawn_again():
    failed = with_fitness(after(1)[0].population, [1.0, np.nan, 0.2, 0.1])
    proposed = proposing()(jax.random.key(5), failed, True)
    before, now = np.asarray(failed.ids), np.asarray(proposed.ids)
    assert (now == before).tolist() == [True, False, True, True]
    assert now[1] >= int(failed.next_id)
    assert np.asarray(proposed.parents)[1].tolist() == [NO_ID, NO_ID]


def test_the_less_fit_half_is_drawn_again_where_the_warm_up_renews():
    population = with_fitness(after(1)[0].population, [1.0, np.nan, 0.2, 0.3])
    selector = TournamentSelection(num_elites=3)

    @jax.jit
    def renewed(population, renewing):
        return propose(
            jax.random.key(5), population, problem().model, selector,
            crossover_rate=0.1, immigrant_rate=0.0, warming_up=True, renewing=renewing,
        )  # fmt: skip

    before = np.asarray(population.ids)
    for renewing, remain in ((True, [True, False, False, True]), (False, [True, False, True, True])):
        proposed = renewed(population, renewing)
        assert (np.asarray(proposed.ids) == before).tolist() == remain
        assert np.all(np.asarray(proposed.parents)[~np.array(remain)] == NO_ID)
        assert np.asarray(proposed.scores.age).tolist() == [int(stays) for stays in remain]


def test_the_warm_up_renews_as_often_as_the_new_ones_have_as_long_before_selection():
    selection = SelectionConfig(warmup_generations=16, renew_every=5)
    assert [generation for generation in range(40) if selection.renews(jnp.asarray(generation))] == [5, 10]
    assert not any(SelectionConfig(warmup_generations=16).renews(jnp.asarray(generation)) for generation in range(40))


def test_an_individual_without_a_finite_fitness_has_failed():
    state, _ = after(1)
    marked = jax.jit(lambda fitness: scored(state.population, state.population.genomes, fitness))
    fitness = jnp.asarray([jnp.nan, 0.5, jnp.inf, 0.1])
    assert np.asarray(marked(fitness).alive).tolist() == [False, True, False, True]


def test_nan_individuals_fail_are_counted_and_have_no_children():
    population = with_fitness(after(1)[0].population, [np.nan, np.nan, 0.2, 0.1])

    def poison(array):
        array = np.array(array)
        if array.dtype == np.float32:
            array[:2] = np.nan
        return array

    failed = dataclasses.replace(population, genomes=jax.tree.map(poison, population.genomes))
    proposed = proposing()(jax.random.key(5), failed, False)
    sound = set(np.asarray(failed.ids)[2:].tolist())
    for own, pair in zip(np.asarray(proposed.ids), np.asarray(proposed.parents), strict=True):
        assert set(pair.tolist()) <= sound | {NO_ID} or own in sound
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(proposed.genomes.params))


def test_learning_that_diverges_fails_and_the_run_goes_on():
    """A rate of NaN leaves no finite weight and no parents, so the next generation is drawn again."""
    state = changed(ready(), genomes__learning__learning_rate=np.full(CONFIG.population_size, np.nan))
    state, record = compiled_step()(state)
    assert not np.any(np.asarray(record.alive))
    assert int(state.champion_id) == NO_ID
    _, record = compiled_step()(state)
    assert np.all(np.asarray(record.parents) == NO_ID)
    assert np.all(np.asarray(record.alive))


def test_an_optimiser_that_is_given_replaces_that_of_the_settings():
    """Plain descent without a step learns nothing, where the settings' own descent moves every network."""
    given = optax.sgd(0.0)
    made = make_problem(CONFIG, COPY, optimiser=given)
    lifetime = made.model.lifetime(BOUNDS)
    assert lifetime.optimiser is given and not lifetime.flat
    genomes = jax.jit(jax.vmap(made.model.random))(jax.random.split(jax.random.key(0), CONFIG.population_size))

    def learned(model):
        arguments = made.context, jax.random.key(1), genomes, jnp.ones(1), jnp.array(0), None
        return jax.jit(lambda: model.learn(*arguments).params)()

    before = jax.tree.leaves(genomes.params)
    assert_trees_equal(learned(made.model), genomes.params)
    own = jax.tree.leaves(learned(make_problem(CONFIG, COPY).model))
    moved = [
        np.any(np.asarray(old) != np.asarray(new), axis=tuple(range(1, old.ndim)))
        for old, new in zip(before, own, strict=True)
    ]
    assert np.all(np.any(moved, axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("inheritance", ["darwinian", "lamarckian"])
def test_a_population_of_one_lives(inheritance):
    lifetime = dataclasses.replace(CONFIG.model.lifetime, inheritance=inheritance)
    state, record = after(2, COPY, population_size=1, lifetime=lifetime)
    assert bool(record.alive[0])
    assert int(state.champion_id) != NO_ID


@pytest.mark.parametrize(
    ("suite", "inheritance"),
    [(COPY, "darwinian"), (COPY, "baldwinian"), (SUITE, "lamarckian")],
    ids=["darwinian", "baldwinian", "lamarckian"],
)
def test_what_is_inherited(inheritance, suite):
    """Genomes carry learnt weights under Lamarck only; the champion, as it was scored, under Baldwin too."""
    changes = {"lifetime": dataclasses.replace(CONFIG.model.lifetime, inheritance=inheritance)}
    start = ready(suite, **changes)  # a generation that keeps its members as they are
    state, record = compiled_step(suite, **changes)(start)
    before, now = (np.asarray(one.population.genomes.params["output"]["bias"]) for one in (start, state))
    assert np.array_equal(before, now) == (inheritance != "lamarckian")
    champion = np.asarray(state.champion.params["output"]["bias"])
    created = before[np.asarray(record.ids).tolist().index(int(state.champion_id))]
    assert np.array_equal(champion, created) == (inheritance == "darwinian")


def result(performance, finite=None):
    performance = jnp.asarray(performance)
    size = performance.shape[0]
    finite = jnp.ones(size, bool) if finite is None else jnp.asarray(finite)
    return Result(performance=performance, accuracy=performance, loss=jnp.zeros(size), finite=finite)


def test_difficulty_rises_for_the_task_that_the_median_individual_masters():
    curriculum = CurriculumConfig(start=0.5, step=0.3, threshold=0.8)
    did = result([[0.9, 0.1], [0.85, 0.9], [0.9, 0.2]])
    np.testing.assert_allclose(next_difficulty(curriculum, jnp.asarray([0.5, 0.5]), did), [0.8, 0.5])
    np.testing.assert_allclose(next_difficulty(curriculum, jnp.asarray([0.9, 0.5]), did), [1.0, 0.5])


def test_a_failed_individual_masters_nothing():
    curriculum = CurriculumConfig(start=0.5, step=0.3, threshold=0.8)
    did = result([[0.9, 0.9], [0.9, 0.9], [0.9, 0.9]], [True, False, False])
    np.testing.assert_allclose(next_difficulty(curriculum, jnp.asarray([0.5, 0.5]), did), [0.5, 0.5])


def test_the_champion_is_replaced_by_a_more_reliable_challenger_only():
    one, other = np.zeros(3, np.float32), np.ones(3, np.float32)

    @jax.jit
    def updated(incumbent, challenger):
        return update_champion(Contender(one, jnp.asarray(1), incumbent), Contender(other, jnp.asarray(2), challenger))

    def duel(incumbent, challenger):
        champion = updated(incumbent, challenger)
        assert np.all(np.asarray(champion.genome) == int(champion.id) - 1)
        return int(champion.id), float(champion.score)

    assert duel(0.5, 0.6) == (2, pytest.approx(0.6))
    assert duel(0.6, 0.5) == (1, pytest.approx(0.6))
    assert duel(0.5, 0.5) == (2, 0.5)
    assert duel(jnp.nan, 0.1) == (2, pytest.approx(0.1))
    assert duel(0.1, jnp.nan) == (1, pytest.approx(0.1))
    assert duel(jnp.nan, jnp.nan) == (1, -jnp.inf)


def test_the_learning_rate_is_held_and_then_falls_along_a_cosine():
    config = LifetimeConfig(final_learning_rate=0.2)
    scales = [float(learning_rate_scale(config, 11, jnp.asarray(generation))) for generation in (0, 6, 8, 10)]
    assert scales == pytest.approx([1.0, 1.0, 0.6, 0.2])
    assert float(learning_rate_scale(config, 1, jnp.asarray(0))) == 1.0


def test_efficiency_is_one_for_the_cheapest_and_zero_for_the_dearest_and_falls_with_the_logarithm():
    bounds = Bounds()
    low, high = (multiply_adds(end, 9, 8) for end in (bounds.smallest(), bounds.largest()))
    assert float(bounds.efficiency(bounds.smallest(), 9, 8)) == pytest.approx(1)
    assert float(bounds.efficiency(bounds.largest(), 9, 8)) == pytest.approx(0, abs=1e-6)
    middle = dataclasses.replace(bounds.smallest(), controller_size=jnp.asarray(90))
    cost = float(multiply_adds(middle, 9, 8))
    expected = (np.log(float(high)) - np.log(cost)) / np.log(float(high) / float(low))
    assert float(bounds.efficiency(middle, 9, 8)) == pytest.approx(expected, rel=1e-5)


def test_multiply_adds_counted_by_hand():
    """H=4, W=3, N=5, R=1, one write head, S=1, 2 inputs, 1 output."""
    architecture = BOUNDS.smallest()
    controller = 4 * 4 * (2 + 3 + 4)
    interface = 4 * (2 * (3 + 1 + 5) + 2 * 3)
    addressing = 2 * 5 * (3 + 3 + 4) + 5 * 3
    memory = 3 * 5 * 3 + 5 * 3
    content = dataclasses.replace(architecture, addressing=jnp.asarray(1))
    assert float(multiply_adds(content, 2, 1)) == controller + interface + addressing + memory + (4 + 3)
