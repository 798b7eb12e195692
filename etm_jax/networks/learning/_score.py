"""How a network does on fresh episodes: in tasks, in environments, and with its memory."""

import functools
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Key, Scalar
from etm_jax.environment import EnvironmentSuite, Suite
from etm_jax.models._model import Result
from etm_jax.models._scores import Examined, held_out, result_of
from etm_jax.networks.genome._genes import Genome
from etm_jax.networks.genome._genome import stepper
from etm_jax.networks.learning._lifetime import Lifetime, unroll_episode
from etm_jax.networks.native import unserved
from etm_jax.task import before_end

SLOTS_USED = "slots_used"
MEMORY_USE = (SLOTS_USED, "read_sharpness")


def score(
    lifetime: Lifetime,
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    num_episodes: int,
    *,
    behaves: bool = False,
) -> Result:
    """Score one individual on `num_episodes` fresh episodes of each task or environment. The key is consumed.

    If it `behaves`, the result also has what it did.
    """
    suite = lifetime.suite
    if isinstance(suite, EnvironmentSuite):
        played = suite.rollouts(key, *stepper(genome, lifetime.bounds, lifetime.dtype), num_episodes, difficulty)
        return replace(result_of(suite, played), behaviour=suite.behaviour(played) if behaves else None)
    episode = suite.sample(key, num_episodes, difficulty)
    run = unroll_episode(lifetime, genome, episode)
    result = result_of(suite, run.outputs, episode)
    if not behaves:
        return result
    reads = run.weightings[:, :, : lifetime.bounds.num_read_heads[1]]
    return replace(result, behaviour=memory_use(reads, before_end(episode)))


def memory_use(reads: Float[Array, "batch time read slot"], counts: Bool[Array, "batch time"]) -> dict[str, Scalar]:
    """How many slots a network reads, and how sharply; 0 for a network without memory.

    `slots_used` is the perplexity of the mean read weighting over steps, heads and sequences, in slots;
    `read_sharpness` the mean of the greatest weight of a read head.

    Args:
        reads: weightings of the read heads; zero where a head or a slot does not exist.
        counts: True = the step belongs to the sequence.
    """
    reads = jnp.where(counts[..., None, None], reads, 0)
    by_slot = jnp.sum(reads, axis=(0, 1, 2))
    share = by_slot / jnp.maximum(jnp.sum(by_slot), 1e-9)
    perplexity = jnp.exp(-jnp.sum(share * jnp.log(jnp.maximum(share, 1e-9))))
    steps = jnp.sum(counts, dtype=reads.dtype)
    heads = jnp.sum(reads) / jnp.maximum(steps, 1)  # weightings sum to 1, so this counts heads
    sharpness = jnp.sum(jnp.max(reads, axis=-1)) / jnp.maximum(steps * heads, 1e-9)
    remembers = jnp.sum(by_slot) > 0
    return {
        SLOTS_USED: jnp.where(remembers, perplexity, 0.0),
        "read_sharpness": jnp.where(remembers, sharpness, 0.0),
    }


def held_out_scores(lifetime: Lifetime, genome: Genome, seed: int) -> dict[str, Any]:
    """`held_out` of one network."""
    by_xla = not lifetime.native or bool(unserved(lifetime.bounds.spec))
    return held_out(functools.partial(examine_network, lifetime), genome, seed, lifetime.suite, by_xla=by_xla)


def examine_network(
    lifetime: Lifetime, genome: Genome, key: Key, difficulty: Float[Array, " task"], suite: Suite, episodes: int
) -> Examined:
    """How one network does on a suite of the lifetime's tasks, which may ask for other lengths; an `Examine`."""
    if isinstance(suite, EnvironmentSuite):
        return score(replace(lifetime, suite=suite), key, genome, difficulty, episodes), {}
    episode = suite.sample(key, episodes, difficulty)
    run = unroll_episode(lifetime, genome, episode)
    return result_of(suite, run.outputs, episode), suite.extra_scores(run.outputs, episode)
