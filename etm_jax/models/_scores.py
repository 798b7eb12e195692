"""Scores that every model has: a result, a validation score, and a champion's on episodes never evolved on."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.stages import Lowered
from jaxtyping import Array

from etm_jax._compiling import compile_all, tracing
from etm_jax._typing import Key, Scalar
from etm_jax.environment import Suite
from etm_jax.models._model import Result
from etm_jax.runs._rows import by_task, plain_array

HELD_OUT_EPISODES = 1000
HELD_OUT_STREAM = 2**31 - 1  # folded into the seed: a stream of keys that no generation draws from


Examined = tuple[Result, dict[str, dict[str, Any]]]
Examine = Callable[[Any, Key, Array, Any, int], Examined]


def result_of(suite: Suite, *played: Any) -> Result:
    """The scores of answers and their episode, or of rollouts."""
    loss = suite.loss(*played)
    return Result(
        performance=suite.performance(*played),
        accuracy=suite.accuracy(*played),
        loss=loss,
        finite=jnp.isfinite(loss),
    )


def validation_score(suite: Suite, results: Sequence[Result]) -> Scalar:
    """How reliably a genome solves the tasks: weighted reliability, averaged over what `lengths` the suite has.

    It decides who is champion, and nothing else: selection sees the fitness alone, which knows no longer lengths. NaN
    for a failed evaluation.
    """
    weights = jnp.array(suite.weights) / sum(suite.weights)
    sound = jnp.all(jnp.stack([result.finite for result in results]))
    solved = [suite.reliability(result.accuracy, result.performance) for result in results]
    return jnp.where(sound, jnp.mean(jnp.stack(solved), axis=0) @ weights, jnp.nan)


def held_out(examine: Examine, genome: Any, seed: int, suite: Suite, *, by_xla: bool = True) -> dict[str, Any]:
    """Scores on fresh episodes, at the lengths evolved on and (tasks) at exactly twice the greatest.

    Args:
        examine: of a genome, a key, the difficulties, a suite and a number of episodes: the result, and what tasks add.
        genome: one individual.
        seed: of the run, which has drawn none of these episodes.
        suite: the tasks or environments.
        by_xla: XLA computes the genome; False: a kernel does.

    Returns:
        By name of the score, then of the task; under `extra` and `extra_twice_length` what tasks add of their own.
    """
    key = jax.random.fold_in(jax.random.key(seed), HELD_OUT_STREAM)
    lowered = lower_held_out(examine, genome, suite)
    programs = compile_all(lowered, dict.fromkeys(lowered, operations_held_out(genome, suite) if by_xla else 0))
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
        return {suffix: lower(suffix, asked) for suffix, asked in suite.lengths.items()}


def operations_held_out(genome: Any, suite: Suite) -> int | float:
    """An estimate of the arithmetic operations of `held_out`; infinite for environments, whose length is unknown."""
    weights = sum(leaf.size for leaf in jax.tree.leaves(genome))
    return weights * suite.num_steps * len(suite.names) * HELD_OUT_EPISODES
