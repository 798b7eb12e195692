"""What a run found: the champion as a compact network, and its scores on episodes never seen before."""

from typing import Any

import jax
import jax.numpy as jnp

from etm_jax.evolution._history import plain
from etm_jax.evolution._lifetime import score
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import EvolutionState
from etm_jax.evolution._suites import lengths_of
from etm_jax.genomes import describe, num_parameters

HELD_OUT_EPISODES = 1000
HELD_OUT_STREAM = 2**31 - 1  # folded into the seed: a stream of keys that no generation draws from


def held_out_scores(problem: Problem, state: EvolutionState) -> dict[str, Any]:
    """Scores of the champion on fresh episodes, at the lengths evolved on and, of tasks, at twice the greatest."""
    key = jax.random.fold_in(jax.random.key(problem.config.seed), HELD_OUT_STREAM)
    full = jnp.ones(len(problem.suite.names))
    scores: dict[str, Any] = {"episodes": HELD_OUT_EPISODES}
    for suffix, suite in lengths_of(problem.suite).items():
        result = jax.jit(
            lambda genome, key, suite=suite: score(
                key, genome, full, bounds=problem.config.bounds, suite=suite, num_episodes=HELD_OUT_EPISODES
            )
        )(state.champion, key)
        for name in ("accuracy", "performance"):
            values = zip(suite.names, getattr(result, name), strict=True)
            scores[name + suffix] = {task: plain(value) for task, value in values}
    return scores


def summarise(
    problem: Problem, state: EvolutionState, compile_seconds: float, run_seconds: float, total_seconds: float
) -> dict[str, Any]:
    """The champion and its held-out scores, as `summary.json` holds them."""
    return {
        "champion_id": int(state.champion_id),
        "architecture": describe(state.champion.architecture),
        "num_parameters": int(num_parameters(state.champion, problem.config.bounds)),
        "held_out": held_out_scores(problem, state),
        "seconds": {
            "total": round(total_seconds, 1),
            "compile": round(compile_seconds, 1),
            "run": round(run_seconds, 1),
        },
        "generations": int(state.generation),
    }
