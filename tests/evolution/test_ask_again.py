"""To ask again without telling: other children of the generation that was told last, as with evosax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal
from tiny import BOUNDS

from etm_jax.evolution import EvolvingTuringMachine
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._neat import NEAT
from etm_jax.networks import random_genome
from etm_jax.selection import TruncationSelection
from etm_jax.strategies._differential import DifferentialEvolution, DifferentialRates

SIZE = 6
SAMPLES = {
    "EvolvingTuringMachine": lambda key: random_genome(key, BOUNDS, 3, 2),
    "NEAT": lambda key: minimal_graph(key, 2, 1, max_nodes=8, max_connections=12),
    "DifferentialEvolution": lambda key: jax.random.uniform(key, (3,)),
}
STRATEGIES = {
    "EvolvingTuringMachine": lambda solution: EvolvingTuringMachine(
        SIZE, solution, BOUNDS, selector=TruncationSelection(0.5, num_elites=1)
    ),
    "NEAT": lambda solution: NEAT(SIZE, solution, max_nodes=8, max_connections=12, max_species=2),
    "DifferentialEvolution": lambda solution: DifferentialEvolution(SIZE, solution),
}


@functools.cache
def started(name):
    """A strategy, and its state about random individuals that all cost the same."""
    population = jax.jit(jax.vmap(SAMPLES[name]))(jax.random.split(jax.random.key(0), SIZE))
    strategy = STRATEGIES[name](jax.tree.map(lambda leaf: leaf[0], population))
    return strategy, strategy.init(jax.random.key(0), population, jnp.full(SIZE, 9.0), strategy.default_params)


@pytest.fixture(params=STRATEGIES, scope="module")
def told(request):
    """A strategy's ask and tell, and its state after two generations whose third member was the best."""
    strategy, state = started(request.param)
    params = strategy.default_params
    cost = jnp.array([4.0, 5.0, 1.0, 6.0, 7.0, 8.0])
    for seed in (1, 2):
        population, state = strategy.ask(jax.random.key(seed), state, params)
        state, metrics = strategy.tell(jax.random.key(seed), population, cost / seed, state, params)
    return strategy.ask, strategy.tell, params, state, metrics["best_solution"]


def members(population):
    """Each member's numbers, in one row."""
    return np.concatenate([np.asarray(leaf, float).reshape(SIZE, -1) for leaf in jax.tree.leaves(population)], axis=1)


def test_a_second_ask_answers_as_if_it_were_the_first(told):
    ask, _, params, state, _ = told
    _, between = ask(jax.random.key(3), state, params)
    _, between = ask(jax.random.key(4), between, params)
    first, second = (ask(jax.random.key(5), before, params)[0] for before in (state, between))
    assert_trees_equal(first, second)


def test_the_champion_outlives_any_number_of_asks(told):
    ask, _, params, state, champion = told
    if isinstance(params, DifferentialRates):
        pytest.skip("its parents stay in the state, and what it asks for are trials")
    best = np.concatenate([np.asarray(leaf, float).ravel() for leaf in jax.tree.leaves(champion)])
    for seed in range(3, 9):
        population, state = ask(jax.random.key(seed), state, params)
        assert np.any(np.all(members(population) == best, axis=1))


def test_a_tell_after_several_asks_takes_those_asked_for_last(told):
    ask, tell, params, state, _ = told
    costs = jnp.arange(float(SIZE))
    _, between = ask(jax.random.key(3), state, params)
    population, between = ask(jax.random.key(5), between, params)
    after, metrics = tell(jax.random.key(6), population, costs, between, params)
    expected = tell(jax.random.key(6), population, costs, ask(jax.random.key(5), state, params)[1], params)
    assert_trees_equal((after, metrics), expected)


def test_who_descends_from_whom_is_told_of_those_asked_for_last():
    """Ids of the children asked for and not told are given again; the champion keeps its own."""
    strategy, state = started("EvolvingTuringMachine")
    params, ask, tell = strategy.default_params, strategy.ask, strategy.tell
    state = strategy.init(jax.random.key(0), state.population, jnp.arange(float(SIZE)), params)
    best = int(state.told.ids[0])
    _, state = ask(jax.random.key(3), state, params)
    population, state = ask(jax.random.key(4), state, params)
    state, _ = tell(jax.random.key(5), population, jnp.arange(float(SIZE)), state, params)
    assert int(state.told.ids[0]) == best and int(state.told.scores.age[0]) == 1
    assert len(set(np.asarray(state.told.ids).tolist())) == SIZE
