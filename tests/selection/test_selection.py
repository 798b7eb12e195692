"""A conformance suite over all selectors, and what is particular to each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etm_jax.selection import (
    SELECTORS,
    AgingSelection,
    LexicaseSelection,
    NichesSelection,
    NSGA2Selection,
    Scores,
    SpeciesSelection,
    TournamentSelection,
    TruncationSelection,
)

OPTIONS = {
    "lexicase": {"size": 3},  # with one case and more entrants than members the best would always be the parent
    **{name: {"turnover": 2 / 3} for name in ("aging", "nsga2", "niches")},
}
ELITIST = {name for name, kind in SELECTORS.items() if "num_elites" in kind.__dataclass_fields__}
FITNESS = jnp.asarray([0.1, 0.9, 0.4, 0.8, 0.2, 0.7])


select = jax.jit(lambda selector, key, scores: selector(key, scores), static_argnums=0)


def scores(fitness=FITNESS, alive=None):
    fitness = jnp.asarray(fitness)
    return Scores(fitness=fitness, alive=jnp.isfinite(fitness) if alive is None else jnp.asarray(alive))


@pytest.fixture(params=sorted(SELECTORS))
def selector(request):
    return make(request.param)


def make(name):
    elites = {"num_elites": 2} if name in ELITIST else {}
    return SELECTORS[name](**elites, **OPTIONS.get(name, {}))


def test_it_fills_a_population_of_the_same_size(selector):
    selection = select(selector, jax.random.key(0), scores())
    assert selection.survivors.shape == (2,)
    assert selection.parents.shape == (4, 2)
    assert np.all((np.asarray(selection.parents) >= 0) & (np.asarray(selection.parents) < 6))


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - {"aging"}))
def test_the_best_survive(name):
    assert np.asarray(select(make(name), jax.random.key(0), scores()).survivors).tolist() == [1, 3]


def test_it_fills_as_many_places_as_are_asked_for(selector):
    """Members of an archive may be more or fewer than the places of the population."""
    for places in (3, 10):
        selection = select(selector, jax.random.key(0), scores().replace(places=places))
        assert selection.survivors.size + selection.parents.shape[0] == places
        assert np.all((np.asarray(selection.parents) >= 0) & (np.asarray(selection.parents) < 6))


def test_jit_changes_nothing(selector):
    plain, jitted = selector(jax.random.key(1), scores()), select(selector, jax.random.key(1), scores())
    np.testing.assert_array_equal(plain.parents, jitted.parents)


def test_vmap_is_a_loop(selector):
    keys = jax.random.split(jax.random.key(2), 3)
    together = jax.vmap(lambda key: select(selector, key, scores()))(keys)
    for index, key in enumerate(keys):
        np.testing.assert_array_equal(together.parents[index], select(selector, key, scores()).parents)


def test_a_failed_member_is_never_picked(selector):
    """It has the highest number standing in its fitness, and still it is not."""
    broken = scores([0.1, 9.0, jnp.nan, 0.3, 0.2, jnp.inf], [True, False, False, True, True, False])
    for seed in range(20):
        selection = select(selector, jax.random.key(seed), broken)
        picked = np.concatenate([np.ravel(selection.parents), np.ravel(selection.survivors)])
        assert set(picked.tolist()) <= {0, 3, 4}


def test_when_all_failed_it_still_answers(selector):
    selection = select(selector, jax.random.key(0), scores(jnp.full(6, jnp.nan)))
    assert np.all((np.asarray(selection.parents) >= 0) & (np.asarray(selection.parents) < 6))


def test_a_population_of_one_has_one_child_and_no_survivor(selector):
    selection = select(selector, jax.random.key(0), scores([0.5]))
    assert selection.survivors.shape == (0,)
    assert np.asarray(selection.parents).tolist() == [[0, 0]]


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - {"uniform"}))
def test_better_members_get_more_children(name):
    parents = jax.vmap(lambda key: select(make(name), key, scores()).parents)(jax.random.split(jax.random.key(3), 500))
    counts = np.bincount(np.ravel(parents), minlength=6)
    assert counts[1] > counts[0]
    assert counts[3] > counts[4]


def test_a_tournament_picks_the_best_of_its_size():
    """The best of six wins a tournament of three with probability 1 - (5/6)^3."""
    keys = jax.random.split(jax.random.key(4), 2000)
    parents = jax.vmap(lambda key: TournamentSelection(size=3)(key, scores()).parents)(keys)
    assert np.mean(np.asarray(parents) == 1) == pytest.approx(1 - (5 / 6) ** 3, abs=0.02)


def test_truncation_picks_evenly_among_the_best_share():
    keys = jax.random.split(jax.random.key(5), 1000)
    parents = jax.vmap(lambda key: TruncationSelection(share=0.5)(key, scores()).parents)(keys)
    counts = np.bincount(np.ravel(parents), minlength=6) / parents.size
    np.testing.assert_allclose(counts[[1, 3, 5]], 1 / 3, atol=0.03)
    assert counts[[0, 2, 4]].sum() == 0


def lexicase_parents(cases, size=40, alive=(True,) * 4):
    """Shares of the picks, over many keys."""
    seen = Scores(fitness=jnp.mean(jnp.asarray(cases), axis=1), alive=jnp.asarray(alive), cases=jnp.asarray(cases))
    lexicase = LexicaseSelection(size=size, num_elites=1)
    parents = jax.jit(jax.vmap(lambda key: lexicase(key, seen).parents))(jax.random.split(jax.random.key(6), 1000))
    return np.bincount(np.ravel(parents), minlength=len(cases)) / parents.size


def test_lexicase_picks_specialists_as_often_as_their_case_comes_first_and_the_mediocre_never():
    shares = lexicase_parents([[9.0, 0.0, 0.0], [0.0, 9.0, 9.0], [8.0, 8.0, 8.0], [-5.0, 0.0, -5.0]])
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 0, 0], atol=0.03)


def test_in_lexicase_a_later_case_decides_between_equals_and_chance_between_those_left():
    shares = lexicase_parents([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(shares, [0.5, 0, 0.5, 0], atol=0.03)


def test_a_failed_specialist_is_no_parent():
    shares = lexicase_parents([[9.0, 0.0], [0.0, 9.0], [1.0, 1.0], [0.0, 0.0]], alive=(False, True, True, True))
    np.testing.assert_allclose(shares, [0, 0.5, 0.5, 0], atol=0.03)


def test_in_a_small_sample_of_lexicase_others_have_a_chance():
    """A sample of one is a uniform draw."""
    cases = [[9.0, 0.0], [0.0, 9.0], [1.0, 1.0], [0.0, 0.0]]
    np.testing.assert_allclose(lexicase_parents(cases, size=1), 0.25, atol=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TournamentSelection(size=True), "tournament size must be a whole number of at least 1, got True"),
        (lambda: TournamentSelection(size=0), "tournament size must be a whole number of at least 1, got 0"),
        (lambda: LexicaseSelection(size=0), "lexicase size must be a whole number of at least 1, got 0"),
        (lambda: TruncationSelection(share=0.0), r"truncation share must be in \(0, 1\], got 0.0"),
        (lambda: TruncationSelection(num_elites=-1), "num_elites must be a whole number of at least 0, got -1"),
        (lambda: AgingSelection(size=0), "tournament size must be a whole number of at least 1, got 0"),
        (lambda: AgingSelection(turnover=0.0), r"turnover must be in \(0, 1\], got 0.0"),
        (lambda: NSGA2Selection(turnover=1.5), r"turnover must be in \(0, 1\], got 1.5"),
        (lambda: NichesSelection(alpha=-0.1), r"alpha must be in \[0, 1\], got -0.1"),
        (lambda: SpeciesSelection(radius=-1.0), "radius must be at least 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
