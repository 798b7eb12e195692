"""A run small enough for a test, compiled once a session."""

import dataclasses
import functools

import jax

import etm_tasks
from etm_jax.config import EvolutionaryTuringConfig, LifetimeConfig
from etm_jax.evolution import init, make_problem, replicated, step
from etm_jax.genomes import Bounds
from etm_jax.task import TaskSuite

BOUNDS = Bounds(
    num_slots=(5, 7), slot_width=(3, 4), num_read_heads=(1, 2), num_write_heads=(1, 2), controller_size=(4, 6)
)
SUITE = TaskSuite(
    (etm_tasks.make("copy", bits=2, max_length=2), etm_tasks.make("recall", bits=2, item_length=1, max_items=2)),
    (0.5, 0.3),
)
CONFIG = EvolutionaryTuringConfig(
    population_size=4,
    max_generations=4,
    task=("copy=0.5,bits=2,max_length=2", "recall=0.3,bits=2,item_length=1,max_items=2"),
    score_episodes=4,
    bounds=BOUNDS,
    lifetime=LifetimeConfig(steps=2, batch_size=2, optimiser="sgd", learning_rate=0.1),  # quick to compile
)


@functools.cache
def problem(**changes):
    """The problem of CONFIG with some settings changed."""
    return make_problem(dataclasses.replace(CONFIG, **changes), SUITE)


@functools.cache
def compiled_step(**changes):
    """One generation of `problem(**changes)`, jitted."""
    made = problem(**changes)
    whole = replicated(made.mesh)
    return jax.jit(lambda state: step(made, state), in_shardings=whole, out_shardings=whole)


@functools.cache
def compiled_init(**changes):
    """The first state of `problem(**changes)` from a key, jitted."""
    made = problem(**changes)
    return jax.jit(lambda key: init(made, key), out_shardings=replicated(made.mesh))


@functools.cache
def after(generations, **changes):
    """State and metrics after some generations."""
    state, metrics = compiled_init(**changes)(jax.random.key(0)), {}
    for _ in range(generations):
        state, metrics = compiled_step(**changes)(state)
    return state, metrics
