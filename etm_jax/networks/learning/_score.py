"""How a network does on fresh episodes: in tasks, in environments, and with its memory."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Key, Scalar
from etm_jax.cells import Unrolled
from etm_jax.environment import AnySuite, EnvironmentSuite, Suite
from etm_jax.models._model import Result
from etm_jax.models._scores import Examined, held_out, result_of
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Genome
from etm_jax.networks.genome._genome import stepper, unroll
from etm_jax.number_task import NumberSuite
from etm_jax.task import Episode, TaskSuite, before_end, clean_inputs

CACHED_BYTES = 2**18  # of memories side by side that a CPU core's cache holds along with what a step makes of them
SLOTS_USED = "slots_used"
MEMORY_USE = (SLOTS_USED, "read_sharpness")


def default_micro_batch(bounds: Bounds, batch_size: int) -> int:
    """Sequences of one individual side by side: on CPU few enough for the cache, all elsewhere (0).

    Up to twice the cache's share all run at once: following in turn costs one more forward pass in the gradient.
    """
    size = 4 * bounds.num_slots[1] * bounds.slot_width[1]
    if jax.default_backend() != "cpu" or size * batch_size <= 2 * CACHED_BYTES:
        return 0
    most = max(CACHED_BYTES // size, 1)
    return max(count for count in range(1, batch_size + 1) if batch_size % count == 0 and count <= most)


def answer(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    *,
    bounds: Bounds,
    suite: TaskSuite,
    num_episodes: int,
    dtype: DTypeLike | None = None,
) -> tuple[Unrolled, Episode]:
    """What one individual does on `num_episodes` fresh episodes of each task. The key is consumed."""
    episode = suite.sample(key, num_episodes, difficulty)
    micro_batch = default_micro_batch(bounds, episode.inputs.shape[0])
    return unroll(genome, clean_inputs(episode), bounds, micro_batch=micro_batch, dtype=dtype), episode


def score(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    *,
    bounds: Bounds,
    suite: Suite,
    num_episodes: int,
    dtype: DTypeLike | None = None,
    behaves: bool = False,
) -> Result:
    """Score one individual on `num_episodes` fresh episodes of each task or environment. The key is consumed.

    If it `behaves`, the result also has what it did.
    """
    if isinstance(suite, EnvironmentSuite):
        lived = suite.rollouts(key, *stepper(genome, bounds, dtype), num_episodes, difficulty)
        return replace(result_of(suite, lived), behaviour=suite.behaviour(lived) if behaves else None)
    run, episode = answer(key, genome, difficulty, bounds=bounds, suite=suite, num_episodes=num_episodes, dtype=dtype)
    result = result_of(suite, run.outputs, episode)
    return replace(result, behaviour=memory_use(run.weightings, before_end(episode), bounds) if behaves else None)


def memory_use(
    weightings: Float[Array, "batch time head slot"], counts: Bool[Array, "batch time"], bounds: Bounds
) -> dict[str, Scalar]:
    """How many slots a network reads, and how sharply; 0 for a network without memory.

    `slots_used` is the perplexity of the mean read weighting over steps, heads and sequences, in slots;
    `read_sharpness` the mean of the greatest weight of a read head.

    Args:
        weightings: of all heads, the read heads first; zero where a head or a slot does not exist.
        counts: True = the step belongs to the sequence.
        bounds: the search space, or the bucket, that the weightings are padded to.
    """
    reads = jnp.where(counts[..., None, None], weightings[:, :, : bounds.num_read_heads[1]], 0)
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


def for_networks(suite: AnySuite) -> Suite:
    """The suite, if networks can evolve on it.

    Raises:
        ValueError: it is a function of numbers.
    """
    if isinstance(suite, NumberSuite):
        raise ValueError(
            f"networks evolve on tasks or environments, got the function {suite.names[0]}; try --model em43"
        )
    return suite


def learnable(suite: AnySuite) -> TaskSuite:
    """The suite, if there is a gradient of its loss to learn by.

    Raises:
        ValueError: it is one of environments, or a function of numbers.
    """
    suite = for_networks(suite)
    if isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"learning by gradients needs tasks, got the environments {', '.join(suite.names)}, whose rewards have no "
            "gradient; evolve on them with --lifetime.inheritance darwinian, or train with a --strategy such as SNES"
        )
    return suite
