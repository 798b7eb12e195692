"""Searches that share a program: each must be what it is alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from bench import search
from bench._one_of import OneOf, SomeNovel
from etm_jax.selection import NoveltyArchive, Scores, TournamentSelection, TruncationSelection

SEEN = Scores(
    jnp.asarray([0.1, 0.9, 0.4, 0.8]), jnp.ones(4, bool), descriptors=jnp.asarray([[0.0], [0.1], [0.2], [1.0]])
)


def test_one_of_several_selectors_answers_as_it_does_alone():
    selectors = (TournamentSelection(size=4), TruncationSelection(share=0.25))
    answer = jax.jit(lambda number: OneOf(selectors, number)(jax.random.key(0), SEEN))
    for number, alone in enumerate(selectors):
        expected = alone(jax.random.key(0), SEEN)
        np.testing.assert_array_equal(answer(number).parents, expected.parents)
        np.testing.assert_array_equal(answer(number).survivors, expected.survivors)


def test_a_search_without_novelty_sees_the_fitness_beside_one_with():
    ring = NoveltyArchive(size=4, neighbours=1)
    kept = replace(SEEN, alive=jnp.zeros(4, bool))
    view = jax.jit(lambda number: SomeNovel((None, ring), number).view(kept, SEEN).fitness)
    np.testing.assert_array_equal(view(0), SEEN.fitness)
    # Distances near 0 are square roots of what cancels, so two programs differ by up to the root of rounding.
    np.testing.assert_allclose(view(1), ring.view(kept, SEEN).fitness, atol=1e-3)


def test_every_search_belongs_to_a_group_of_its_kind():
    assert sorted(name for group in search.GROUPS for name in group) == sorted(search.SEARCHES)
    for group in search.GROUPS:
        rings = {archive.size for name in group if (archive := search.SEARCHES[name][1]).kind == "novelty"}
        assert len(rings) <= 1
        methods = [search.SEARCHES[name][0] for name in group]
        assert len({getattr(method, "num_elites", None) for method in methods}) == 1
        assert len({getattr(method, "turnover", None) for method in methods}) == 1


def test_a_goal_counts_as_found_from_the_first_generation_that_solves_all_its_episodes():
    result = type("Result", (), {"performance": [0.8], "accuracy": [0.5]})
    runs = [search.outcome(seed, np.asarray(shares), result, 1.0) for seed, shares in enumerate(([0, 0.9], [0, 1, 0]))]
    assert [run["found"] for run in runs] == [None, 2]
    assert search.line("maze", "novelty", runs)[2:4] == ("1 of 2", "2")
    assert search.with_interval([1.0, 2.0, 3.0, 4.0, 5.0]) == "3.00 +- 1.96"
