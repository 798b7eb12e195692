"""What is particular to the selectors that keep a population diverse, beside plain NumPy versions from the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etm_jax.selection import (
    AgingSelection,
    NichesSelection,
    NSGA2Selection,
    Scores,
    SpeciesSelection,
    TournamentSelection,
    crowding_distance,
    hypervolume,
    pareto_ranks,
)

select = jax.jit(lambda selector, key, scores: selector(key, scores), static_argnums=0)


def alive(count):
    return jnp.ones(count, bool)


def fronts_by_deb(points):
    """The sort of Deb et al. 2002, section III-A, with sets and counters."""
    beats = [[all(a >= b) and any(a > b) for b in points] for a in points]
    beaten_by = np.sum(beats, axis=0)
    ranks, front, number = {}, [i for i in range(len(points)) if beaten_by[i] == 0], 0
    while front:
        following = []
        for one in front:
            ranks[one] = number
            for other in range(len(points)):
                if beats[one][other]:
                    beaten_by[other] -= 1
                    if beaten_by[other] == 0:
                        following.append(other)
        front, number = following, number + 1
    return [ranks[index] for index in range(len(points))]


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
def test_ranks_are_those_of_the_plain_sort(num_objectives):
    points = np.random.default_rng(num_objectives).integers(0, 6, (40, num_objectives)).astype(float)  # with ties
    assert np.asarray(jax.jit(pareto_ranks)(jnp.asarray(points))).tolist() == fronts_by_deb(points)


def test_crowding_is_that_of_the_plain_loop():
    points = np.random.default_rng(0).uniform(size=(30, 3))
    ranks = np.asarray(fronts_by_deb(points))
    expected = np.zeros(30)
    for front in set(ranks):
        members = np.flatnonzero(ranks == front)
        for values in points.T:
            order = members[np.argsort(values[members])]
            expected[order[[0, -1]]] = np.inf
            extent = values[order[-1]] - values[order[0]]
            for before, one, after in zip(order[:-2], order[1:-1], order[2:], strict=True):
                expected[one] += (values[after] - values[before]) / extent
    np.testing.assert_allclose(jax.jit(crowding_distance)(jnp.asarray(points), jnp.asarray(ranks)), expected, rtol=1e-4)


def test_nsga2_keeps_the_first_front_and_of_the_next_one_those_far_apart():
    points = [[0.0, 3.0], [3.0, 0.0], [2.0, 2.0], [0.0, 1.6], [0.5, 1.5], [0.6, 1.4], [1.5, 0.0], [0.0, 0.0]]
    seen = Scores(jnp.zeros(8), alive(8), objectives=jnp.asarray(points))
    survivors = select(NSGA2Selection(turnover=3 / 8), jax.random.key(0), seen).survivors
    assert set(np.asarray(survivors).tolist()) == {0, 1, 2, 3, 6}  # of the second front the two ends


def test_nsga2_picks_no_parents_outside_the_survivors():
    points = jax.random.uniform(jax.random.key(1), (20, 2))
    selection = select(NSGA2Selection(), jax.random.key(0), Scores(jnp.zeros(20), alive(20), objectives=points))
    assert set(np.ravel(selection.parents).tolist()) <= set(np.asarray(selection.survivors).tolist())


def test_hypervolume_by_hand_and_by_chance():
    assert hypervolume(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.0, 1.0]]), np.zeros(2)) == 6.0
    assert hypervolume(np.array([[1.0, -1.0]]), np.zeros(2)) == 0.0
    points = np.random.default_rng(0).uniform(size=(12, 3))
    darts = np.random.default_rng(1).uniform(size=(200_000, 3))
    hit = np.mean(np.any(np.all(darts[:, None] <= points[None], axis=2), axis=1))
    assert hypervolume(points, np.zeros(3)) == pytest.approx(hit, abs=0.004)


def test_no_member_grows_older_than_the_turnover_allows():
    age = np.zeros(8, int)
    for generation in range(20):
        fitness = jnp.asarray(np.random.default_rng(generation).uniform(size=8))
        survivors = np.asarray(
            select(
                AgingSelection(turnover=0.25),
                jax.random.key(generation),
                Scores(fitness, alive(8), age=jnp.asarray(age)),
            ).survivors
        )
        age = np.concatenate([age[survivors] + 1, np.zeros(8 - survivors.size, int)])
        assert age.max() < 8 / 2


def noisy_one_max(selector, seed, population=40, bits=40, generations=60):
    """True ones of the member with the best score, each scored once in its life, with noise of 5 ones."""

    def score(key, genomes):
        return jnp.sum(genomes, axis=1) + 5 * jax.random.normal(key, (genomes.shape[0],))

    def generation(state, key):
        genomes, fitness, age = state
        key_select, key_flip, key_score = jax.random.split(key, 3)
        selection = selector(key_select, Scores(fitness, alive(population), age=age))
        flips = jax.random.bernoulli(key_flip, 1 / bits, (selection.parents.shape[0], bits))
        children = genomes[selection.parents[:, 0]] ^ flips
        kept = selection.survivors
        genomes = jnp.concatenate([genomes[kept], children])
        fitness = jnp.concatenate([fitness[kept], score(key_score, children)])
        age = jnp.concatenate([age[kept] + 1, jnp.zeros(children.shape[0], int)])
        return (genomes, fitness, age), None

    key_start, key_score, key_run = jax.random.split(jax.random.key(seed), 3)
    genomes = jax.random.bernoulli(key_start, shape=(population, bits))
    start = (genomes, score(key_score, genomes), jnp.zeros(population, int))
    (genomes, fitness, _), _ = jax.lax.scan(generation, start, jax.random.split(key_run, generations))
    return jnp.sum(genomes[jnp.argmax(fitness)])


def test_on_a_noisy_problem_aging_beats_elitism_at_equal_evaluations():
    """An elite that was lucky once is never scored again, and stays."""
    run = jax.jit(jax.vmap(noisy_one_max, in_axes=(None, 0)), static_argnums=0)
    seeds = jnp.arange(16)
    aging = np.asarray(run(AgingSelection(size=5, turnover=0.5), seeds))
    elitist = np.asarray(run(TournamentSelection(size=5, num_elites=20), seeds))
    gap = aging - elitist
    assert gap.mean() > 2 * gap.std() / np.sqrt(len(gap))


def test_in_niches_without_sharing_fitness_is_the_sum_of_the_cases():
    cases = jax.random.uniform(jax.random.key(0), (5, 3))
    seen = Scores(jnp.sum(cases, axis=1), alive(5), cases=cases)
    np.testing.assert_allclose(NichesSelection(alpha=0.0).shares(seen), cases, rtol=1e-6)


def test_in_niches_a_case_is_worth_as_much_as_few_are_good_at_it():
    cases = jnp.asarray([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.5]])
    shares = jax.jit(NichesSelection().shares)(Scores(jnp.sum(cases, axis=1), alive(4), cases=cases))
    np.testing.assert_allclose(jnp.sum(shares, axis=1), [1 / 3, 1 / 3, 1 / 3, 1], rtol=1e-6)


def test_in_niches_the_mate_is_good_where_the_first_parent_is_not():
    cases = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    seen = Scores(jnp.sum(cases, axis=1), alive(4), cases=cases)
    parents = np.asarray(select(NichesSelection(turnover=1.0), jax.random.key(0), seen.replace(places=200)).parents)
    assert np.all(parents[:, 0] % 2 != parents[:, 1] % 2)


def test_in_niches_parents_are_drawn_in_proportion():
    seen = Scores(jnp.asarray([1.0, 2.0, -5.0, 5.0]), jnp.asarray([True, True, False, True]))
    first = np.asarray(select(NichesSelection(turnover=1.0), jax.random.key(0), seen.replace(places=4000)).parents)[
        :, 0
    ]
    np.testing.assert_allclose(np.bincount(first, minlength=4) / 4000, [1 / 8, 2 / 8, 0, 5 / 8], atol=0.03)


SPECIES = Scores(
    jnp.asarray([0.9, 0.8, 0.7, 0.2, 0.1, 0.6]),
    alive(6),
    descriptors=jnp.asarray([[0.0, 0.0], [0.05, 0.0], [0.1, 0.05], [1.0, 1.0], [0.95, 1.0], [0.5, 0.5]]),
)


def test_species_are_found_from_the_fittest_down():
    assert np.asarray(jax.jit(SpeciesSelection().founders)(SPECIES)).tolist() == [0, 0, 0, 3, 3, 5]


def test_founders_of_species_survive_before_fitter_kin():
    survivors = select(SpeciesSelection(num_elites=3), jax.random.key(0), SPECIES).survivors
    assert np.asarray(survivors).tolist() == [0, 5, 3]


def test_a_child_has_parents_of_one_species_and_species_share_by_their_mean():
    parents = np.asarray(select(SpeciesSelection(), jax.random.key(0), SPECIES.replace(places=6002)).parents)
    founder = np.asarray([0, 0, 0, 3, 3, 5])
    assert np.all(founder[parents[:, 0]] == founder[parents[:, 1]])
    # Counted from the least one: 0.8 0.7 0.6 / 3 = 0.7, 0.1 / 2 = 0.05, 0.5 / 1.
    shares = np.bincount(founder[parents[:, 0]], minlength=6)[[0, 3, 5]] / len(parents)
    np.testing.assert_allclose(shares, np.asarray([0.7, 0.05, 0.5]) / 1.25, atol=0.03)


def test_in_tournaments_over_species_the_fittest_has_more_than_its_share_and_founders_survive_as_ever():
    selector = SpeciesSelection(num_elites=3, size=3)
    found = select(selector, jax.random.key(0), SPECIES.replace(places=6003))
    assert np.asarray(found.survivors).tolist() == [0, 5, 3]
    parents, founder = np.asarray(found.parents), np.asarray([0, 0, 0, 3, 3, 5])
    assert np.all(founder[parents[:, 0]] == founder[parents[:, 1]])
    # The member of rank r of 6 wins if it is drawn and none above it is: (7 - r)^3 - (6 - r)^3 of 6^3.
    chances = np.asarray([91, 61, 37, 7, 1, 19]) / 216  # ranks 1, 2, 3, 5, 6, 4
    np.testing.assert_allclose(np.bincount(parents[:, 0], minlength=6) / len(parents), chances, atol=0.03)
