"""A member with any score that is not finite has failed: it ranks last, has no children, and no archive keeps it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG

from etm_jax.environment import EnvironmentSuite
from etm_jax.evolution._generation import next_difficulty
from etm_jax.evolution._propose import scored
from etm_jax.evolution._state import Population, unscored
from etm_jax.models._model import Result
from etm_jax.selection import (
    ARCHIVES,
    KEEP,
    SELECTORS,
    FrontArchive,
    MapElitesArchive,
    NoveltyArchive,
    Scores,
    pareto_ranks,
)
from etm_jax.strategies._differential import DifferentialEvolution

SIZE, FAILED = 12, 5
KINDS = ("cases", "objectives", "descriptors")
READ_BY = {"cases": ("lexicase", "niches"), "objectives": ("nsga2",), "descriptors": ("species",)}
OPTIONS = {"front": {"size": 4}, "map-elites": {"num_descriptors": 2, "bins": 4}, "novelty": {"size": 8}}
PAIRS = [(name, kind) for kind, names in READ_BY.items() for name in names] + [(name, "fitness") for name in SELECTORS]


def scores_with(kind, value):
    """Twelve members of random scores, all said to be alive; one of them, the fittest, has a bad `kind`."""
    draws = np.random.default_rng(0)
    known = {name: draws.uniform(0.2, 0.8, size=(SIZE, 2)).astype(np.float32) for name in KINDS}
    known["fitness"] = draws.uniform(size=SIZE).astype(np.float32)
    for values in known.values():
        values[FAILED] = 0.95
    known[kind][FAILED] = value if kind == "fitness" else (0.95, value)
    return Scores(alive=np.ones(SIZE, bool), age=np.zeros(SIZE, np.int32), **known)


@functools.cache
def selected(name):
    options = {"num_elites": 2} if hasattr(SELECTORS[name](), "num_elites") else {}
    return jax.jit(jax.vmap(SELECTORS[name](**options), in_axes=(0, None)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_no_selector_picks_a_member_whose_score_is_not_finite(name, kind, value):
    keys = jax.random.split(jax.random.key(0), 20)
    found = selected(name)(keys, scores_with(kind, value))
    assert FAILED not in np.asarray(found.parents)
    assert FAILED not in np.asarray(found.survivors)
    sound = selected(name)(keys, scores_with("fitness", 0.95))
    assert FAILED in np.asarray(sound.parents)


def test_ranks_of_rows_with_nan_are_the_last():
    points = jnp.array([[2.0, 1.0], [jnp.nan, 9.0], [1.0, 2.0], [9.0, jnp.nan], [1.0, 1.0]])
    assert jax.jit(pareto_ranks)(points).tolist() == [0, 2, 0, 2, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "kind"), [("front", "objectives"), ("map-elites", "descriptors"), ("novelty", "descriptors")]
)
@pytest.mark.parametrize("bad", ["kind", "fitness"])
def test_no_archive_keeps_a_member_whose_score_is_not_finite(name, kind, value, bad):
    archive = ARCHIVES[name](**OPTIONS[name])
    kept = unscored(archive.num_places, 2, 2, 2)
    admit = jax.jit(jax.vmap(archive.admit, in_axes=(0, None, None)))
    keys = jax.random.split(jax.random.key(0), 20)
    found = np.asarray(admit(keys, kept, scores_with(kind if bad == "kind" else "fitness", value)))
    assert FAILED not in found and np.any(found >= 0)
    assert FAILED in np.asarray(admit(keys, kept, scores_with(kind, 0.95)))


def of_objectives(*rows):
    rows = np.array(rows, np.float32)
    return Scores(fitness=np.ones(len(rows), np.float32), alive=np.ones(len(rows), bool), objectives=rows)


def test_nan_does_not_close_a_front_to_a_better_member():
    archive, empty = FrontArchive(size=2), unscored(2, 1, 2)
    first = archive.admit(jax.random.key(0), empty, of_objectives([np.nan, 0.1], [0.2, np.nan]))
    assert first.tolist() == [KEEP, KEEP]
    assert archive.admit(jax.random.key(0), empty, of_objectives([np.nan, 0.1], [0.9, 0.9])).tolist() == [1, KEEP]


def test_nan_is_in_no_cell():
    archive = MapElitesArchive(num_descriptors=2, bins=4)
    points = jnp.array([[jnp.nan, 0.5], [0.5, jnp.nan], [0.5, 0.5], [-jnp.inf, jnp.inf]])
    assert archive.cell_of(points).tolist() == [16, 16, 10, 3]


def test_novelty_neither_counts_nor_rewards_a_member_without_descriptors():
    archive, kept = NoveltyArchive(size=8, neighbours=2), unscored(8, 2, 2, 2)
    scores = scores_with("descriptors", np.nan)
    novelty, shown = np.asarray(archive.novelty(kept, scores)), archive.view(kept, scores)
    others = np.delete(np.arange(SIZE), FAILED)
    points = scores.descriptors[others]
    apart = np.sort(np.linalg.norm(points[:, None] - points[None], axis=-1), axis=1)
    np.testing.assert_allclose(novelty[others], apart[:, 1:3].mean(axis=1), rtol=1e-5)
    assert np.isfinite(novelty[FAILED])
    assert not shown.alive[FAILED] and np.all(np.isfinite(shown.fitness)) and float(shown.fitness.max()) == 1


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("kind", ["fitness", *KINDS])
@pytest.mark.parametrize("averaged", [False, True])
def test_the_engine_counts_it_as_failed(kind, value, averaged):
    given = scores_with(kind, value)
    blank = unscored(SIZE, 2, 2, 2)
    population = Population((), blank, jnp.arange(SIZE), jnp.zeros((SIZE, 2), int), jnp.array(SIZE))
    after = scored(population, (), *(jnp.asarray(getattr(given, name)) for name in ("fitness", *KINDS)), averaged)
    assert np.flatnonzero(~np.asarray(after.alive)).tolist() == [FAILED]
    for name in ("fitness", *KINDS):
        values = np.array(getattr(after.scores, name))
        assert np.all(values[FAILED] == 0)
        np.testing.assert_array_equal(np.delete(values, FAILED, 0), np.delete(getattr(given, name), FAILED, 0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_cost_that_is_not_finite_replaces_no_parent(value):
    strategy = DifferentialEvolution(4, np.zeros(2))
    params, points = strategy.default_params, jax.random.uniform(jax.random.key(0), (4, 2))
    state = strategy.init(jax.random.key(0), points, jnp.array([3.0, 3.0, value, 3.0]), params)
    points, state = strategy.ask(jax.random.key(1), state, params)
    costs = jnp.array([1.0, value, 2.0, 3.0])
    state, metrics = strategy.tell(jax.random.key(2), points, costs, state, params)
    assert int(metrics["failed"]) == 1 and float(metrics["best_fitness"]) == 1
    np.testing.assert_array_equal(state.fitness, [1, 3, 2, 3])


def test_one_performance_that_is_nan_does_not_stop_the_curriculum():
    performance = jnp.ones((SIZE, 2)).at[0, 0].set(jnp.nan)
    zeros = jnp.zeros(SIZE)
    result = Result(performance, performance, zeros, zeros == 0)
    start = jnp.array([0.2, 0.2])
    after = next_difficulty(CONFIG.curriculum, start, result)
    np.testing.assert_allclose(after, start + CONFIG.curriculum.step, rtol=1e-6)


def test_a_corridor_without_height_has_a_place():
    class Corridor:
        def outline(self, state):
            return (jnp.array([[0.0, 2.0], [4.0, 2.0]]),)

        def place(self, state):
            return state

    class Lived:
        states = jnp.array([[[0.0, 2.0], [3.0, 2.0]]])
        step_valid = jnp.ones((1, 2), bool)

    class Suite:
        environments = (Corridor(),)

    found = EnvironmentSuite.behaviour.__wrapped__(Suite(), (Lived(),))  # without the check of types
    assert {name: float(value) for name, value in found.items()} == {"final_x": 0.75, "final_y": 0.0}
