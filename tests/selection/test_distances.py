"""Distances between points that are close to each other and far from the origin, beside float64 brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import TINY, make_genome
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from etm_jax._distances import squared_distances
from etm_jax.networks import mask_of
from etm_jax.networks.variation._align import align_units, permute_units
from etm_jax.selection import NoveltyArchive, Scores, SpeciesSelection
from etm_jax.selection._species import distances

SIZE, WIDTHS = 64, (1e-3, 1e-4)


def cluster(width, seed=0):
    return (0.7 + width * np.random.default_rng(seed).uniform(size=(SIZE, 2))).astype(np.float32)


def scores_of(points):
    size = len(points)
    return Scores(fitness=np.zeros(size, np.float32), alive=np.ones(size, bool), descriptors=points)


@pytest.mark.parametrize("width", WIDTHS)
def test_distances_are_exact_within_a_narrow_cluster(width):
    points = cluster(width)
    exact = cdist(points.astype(np.float64), points.astype(np.float64))
    found = np.asarray(jax.jit(distances)(points)) * np.sqrt(points.shape[1])
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert np.all(np.diag(found) == 0)


def test_memory_is_that_of_the_result_whatever_the_number_of_columns():
    shape = jax.ShapeDtypeStruct((128, 400), jnp.float32)
    used = jax.jit(squared_distances).lower(shape, shape).compile().memory_analysis()
    assert used.temp_size_in_bytes < 20 * 128 * 128 * 4  # all pairs of all columns would be 400 times that


@pytest.mark.parametrize("width", WIDTHS)
def test_novelty_ranks_a_narrow_cluster_as_float64_does(width):
    points, archive = cluster(width), NoveltyArchive(size=SIZE, neighbours=5)
    kept = scores_of(cluster(width, seed=1))
    found = jax.jit(archive.novelty)(kept, scores_of(points))
    others = np.concatenate([points, kept.descriptors]).astype(np.float64)
    apart = np.sort(cdist(points.astype(np.float64), others), axis=1)
    exact = apart[:, 1:6].mean(axis=1)  # the nearest is the member itself
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert spearmanr(found, exact).statistic > 0.999


@pytest.mark.parametrize("width", WIDTHS)
def test_species_tell_members_apart_within_a_narrow_cluster(width):
    """Members on a line, one step apart; the fittest first, so every third founds a species."""
    line = (0.7 + width * np.arange(9)[:, None]).astype(np.float32)
    scores = scores_of(line).replace(fitness=np.arange(9, 0, -1).astype(np.float32))
    found = jax.jit(SpeciesSelection(radius=2.5 * width).founders)(scores)
    founders = np.array([0, 3, 6])
    nearest = founders[np.argmin(cdist(line.astype(np.float64), line[founders].astype(np.float64)), axis=1)]
    np.testing.assert_array_equal(found, nearest)


def test_units_that_hardly_differ_are_matched():
    """All units but for 1e-4 the same: each still finds itself in a parent that has them in another order."""
    genome = make_genome(TINY, seed=1, controller_size=5)

    def alike(array):
        array = np.asarray(array)
        noise = 1e-4 * np.random.default_rng(array.size).normal(size=array.shape)
        return (np.full_like(array, 0.7) + noise).astype(np.float32)

    genome = genome.replace(params=jax.tree.map(alike, genome.params))
    order = np.array([3, 0, 4, 2, 1])
    moved = jax.jit(permute_units)(genome, order)
    aligned, _ = jax.jit(align_units)(genome, moved, mask_of(genome, TINY), mask_of(moved, TINY))
    for own, found in zip(jax.tree.leaves(genome.params), jax.tree.leaves(aligned), strict=True):
        np.testing.assert_array_equal(own, found)
