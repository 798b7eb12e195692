"""Archives: their rules on scores alone, and how a run keeps, breeds from and hands out their members."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from toy_model import toy_problem

from etm_jax._toml import to_toml
from etm_jax.config import SelectionConfig
from etm_jax.evolution._archive import empty, take_in, write_members
from etm_jax.evolution._run import run
from etm_jax.evolution._state import NO_ID, Population
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import RunFolder
from etm_jax.selection import (
    ARCHIVES,
    EMPTY,
    KEEP,
    Archive,
    AutoArchive,
    FrontArchive,
    MapElitesArchive,
    NoveltyArchive,
    NSGA2Selection,
    Scores,
    UniformSelection,
    hypervolume,
    pareto_ranks,
)

OPTIONS = {"front": {"size": 5}, "map-elites": {"num_descriptors": 2, "bins": 3}, "novelty": {"size": 5, "admitted": 2}}


def population(seed, size=8, failed=(2,)):
    """Genomes are their own scores, so that a score that parts from its genome is seen."""
    values = jax.random.uniform(jax.random.key(seed), (size, 2))
    alive = ~jnp.isin(jnp.arange(size), jnp.asarray(failed))
    scores = Scores(values[:, 0], alive, values, values, values, jnp.zeros(size, int))
    ids = 100 * seed + jnp.arange(size)
    return Population(values, scores, ids, jnp.full((size, 2), NO_ID), jnp.array(0))


@functools.cache
def admits(name):
    archive = ARCHIVES[name](**OPTIONS[name])
    return archive, jax.jit(lambda key, kept, arriving: take_in(archive, key, kept, arriving))


@pytest.fixture(params=sorted(OPTIONS))
def filled(request):
    """An archive after each of some generations."""
    archive, admit = admits(request.param)
    assert isinstance(archive, Archive)
    kept, history = empty(archive, population(0)), []
    for seed in range(1, 7):
        kept = admit(jax.random.key(seed), kept, population(seed))
        history.append(kept)
    return archive, history


def test_scores_genomes_and_ids_move_together(filled):
    archive, history = filled
    scores = history[-1].scores
    np.testing.assert_array_equal(scores.descriptors[:, 0], scores.fitness)
    if archive.keeps_genomes:
        np.testing.assert_array_equal(history[-1].genomes, scores.descriptors)
    for place in np.flatnonzero(scores.alive):
        seed, member = divmod(int(history[-1].ids[place]), 100)
        np.testing.assert_array_equal(population(seed).scores.descriptors[member], scores.descriptors[place])


def test_a_failed_member_is_never_let_in(filled):
    _, history = filled
    assert not np.any(np.asarray(history[-1].ids)[np.asarray(history[-1].scores.alive)] % 100 == 2)


def test_at_first_it_is_empty_and_in_a_generation_of_failures_it_stays_as_it_is(filled):
    archive, history = filled
    blank = empty(archive, population(0))
    assert not np.any(blank.scores.alive)
    after = admits(archive.kind)[1](jax.random.key(9), history[-1], population(9, failed=range(8)))
    np.testing.assert_array_equal(after.ids, history[-1].ids)


def test_its_record_is_plain_numbers(filled):
    archive, history = filled
    record = jax.tree.map(np.asarray, archive.record(history[-1].scores))
    assert json.loads(json.dumps(archive.summary(record))) == archive.summary(record)


def test_the_front_holds_the_members_that_no_other_dominates():
    """With room for all, it is the front of all members that ever came."""
    archive = FrontArchive(size=48)
    kept, arrived = empty(archive, population(0)), []
    admit = jax.jit(functools.partial(take_in, archive))
    for seed in range(6):
        kept = admit(jax.random.key(0), kept, population(seed))
        arrived.append(np.asarray(population(seed).scores.objectives)[np.asarray(population(seed).scores.alive)])
    points = np.concatenate(arrived)
    best = points[np.asarray(pareto_ranks(jnp.asarray(points))) == 0]
    found = np.asarray(kept.scores.objectives)[np.asarray(kept.scores.alive)]
    assert sorted(map(tuple, found)) == sorted(map(tuple, best))


@pytest.mark.parametrize("size", [2, 48])
def test_the_hypervolume_of_a_front_never_falls(size):
    archive = FrontArchive(size=size)
    admit = jax.jit(functools.partial(take_in, archive))
    kept, volumes = empty(archive, population(0)), [0.0]
    for seed in range(10):
        kept = admit(jax.random.key(0), kept, population(seed))
        volumes.append(archive.summary(jax.tree.map(np.asarray, archive.record(kept.scores)))["hypervolume"])
    assert np.all(np.diff(volumes) >= 0)
    assert volumes[-1] > volumes[1]


def test_of_equals_one_is_on_the_front_and_places_of_the_dominated_become_free():
    scores = Scores(jnp.zeros(3), jnp.ones(3, bool), objectives=jnp.asarray([[0.5, 0.5], [0.5, 0.5], [0.2, 0.9]]))
    kept = dataclasses.replace(
        scores, objectives=jnp.asarray([[0.4, 0.4], [0.3, 0.3], [0.9, 0.1]]), alive=jnp.asarray([True, True, True])
    )
    assert FrontArchive(size=3).admit(jax.random.key(0), kept, scores).tolist() == [0, 2, KEEP]
    one = dataclasses.replace(scores, alive=jnp.asarray([True, False, False]))
    assert FrontArchive(size=3).admit(jax.random.key(0), kept, one).tolist() == [0, EMPTY, KEEP]


def test_the_best_of_a_cell_stays_and_coverage_and_qd_score_never_fall():
    archive, admit = MapElitesArchive(num_descriptors=2, bins=3), admits("map-elites")[1]
    kept, best, before = empty(archive, population(0)), {}, (0.0, 0.0)
    for seed in range(1, 9):
        arriving = population(seed)
        kept = admit(jax.random.key(0), kept, arriving)
        for fitness, place, alive in zip(
            *map(np.asarray, (arriving.fitness, arriving.scores.descriptors, arriving.alive)), strict=True
        ):
            cell = tuple(np.minimum((place * 3).astype(int), 2).tolist())
            if alive:
                best[cell] = max(best.get(cell, -np.inf), float(fitness))
        now = archive.summary(archive.record(kept.scores))
        assert now["coverage"] >= before[0]
        assert now["qd_score"] >= before[1]
        before = (now["coverage"], now["qd_score"])
    found = {divmod(int(cell), 3): float(kept.fitness[cell]) for cell in np.flatnonzero(kept.alive)}
    assert found == best


def test_beyond_the_ends_there_is_the_last_cell():
    archive = MapElitesArchive(num_descriptors=2, bins=4)
    places = jnp.asarray([[0.0, 0.0], [1.0, 1.0], [-3.0, 9.0], [0.26, 0.0]])
    assert archive.cell_of(places).tolist() == [0, 15, 3, 4]


def test_novelty_is_the_mean_distance_to_the_nearest_others():
    archive = NoveltyArchive(neighbours=2)
    seen = Scores(
        jnp.zeros(4), jnp.asarray([True, True, True, False]), descriptors=jnp.asarray([[0.0], [0.1], [1.0], [0.5]])
    )
    kept = Scores(jnp.zeros(2), jnp.asarray([True, False]), descriptors=jnp.asarray([[0.3], [0.05]]))
    np.testing.assert_allclose(archive.novelty(kept, seen)[:3], [0.2, 0.15, 0.8], atol=1e-5)
    shown = archive.view(kept, seen)
    assert np.argmax(shown.fitness) == 2
    assert not bool(shown.alive[3])


def test_novelty_gives_way_to_fitness_by_its_weight():
    seen = Scores(jnp.asarray([3.0, 1.0, 2.0]), jnp.ones(3, bool), descriptors=jnp.asarray([[0.0], [1.0], [0.1]]))
    kept = Scores(jnp.zeros(1), jnp.zeros(1, bool), descriptors=jnp.zeros((1, 1)))
    np.testing.assert_allclose(NoveltyArchive(weight=0.0).view(kept, seen).fitness, [1, 0, 0.5], atol=1e-6)


def test_the_ring_lets_the_oldest_go():
    archive, admit = admits("novelty")
    kept = empty(archive, population(0))
    for seed in range(1, 6):
        kept = admit(jax.random.key(seed), kept, population(seed))
    assert set((np.asarray(kept.ids) // 100).tolist()) == {3, 4, 5}  # five places, two a generation


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrontArchive(size=0), "front's size must be a whole number of at least 1, got 0"),
        (lambda: MapElitesArchive(num_descriptors=2, bins=0), "^bins must be a whole number of at least 1, got 0"),
        (lambda: MapElitesArchive(num_descriptors=-1), "num_descriptors must be a whole number of at least 0, got -1"),
        (
            lambda: toy_problem(
                archive=MapElitesArchive(num_descriptors=3), selection=SelectionConfig(descriptors=("x", "y"))
            ),
            r"archive.num_descriptors must be 0 or the number of selection.descriptors \(2\), got 3",
        ),
        (
            lambda: tiny.problem(archive=NoveltyArchive(), selection=SelectionConfig(descriptors=("speed",))),
            "selection.descriptors must be among addressing, .*, parameters, .*, slots_used, read_sharpness, got speed",
        ),
        (lambda: NoveltyArchive(neighbours=0), "novelty's neighbours must be a whole number of at least 1, got 0"),
        (lambda: NoveltyArchive(weight=2.0), r"weight must be in \[0, 1\], got 2.0"),
        (
            lambda: toy_problem(archive=NoveltyArchive()),
            "selection.descriptors must be among x, y, got num_slots, multiply_adds",
        ),
        (
            lambda: toy_problem(selection=SelectionConfig(NSGA2Selection(), objectives=("copy", "speed"))),
            "selection.objectives must be among performance, copy, cost, got speed",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


SETTINGS = {
    "front": (SelectionConfig(NSGA2Selection(), objectives=("copy", "cost")), AutoArchive()),
    "map-elites": (
        SelectionConfig(UniformSelection(), descriptors=("x", "y")),
        MapElitesArchive(bins=5),
    ),
    "novelty": (SelectionConfig(descriptors=("x", "y")), NoveltyArchive(size=20)),
}


@functools.cache
def evolved(name):
    selection, archive = SETTINGS[name]
    made = toy_problem(selection=selection, archive=archive)
    return made, run(made)


def test_a_run_ends_with_a_front_and_its_hypervolume_never_falls():
    _, outcome = evolved("front")
    front = outcome.history.front()
    points = np.array([list(row["objectives"].values()) for row in front])
    assert len(front) >= 8
    assert np.all(pareto_ranks(jnp.asarray(points)) == 0)
    volumes = outcome.history.to_dict()["hypervolume"]
    assert np.all(np.diff(volumes) >= 0)
    assert volumes[-1] == pytest.approx(hypervolume(points, np.zeros(2)), abs=1e-5)
    assert volumes[-1] > 0.7  # pi / 4 = 0.785 is the most there can be


def test_a_run_covers_the_map_and_its_parents_are_members_of_it():
    made, outcome = evolved("map-elites")
    coverage = outcome.history.to_dict()["coverage"]
    assert np.all(np.diff(coverage) >= 0)
    assert coverage[-1] > coverage[0]
    assert made.selector.num_elites == 0
    assert np.all(outcome.state.population.scores.age == 0)  # none survives but in the archive


def test_without_members_there_is_no_front():
    with pytest.raises(ValueError, match="the run kept no front"):
        evolved("map-elites")[1].history.front()


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_resumed_run_has_the_same_archive(name, tmp_path):
    made, outcome = evolved(name)
    config = made.config

    class KilledError(Exception):
        pass

    def kill(row):
        if row["generation"] == 9:
            raise KilledError

    checkpoints = Checkpoints(tmp_path, to_toml(config))
    with pytest.raises(KilledError):
        run(made, checkpoints=checkpoints, on_generation=kill)
    again = run(made, checkpoints=checkpoints)
    checkpoints.close()
    for one, other in zip(*(jax.tree.leaves(of.state.archive) for of in (outcome, again)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_member_is_written_for_use(tmp_path):
    made, outcome = evolved("front")
    folder = RunFolder.create(tmp_path / "run", made.config)
    write_members(folder, made, outcome.state)
    rows = json.loads((folder.path / "members.json").read_text())
    for row in rows:
        x, y = json.loads((folder.path / "members" / str(row["number"]) / "point.txt").read_text())
        assert row["objectives"]["cost"] == pytest.approx(1 - y, abs=1e-4)
        assert row["genes"]["tenths"] == int(x * 10)
