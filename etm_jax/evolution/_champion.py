"""What a run found: the champion as a compact network, and its scores on episodes never seen before."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.stages import Lowered
from jaxtyping import Array, Float

from etm_jax._compiling import compile_all, tracing
from etm_jax._typing import Key
from etm_jax.environment import EnvironmentSuite, Suite
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import EvolutionState
from etm_jax.models._model import Result
from etm_jax.models._scores import result_of
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome
from etm_jax.networks.learning._score import answer, score
from etm_jax.networks.learning._suites import lengths_of
from etm_jax.runs._rows import by_task, plain_array
from etm_jax.task import TaskSuite

HELD_OUT_EPISODES = 1000
HELD_OUT_STREAM = 2**31 - 1  # folded into the seed: a stream of keys that no generation draws from


Examined = tuple[Result, dict[str, dict[str, Any]]]
Examine = Callable[[Any, Key, Array, Any, int], Examined]


def held_out(examine: Examine, genome: Any, seed: int, suite: Suite) -> dict[str, Any]:
    """Scores on fresh episodes, at the lengths evolved on and (tasks) at exactly twice the greatest.

    Args:
        examine: of a genome, a key, the difficulties, a suite and a number of episodes: the result, and what tasks add.
        genome: one individual.
        seed: of the run, which has drawn none of these episodes.
        suite: the tasks or environments.

    Returns:
        By name of the score, then of the task; under `extra` and `extra_twice_length` what tasks add of their own.
    """
    key = jax.random.fold_in(jax.random.key(seed), HELD_OUT_STREAM)
    lowered = lower_held_out(examine, genome, suite)
    programs = compile_all(lowered, dict.fromkeys(lowered, operations_held_out(genome, suite)))
    scores: dict[str, Any] = {"episodes": HELD_OUT_EPISODES}
    for suffix, program in programs.items():
        result, extra = program(genome, key)
        for name in ("accuracy", "performance"):
            scores[name + suffix] = by_task(suite.names, getattr(result, name))
        if extra:
            scores["extra" + suffix] = jax.tree.map(plain_array, extra)
    return scores


def lower_held_out(examine: Examine, genome: Any, suite: Suite) -> dict[str, Lowered]:
    """The programs of `held_out`, traced, by suffix of their scores' names: functions of a genome and a key."""
    full = jnp.ones(len(suite.names))

    def lower(suffix: str, asked: Suite) -> Lowered:
        def ask(genome: Any, key: Key) -> Examined:
            return examine(genome, key, full, asked, HELD_OUT_EPISODES)

        ask.__name__ = held_out.__name__ + suffix  # as profiles and logs show it
        return jax.jit(ask).lower(genome, jax.random.key(0))

    with tracing():
        return {suffix: lower(suffix, asked) for suffix, asked in lengths_of(suite).items()}


def operations_held_out(genome: Any, suite: Suite) -> int | float:
    """An estimate of the arithmetic operations of `held_out`; infinite for environments, whose length is unknown."""
    if not isinstance(suite, TaskSuite):
        return math.inf
    weights = sum(leaf.size for leaf in jax.tree.leaves(genome))
    return weights * suite.num_steps * len(suite.names) * HELD_OUT_EPISODES


def held_out_scores(genome: Genome, seed: int, bounds: Bounds, suite: Suite) -> dict[str, Any]:
    """`held_out` of one network, which belongs to the search space of these bounds."""
    return held_out(functools.partial(examine_network, bounds), genome, seed, suite)


def examine_network(
    bounds: Bounds, genome: Genome, key: Key, difficulty: Float[Array, " task"], suite: Suite, episodes: int
) -> Examined:
    """How one network does; an `Examine` but for the bounds."""
    if isinstance(suite, EnvironmentSuite):
        return score(key, genome, difficulty, bounds=bounds, suite=suite, num_episodes=episodes), {}
    run, episode = answer(key, genome, difficulty, bounds=bounds, suite=suite, num_episodes=episodes)
    return result_of(suite, run.outputs, episode), suite.extra_scores(run.outputs, episode)


def summarise(
    problem: Problem, state: EvolutionState, compile_seconds: float, run_seconds: float, started: float
) -> dict[str, Any]:
    """The champion and its held-out scores, as `summary.json` holds them.

    Args:
        problem: what evolved.
        state: the last one.
        compile_seconds: before and between generations.
        run_seconds: of the generations.
        started: `time.perf_counter()` when the run began; the total is until these scores were there.
    """
    return {
        "champion_id": int(state.champion_id),
        **problem.family.report(problem, state.champion),
        "seconds": {
            "total": round(time.perf_counter() - started, 1),
            "compile": round(compile_seconds, 1),
            "run": round(run_seconds, 1),
        },
        "generations": int(state.generation),
    }
