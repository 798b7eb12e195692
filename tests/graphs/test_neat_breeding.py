"""NEAT's breeding: no species loses its champion, and connections come back only where the original rule says."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etm_tasks
from etm_jax.environment import EnvironmentSuite
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._model import Graphs
from etm_jax.graphs._neat import NEAT
from etm_jax.graphs._policy import GraphPolicy
from etm_jax.graphs._species import NO_SPECIES, NEATParams, breed, no_species
from etm_jax.graphs._variation import GraphRates, cross

SIZE = 100
SUITE = EnvironmentSuite((etm_tasks.make("t_maze"),), (1.0,))  # not played
STILL = NEATParams(perturb_rate=0, replace_rate=0, toggle_rate=0, add_connection_rate=0, add_node_rate=0)
GRAPH = minimal_graph(jax.random.key(0), 9, 10, 20, 100)  # 100 connections


@functools.cache
def breeding(capacity):
    table = no_species(jax.tree.map(lambda leaf: leaf[None], GRAPH), capacity, 1.0)
    run = jax.jit(
        lambda chance, belongs, fitness, best, idle: breed(
            chance, belongs, fitness, table.replace(best=best, idle=idle), NEATParams()
        )
    )

    def bred(seed, belongs, fitness, idle=0):
        chance = np.random.default_rng(seed).uniform(1e-6, 1, (3, len(fitness))).astype(np.float32)
        best = np.full(capacity, -np.inf if np.all(np.asarray(idle) == 0) else np.inf, np.float32)
        idle = np.broadcast_to(np.asarray(idle, np.int32), capacity)
        belongs = np.asarray(belongs, np.int32)
        return jax.tree.map(np.asarray, run(chance, belongs, np.asarray(fitness, np.float32), best, idle)[:2])

    return bred


def test_the_best_graph_survives_in_a_species_whose_share_is_less_than_one_place():
    """One graph of fitness 1 among 49 zeros, and ten species of five with 0.9."""
    belongs = np.array([0] * 50 + [1 + index // 5 for index in range(50)])
    fitness = np.array([1.0] + [0.0] * 49 + [0.9] * 50)
    lost = 0
    for seed in range(200):
        survivors, parents = breeding(16)(seed, belongs, fitness)
        kept = survivors[survivors != NO_SPECIES]
        lost += 0 not in kept
        assert sorted(belongs[kept]) == list(range(11))  # the champion of every species, once
        assert np.all(belongs[parents[:, 0]] == belongs[parents[:, 1]])
    assert lost == 0


def test_places_are_in_proportion_to_what_species_are_owed_beyond_one():
    belongs = np.repeat(np.arange(4), 25)
    fitness = np.repeat([1.0, 2.0, 4.0, 0.0], 25)
    counts = [np.bincount(belongs[breeding(16)(seed, belongs, fitness)[1][:, 0]], minlength=4) for seed in range(200)]
    owed = np.array([1, 2, 4, 0]) / 7 * SIZE
    expected = 1 + (SIZE - 4) * np.maximum(owed - 1, 0) / np.sum(np.maximum(owed - 1, 0))
    assert np.all(np.abs(np.array(counts) - expected) < 1)
    np.testing.assert_allclose(np.mean(counts, axis=0), expected, atol=0.15)


def test_with_fewer_places_than_species_the_best_have_them():
    fitness = np.array([3.0, 9.0, 5.0, 7.0])
    survivors, parents = breeding(16)(0, np.array([11, 2, 7, 5]), fitness)
    assert sorted(survivors) == [0, 1, 2, 3] and sorted(parents[:, 0]) == [0, 1, 2, 3]
    for seed in range(20):
        survivors, parents = breeding(2)(seed, np.array([0]), np.array([1.0]))
        assert survivors.tolist() == [0] and parents.tolist() == [[0, 0]]


def test_an_idle_species_with_the_best_graph_keeps_its_place_and_others_that_are_idle_have_none():
    belongs = np.repeat(np.arange(10), 10)
    fitness = np.where(np.arange(SIZE) == 37, 1.0, np.where(belongs == 3, 0.0, 0.9))
    for seed in range(20):
        survivors, parents = breeding(16)(seed, belongs, fitness, idle=np.where(np.arange(16) < 5, 15, 3))
        kept = survivors[survivors != NO_SPECIES]
        assert 37 in kept and sorted(belongs[kept]) == [3, 5, 6, 7, 8, 9]
        assert set(belongs[parents].ravel()) == {3, 5, 6, 7, 8, 9}


@pytest.mark.parametrize("fitness", [[3e38] * 50 + [-3e38] * 50, [0.0] * 100, [np.nan] * 100])
def test_finite_fitness_of_any_size_breeds_living_species(fitness):
    belongs = np.arange(SIZE) % 7
    for seed in range(10):
        survivors, parents = breeding(16)(seed, belongs, fitness)
        counts = np.bincount(belongs[parents[:, 0]], minlength=16)
        assert np.all(counts[:7] > 0) and counts.sum() == SIZE
        assert np.sum(survivors != NO_SPECIES) == (0 if np.isnan(fitness[0]) else 7)


def with_disabled(graph, rows):
    enabled = np.array(graph.enabled)
    enabled[..., list(rows)] = False
    return graph.replace(enabled=jnp.asarray(enabled))


CASES = {  # disabled in the first parent, in the second, share that is disabled in the child
    "none": ([], [], 0.0),
    "one": (range(100), [], 0.75),
    "the other": ([], range(100), 0.75),
    "both": (range(100), range(100), 1.0),
}


@functools.cache
def crossing():
    def children(chance, one, two, mates, rates):
        return jax.vmap(lambda chance: cross(chance, one, two, mates, rates).enabled)(chance)

    run = jax.jit(children)
    chance = np.random.default_rng(0).uniform(1e-6, 1, (40, 2, 100)).astype(np.float32)
    return lambda *arguments: 1 - np.mean(np.asarray(run(chance, *arguments)))


@pytest.mark.parametrize("case", CASES)
def test_a_connection_is_disabled_in_the_child_as_the_rule_says(case):
    """4,000 connections of children: three standard deviations of the share are 0.021."""
    first, second, share = CASES[case]
    one, two = with_disabled(GRAPH, first), with_disabled(GRAPH, second)
    tolerance = 0.021 if 0 < share < 1 else 0
    assert crossing()(one, two, True, GraphRates()) == pytest.approx(share, abs=tolerance)
    # Stanley and Miikkulainen 2002, section 4.1, at its word: one probability if it is disabled in either.
    at_its_word = crossing()(one, two, True, GraphRates(stays_disabled_in_both=0.75))
    assert at_its_word == pytest.approx(min(share, 0.75), abs=0.021 if share else 0)


def test_a_child_of_one_parent_has_its_connections_as_they_are():
    one, two = with_disabled(GRAPH, range(50)), with_disabled(GRAPH, range(25, 75))
    for rates in (GraphRates(), GraphRates(stays_disabled_in_both=0.75)):
        assert crossing()(one, two, False, rates) == 0.5


@pytest.mark.parametrize("in_both", [1.0, 0.75])
def test_without_mutations_a_disabled_connection_stays_so_in_children_of_one_parent(in_both):
    """Through `ask`: 4,000 children, none has what its parent has disabled."""
    rates = dataclasses.replace(STILL, crossover_rate=0.0, stays_disabled_in_both=in_both)
    keys = jax.random.split(jax.random.key(0), SIZE)
    strategy = NEAT(SIZE, minimal_graph(keys[0], 2, 1))
    graphs = with_disabled(jax.vmap(lambda key: minimal_graph(key, 2, 1))(keys), [1])
    state = strategy.init(jax.random.key(0), graphs, jnp.arange(float(SIZE)), rates)
    asked = jax.jit(jax.vmap(lambda key: strategy.ask(key, state, rates)[0].enabled))
    enabled = np.asarray(asked(jax.random.split(jax.random.key(1), 40)))[..., :3]
    assert enabled.shape == (40, SIZE, 3)
    np.testing.assert_array_equal(enabled, np.broadcast_to([True, False, True], enabled.shape))


def test_under_the_engine_the_same_rule_holds():
    """Parents that differ in one weight, with one connection disabled in the first and one in both."""
    still = GraphRates(perturb_rate=0.0, replace_rate=0.0, toggle_rate=0.0, add_connection_rate=0.0, add_node_rate=0.0)
    model = Graphs(GraphConfig(variation=still), SUITE, GraphPolicy(2, 2))
    first = model.random(jax.random.key(0))
    second = with_disabled(first.replace(weights=first.weights.at[0].add(1)), [2])
    first = with_disabled(first, [1, 2])

    @jax.jit
    def children(keys, mates):
        child = jax.vmap(lambda key: model.offspring(key, first, second, mates, jnp.array(0.0)))
        return child(keys).enabled[:, :6]

    keys = jax.random.split(jax.random.key(1), 1000)
    off = 1 - np.mean(np.asarray(children(keys, jnp.array(True))), axis=0)
    np.testing.assert_array_equal(np.delete(off, 1), [0, 1, 0, 0, 0])
    assert off[1] == pytest.approx(0.75, abs=0.06)
    alone = 1 - np.mean(np.asarray(children(keys, jnp.array(False))), axis=0)
    np.testing.assert_array_equal(alone, [0, 1, 1, 0, 0, 0])
