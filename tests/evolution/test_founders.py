"""Founders: of what size they are, and how more of them than places are raised by successive halving."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from helpers import assert_trees_close, assert_trees_equal
from tiny import BOUNDS, CONFIG, COPY, problem

from etm_jax.config import IslandConfig
from etm_jax.evolution import first_state
from etm_jax.evolution._founders import RAISING
from etm_jax.evolution._programs import compile_generation, compile_raising
from etm_jax.evolution._run import run
from etm_jax.models._model import member
from etm_jax.networks import LifetimeConfig, VariationRates
from etm_jax.runs._checkpoint import Checkpoints

PLACES, BIRTHS = CONFIG.population_size, 4
LIFETIME = dataclasses.replace(CONFIG.model.lifetime, births=BIRTHS, steps=6)


def raising(**changes):
    return problem(COPY, lifetime=dataclasses.replace(LIFETIME, **changes))


@functools.cache
def raised(**changes):
    made = raising(**changes)
    state = first_state(made)
    return state, compile_raising(made, state)(state)


@functools.cache
def by_hand():
    """All individuals as they are born and after their last rung, who is left, and the steps of every rung."""
    made = raising()
    model, size = made.model, PLACES * BIRTHS
    episodes = CONFIG.score_episodes // BIRTHS
    context = dataclasses.replace(made.context, population_size=size, score_episodes=episodes)
    state = first_state(made)
    key_birth, key_rungs = jax.random.split(jax.random.fold_in(state.key, RAISING))
    born = genomes = jax.jit(model.founders, static_argnums=1)(key_birth, size)

    @jax.jit
    def live(key, genomes, steps):
        genomes = model.learn(context, key, genomes, state.difficulty, state.generation, steps)
        result = model.evaluate(context, key, genomes, member(genomes, 0), state.difficulty).result
        return genomes, result.loss

    left, spent = list(range(size)), []
    for rung in range(2):
        steps = np.zeros(size, np.int32)
        steps[left] = LIFETIME.steps * PLACES // len(left)
        spent.append(steps)
        genomes, loss = live(jax.random.fold_in(key_rungs, rung), genomes, steps)
        left = sorted(sorted(left, key=lambda one: float(loss[one]))[: len(left) // 2])
    return born, genomes, jax.device_put(np.asarray(left)), spent


def test_the_better_half_goes_on_at_every_rung():
    _, genomes, left, spent = by_hand()
    state, found = raised()
    assert left.size == PLACES
    assert not np.array_equal(left, np.arange(PLACES))  # or the test could not tell
    assert_trees_close(found.population.genomes, member(genomes, left), rtol=1e-4, atol=1e-6)
    assert np.all(found.population.alive)
    assert_trees_equal(found.population.ids, state.population.ids)
    # Each rung takes the steps of a generation, but for a part of a step each.
    assert [steps.sum() for steps in spent] == [PLACES * BIRTHS * 1, PLACES * BIRTHS // 2 * 3]
    assert all(steps.sum() <= PLACES * LIFETIME.steps for steps in spent)


def test_under_baldwin_the_chosen_are_as_they_were_born():
    born, _, left, _ = by_hand()
    _, found = raised(inheritance="baldwinian")
    assert_trees_equal(found.population.genomes, member(born, left))


def test_the_first_generation_keeps_the_founders():
    state, found = raised()
    after, _ = compile_generation(raising(), state)(found)
    assert_trees_equal(after.population.ids, np.arange(PLACES))
    assert_trees_equal(after.population.genomes.architecture, found.population.genomes.architecture)
    assert_trees_equal(after.population.scores.age, np.zeros(PLACES, np.int32))


def test_a_single_birth_a_place_changes_nothing():
    made = problem(COPY)
    state = first_state(made)
    assert compile_raising(made, state)(state) is state


class StoppedError(Exception):
    """Ends a run."""


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one_and_raises_nobody_again(tmp_path, monkeypatch):
    made = raising()
    whole = run(made).state

    def stop(row):
        if row["generation"] == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(made, checkpoints=Checkpoints(tmp_path, "these"), on_generation=stop)
    monkeypatch.setattr("etm_jax.evolution._run.compile_raising", None)
    resumed = run(made, checkpoints=Checkpoints(tmp_path, "these")).state
    assert_trees_equal(resumed.population, whole.population)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"islands": IslandConfig(count=2)}, {"devices": 2}])
def test_islands_and_devices_get_the_same_founders(settings):
    made = problem(COPY, lifetime=LIFETIME, **settings)
    state = first_state(made)
    found = compile_raising(made, state)(state)
    assert_trees_close(found.population.genomes, raised()[1].population.genomes, rtol=1e-4, atol=1e-6)
    compile_generation(made, found)(found)  # placed as it takes them


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"births": 3}, "lifetime.births must be a power of 2, since half of them stop, got 3"),
        ({"births": 0}, "lifetime.births must be a whole number of at least 1"),
        ({"births": 128}, r"lifetime.births must be at most lifetime.steps \(100\), which they share, got 128"),
        ({"births": 2, "inheritance": "darwinian"}, "lifetime.births must be 1 where nothing is learned"),
        ({"resting": -1}, "lifetime.resting must be a whole number of at least 0"),
    ],
)
def test_births_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LifetimeConfig(**settings)


def test_small_founders_have_the_least_sizes_and_any_kind():
    bounds = dataclasses.replace(BOUNDS, controllers=("lstm", "gru"), memories=("none", "ntm"))
    made = problem(COPY, bounds=bounds, variation=VariationRates(founders="small"))
    drawn = jax.jit(jax.vmap(made.model.random))(jax.random.split(jax.random.key(0), 20)).architecture
    for gene, (low, _) in bounds.ranges.items():
        np.testing.assert_array_equal(getattr(drawn, gene), low)
    assert len(set(np.asarray(drawn.controller).tolist())) == len(set(np.asarray(drawn.memory).tolist())) == 2


@pytest.mark.parametrize("count", [5, 10, 12, 40])
def test_founders_have_every_kind_in_equal_shares(count):
    """Of ten independent draws one memory of three has two at most in 30 % of all cases."""
    bounds = dataclasses.replace(
        BOUNDS,
        controllers=("feedforward", "rnn", "gru", "lstm"),
        memories=("none", "ntm", "tape"),
        addressing=("content",),
    )
    model = problem(COPY, bounds=bounds).model
    draw = jax.jit(lambda key: model.founders(key, count).architecture)
    orders = set()
    for seed in range(5):
        drawn = draw(jax.random.key(seed))
        kinds = [tuple(pair) for pair in np.stack([drawn.memory, drawn.controller], axis=1).tolist()]
        orders.add(tuple(kinds))
        for shares, parts in ((kinds, 12), ([memory for memory, _ in kinds], 3)):
            held = [shares.count(kind) for kind in set(shares)]
            assert len(held) == min(parts, count)
            assert max(held) - min(held) <= 1
    assert len(orders) == 5  # the order is random


def test_founders_of_one_kind_are_independent_draws():
    model = problem(COPY, bounds=dataclasses.replace(BOUNDS, addressing=("content",))).model
    key = jax.random.key(3)
    alone = jax.jit(jax.vmap(model.random))(jax.random.split(key, 4))
    assert_trees_equal(jax.jit(model.founders, static_argnums=1)(key, 4), alone)
