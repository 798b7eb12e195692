"""Gradient steps of a generation shared out among its individuals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_close
from tiny import CONFIG as RUN
from tiny import after, changed, compiled_step, problem
from toy_model import Points, toy_problem

from etm_jax.config import IslandConfig, SelectionConfig
from etm_jax.evolution._generation import create, inherited_fitness, init, learn, step
from etm_jax.evolution._state import NO_ID
from etm_jax.networks import LifetimeConfig
from etm_jax.networks._batches import dealt
from etm_jax.networks.learning._gradient import CAP, FLOOR, lifetime_steps
from etm_jax.runs._history import lineage_row
from etm_jax.selection import TournamentSelection

CONFIG = LifetimeConfig(steps=100, budget="swarm")

shared_out = jax.jit(lambda before, after: lifetime_steps(CONFIG.steps, *inherited_fitness(before, after)))


def steps_of(fitness, ids, parents):
    """Steps of individuals with these ids and parents, after a generation of ids 0 to n-1 with this fitness."""
    first = after(0)[0]
    before = changed(first, scores__fitness=fitness, scores__alive=np.isfinite(fitness)).population
    own = changed(first, ids=list(ids), parents=[[one] * 2 for one in parents]).population
    return np.asarray(shared_out(before, own))


@pytest.fixture(scope="module")
def size():
    return RUN.population_size


def test_fitter_individuals_get_more_steps_of_the_same_sum(size):
    steps = steps_of(np.linspace(0.1, 0.9, size), range(size), [NO_ID] * size)
    assert steps.sum() == size * CONFIG.steps
    assert np.all(np.diff(steps) >= 0) and steps[-1] > steps[0]
    assert steps.min() >= FLOOR * CONFIG.steps and steps.max() <= CAP * CONFIG.steps


def test_a_child_counts_as_its_first_parent(size):
    fitness = np.linspace(0.1, 0.9, size)
    children = steps_of(fitness, range(100, 100 + size), range(size)[::-1])
    np.testing.assert_array_equal(children, steps_of(fitness, range(size), [NO_ID] * size)[::-1])


def test_where_nothing_is_known_shares_are_even(size):
    np.testing.assert_array_equal(steps_of([np.nan] * size, range(size), [NO_ID] * size), CONFIG.steps)


def resting(count, **changes):
    """The networks of RUN of which so many rest."""
    return problem(lifetime=dataclasses.replace(RUN.model.lifetime, resting=count, **changes)).model


def test_the_fittest_survivors_rest_and_others_learn_as_long_as_ever():
    """Of members 0, 1 and 3, which survived, 1 and 3 are the fittest; 2, a child, has a fitter parent."""
    fitness, known = jnp.array([0.1, 0.7, 0.9, 0.4]), jnp.array([True] * 4)
    steps = resting(2).budgets(fitness, known, jnp.array([True, True, False, True]))
    assert steps.tolist() == [2, 0, 2, 0]
    assert resting(9).budgets(fitness, known, jnp.array([True, True, False, True])).tolist() == [0, 0, 2, 0]
    assert resting(2).budgets(fitness, known, jnp.zeros(4, bool)).tolist() == [2] * 4
    assert resting(0).budgets(fitness, known, jnp.ones(4, bool)) is None


def test_survivors_of_the_warm_up_do_not_rest_and_those_of_selection_keep_their_weights():
    made = problem(lifetime=dataclasses.replace(RUN.model.lifetime, resting=1))
    created = jax.jit(lambda state: create(made, state))
    state = changed(after(0)[0], scores__alive=np.ones(RUN.population_size), scores__fitness=[0.1, 0.9, 0.2, 0.3])
    population, steps = created(state)
    assert population.ids.tolist() == state.population.ids.tolist() and steps.tolist() == [2] * 4
    state = dataclasses.replace(state, generation=jax.device_put(np.int32(1), state.generation.sharding))
    population, steps = created(state)
    assert population.ids[:2].tolist() == [1, 3] and steps.tolist() == [0, 2, 2, 2]
    learnt = jax.jit(lambda state: learn(made, state, population, steps))(state)
    for before, now in zip(*map(jax.tree.leaves, (population.genomes.params, learnt.params)), strict=True):
        np.testing.assert_array_equal(before[0], now[0])
    before, now = (np.asarray(one.params["output"]["bias"]) for one in (population.genomes, learnt))
    assert np.all(np.any(before != now, axis=-1) == [False, True, True, True])


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_devices_are_dealt_about_the_same_number_of_steps(devices):
    steps = np.random.default_rng(0).integers(50, 200, 32)
    order = np.asarray(dealt(jnp.asarray(steps), devices))
    assert sorted(order) == list(range(32))
    totals = steps[order].reshape(devices, -1).sum(1)
    assert totals.max() - totals.min() <= 150  # less than one individual may differ from another


@pytest.mark.slow
def test_a_generation_of_unknowns_is_the_even_one_and_the_next_one_shares_by_fitness():
    """In the first generation no fitness is known, so all learn equally long; then by fitness, and all still learn."""
    shared = compiled_step(lifetime=dataclasses.replace(RUN.model.lifetime, budget="swarm"))
    first, _ = shared(after(0)[0])
    assert_trees_close(first.population.genomes, after(1)[0].population.genomes, rtol=1e-3, atol=1e-5)
    _, record = shared(first)
    assert np.all(np.isfinite(record.fitness))


@dataclasses.dataclass(frozen=True)
class Budgeted(Points):
    """Points with seven gradient steps; or with as many as their places say, and none for who survived selection."""

    shares: bool = False
    training = (7, 1)

    def budgets(self, fitness, known, selected):
        return jnp.where(selected, 0, jnp.arange(fitness.size)) if self.shares else None


@dataclasses.dataclass(frozen=True)
class Untaught(Points):
    inheritance = "darwinian"


def spent(model, **changes):
    """What the third generation of 16 points spent, as the lineage has it, and the population after it."""
    made = dataclasses.replace(toy_problem(**changes), model=model)
    state = init(made, jax.random.key(0))
    advance = jax.jit(lambda state: step(made, state))
    for _ in range(3):
        state, record = advance(state)
    return lineage_row(2, jax.device_get(record))["spent"], state.population


def test_the_lineage_has_the_steps_and_the_cost_of_every_individual():
    found, population = spent(Budgeted())
    assert found["steps"] == [7] * 16
    np.testing.assert_allclose(found["multiply_adds"], 1 + np.asarray(population.genomes)[:, 1], rtol=1e-6)
    assert spent(Untaught())[0] == {}


@pytest.mark.parametrize("islands", [1, 2])
def test_who_survives_selection_is_known_on_every_island(islands):
    """There the elites come first."""
    selection = SelectionConfig(TournamentSelection(size=2, num_elites=2))
    found, _ = spent(Budgeted(shares=True), selection=selection, islands=IslandConfig(count=islands))
    assert found["steps"] == [0, 0, *range(2, 16 // islands)] * islands
