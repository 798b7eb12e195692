"""A run small enough for a test, compiled once a session."""

import dataclasses
import functools

import jax
import numpy as np

import etm_tasks
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import init, step
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig
from etm_jax.parallel._devices import replicated
from etm_jax.task import TaskSuite

BOUNDS = Bounds(
    num_slots=(5, 7), slot_width=(3, 4), num_read_heads=(1, 2), num_write_heads=(1, 2), controller_size=(4, 6)
)
SUITE = TaskSuite(
    (etm_tasks.make("copy", bits=2, max_length=2), etm_tasks.make("recall", bits=2, item_length=1, max_items=2)),
    (0.5, 0.3),
)
COPY = TaskSuite((etm_tasks.make("copy", bits=2, max_length=2),), (1.0,))  # a third less to compile
CONFIG = EvolutionaryTuringConfig(
    population_size=4,
    max_generations=5,
    generations_per_chunk=2,
    devices=1,  # several cost a third more to compile
    task=("copy=0.5,bits=2,max_length=2", "recall=0.3,bits=2,item_length=1,max_items=2"),
    score_episodes=4,
    # Plain descent is quick to compile, and rounding stays rounding: Adam's first steps divide it by next to nothing.
    model=NetworksConfig(
        bounds=BOUNDS, lifetime=LifetimeConfig(steps=2, batch_size=2, optimiser="sgd", learning_rate=0.1)
    ),
)
DARWINIAN = dataclasses.replace(CONFIG.model.lifetime, inheritance="darwinian")  # half as much to compile


def settings(config=CONFIG, **changes):
    """The settings with some of the engine's or of the model's own changed, told apart by their names."""
    own = {field.name for field in dataclasses.fields(config.model)}
    mine = {name: value for name, value in changes.items() if name in own}
    rest = {name: value for name, value in changes.items() if name not in own}
    return dataclasses.replace(config, **{"model": dataclasses.replace(config.model, **mine), **rest})


@functools.cache
def problem(suite=SUITE, **changes):
    """The problem of CONFIG with some settings changed."""
    return make_problem(settings(**changes), suite)


def compiled_step(suite=SUITE, **changes):
    """One generation of `problem(suite, **changes)`, jitted once for the same settings."""
    return _programs(problem(suite, **changes).config, suite)[1]


def compiled_init(suite=SUITE, **changes):
    """The first state of `problem(suite, **changes)` from a key, jitted once for the same settings."""
    return _programs(problem(suite, **changes).config, suite)[0]


def changed(state, **leaves):
    """The state with leaves of its population replaced, named as `scores__alive`, each placed like the one before it.

    An array placed otherwise would be traced and compiled again.
    """

    def replace(node, names, value):
        name, *below = names
        old = getattr(node, name)
        new = replace(old, below, value) if below else jax.device_put(np.asarray(value, old.dtype), old.sharding)
        return dataclasses.replace(node, **{name: new})

    population = state.population
    for name, value in leaves.items():
        population = replace(population, name.split("__"), value)
    return dataclasses.replace(state, population=population)


@functools.cache
def _programs(config, suite):
    made = make_problem(config, suite)
    whole = replicated(made.mesh)
    start = jax.jit(lambda key: init(made, key), out_shardings=whole)
    return start, jax.jit(lambda state: step(made, state), in_shardings=whole, out_shardings=whole)


def after(generations, suite=SUITE, **changes):
    """State after some generations, and the record of the last one; None for none."""
    return _after(generations, problem(suite, **changes).config, suite)


@functools.cache
def _after(generations, config, suite):
    start, advance = _programs(config, suite)
    if generations == 0:
        return start(jax.random.key(0)), None
    return advance(_after(generations - 1, config, suite)[0])
