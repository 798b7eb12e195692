"""Scores that every model has: a result, a validation score, and a champion's on episodes never evolved on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.stages import Lowered
from jaxtyping import Array

from etm_jax._compiling import compile_all, tracing
from etm_jax._typing import Key, Scalar
from etm_jax.environment import AnySuite, Suite
from etm_jax.models._context import Context
from etm_jax.models._model import Result
from etm_jax.runs._rows import LENGTHS, at_length, by_task, plain_array

CHAMPION_LENGTHS = (1, 2)  # multiples of the greatest length at which every champion is chosen
# Of each task, by multiple of the greatest length: longer episodes cost more.
HELD_OUT_EPISODES = {1: 1000, 2: 1000, 5: 500, 10: 250}
HELD_OUT_STREAM = 2**31 - 1  # folded into the seed: a stream of keys that no generation draws from


Examined = tuple[Result, dict[str, dict[str, Any]]]
Examine = Callable[[Any, Key, Array, Any, int], Examined]


class Asked(NamedTuple):
    """What individuals are scored on at one length: a suite, and how many episodes of each task."""

    suite: Any
    episodes: int


def asked_of(suite: AnySuite, context: Context) -> dict[int, Asked]:
    """What an evaluation scores on, by multiple of the greatest length.

    The champion is chosen by all of it, and so twice the length has as many episodes as the length itself. The other
    lengths are those of the fitness.
    """
    lengths = sorted({*CHAMPION_LENGTHS, *context.longer})
    episodes = dict.fromkeys(lengths, context.longer_episodes) | dict.fromkeys(CHAMPION_LENGTHS, context.score_episodes)
    return {length: Asked(longer, episodes[length]) for length, longer in suite.at_lengths(lengths).items()}


def key_at(key: Key, length: int) -> Key:
    """The key of the episodes at a multiple of the greatest length."""
    return key if length in CHAMPION_LENGTHS else jax.random.fold_in(key, length)


def result_of(suite: Suite, *played: Any, by_episode: bool = False) -> Result:
    """The scores of answers and their episode, or of rollouts; `by_episode` a case each, 0 where it is not finite."""
    loss = suite.loss(*played)
    cases = suite.performance_by_episode(*played) if by_episode else None
    return Result(
        performance=suite.performance(*played),
        accuracy=suite.accuracy(*played),
        loss=loss,
        finite=jnp.isfinite(loss),
        cases=None if cases is None else jnp.where(jnp.isfinite(cases), cases, 0),
    )


def with_longer(results: Mapping[int, Result], longer: Sequence[int]) -> Result:
    """The result at the trained length, with the scores and the cases of one individual at the longer lengths."""
    own = results[1]
    if not longer:
        return own
    cases = [cases for length in (1, *longer) if (cases := results[length].cases) is not None]
    sound = {length: results[length].finite & jnp.isfinite(results[length].performance) for length in longer}
    performance, accuracy = (
        {length: jnp.where(sound[length], getattr(results[length], score), 0) for length in longer}
        for score in ("performance", "accuracy")
    )
    return replace(own, cases=jnp.concatenate(cases) if cases else None, longer=performance, longer_accuracy=accuracy)


def validation_score(suite: Suite, results: Sequence[Result]) -> Scalar:
    """How reliably a genome solves the tasks: weighted reliability, averaged over the lengths of `asked_of`.

    It decides who is champion, and nothing else. NaN if the evaluation failed at any length.
    """
    weights = jnp.array(suite.weights) / sum(suite.weights)
    sound = jnp.all(jnp.stack([result.finite for result in results]))
    solved = [suite.reliability(result.accuracy, result.performance) for result in results]
    return jnp.where(sound, jnp.mean(jnp.stack(solved), axis=0) @ weights, jnp.nan)


def held_out(examine: Examine, genome: Any, seed: int, suite: Suite, *, by_xla: bool = True) -> dict[str, Any]:
    """Scores on fresh episodes, of tasks at several multiples of their greatest length.

    Args:
        examine: of a genome, a key, the difficulties, a suite and a number of episodes: the result, and what tasks add.
        genome: one individual.
        seed: of the run, which has drawn none of these episodes.
        suite: the tasks or environments.
        by_xla: XLA computes the genome; False: a kernel does.

    Returns:
        By `at_length` of the score's name, then by task: `accuracy` and `performance`, and under `extra` what tasks add
        of their own. The number of episodes of each task under `episodes`. Under `left_out` why a task has no form of
        that length.
    """
    key = jax.random.fold_in(jax.random.key(seed), HELD_OUT_STREAM)
    lowered = lower_held_out(examine, genome, suite)
    programs = compile_all(lowered, operations_held_out(genome, suite, by_xla=by_xla))
    scores: dict[str, Any] = {}
    for length, asked in held_out_suites(suite).items():
        result, extra = programs[held_out_name(length)](genome, key_at(key, length))
        absent = {} if length == 1 else suite.without_longer(length)
        found = {name: by_task(suite.names, getattr(result, name)) for name in ("accuracy", "performance")}
        found |= {"extra": jax.tree.map(plain_array, extra)} if extra else {}
        scores[at_length("episodes", length)] = asked.episodes
        for name, values in found.items():
            scores[at_length(name, length)] = {task: of for task, of in values.items() if task not in absent}
        if absent:
            scores[at_length("left_out", length)] = absent
    return scores


def held_out_suites(suite: Suite) -> dict[int, Asked]:
    """What held-out scores are measured on, by multiple of the greatest length."""
    return {length: Asked(longer, HELD_OUT_EPISODES[length]) for length, longer in suite.at_lengths(LENGTHS).items()}


def held_out_name(length: int) -> str:
    """The program of `held_out` at a multiple of the greatest length, as profiles and logs show it."""
    return at_length(held_out.__name__, length)


def lower_held_out(examine: Examine, genome: Any, suite: Suite) -> dict[str, Lowered]:
    """The programs of `held_out`, traced, by `held_out_name`: functions of a genome and a key."""
    full = jnp.ones(len(suite.names))

    def lower(length: int, asked: Asked) -> Lowered:
        def ask(genome: Any, key: Key) -> Examined:
            return examine(genome, key, full, *asked)

        ask.__name__ = held_out_name(length)
        return jax.jit(ask).lower(genome, jax.random.key(0))

    with tracing():
        return {held_out_name(length): lower(length, asked) for length, asked in held_out_suites(suite).items()}


def operations_held_out(genome: Any, suite: Suite, *, by_xla: bool = True) -> dict[str, int | float]:
    """An estimate of the arithmetic operations of each program; infinite for environments, whose length is unknown.

    It is 0 where a kernel computes the genome.
    """
    weights = sum(leaf.size for leaf in jax.tree.leaves(genome))
    return {
        held_out_name(length): weights * asked.suite.num_steps * len(suite.names) * asked.episodes if by_xla else 0
        for length, asked in held_out_suites(suite).items()
    }
