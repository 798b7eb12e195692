"""What a network does, as numbers in [0, 1] that tell members apart: how it uses its memory, or where it ends up."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Scalar
from etm_jax.environment import AnySuite, EnvironmentSuite, Rollout
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.task import TaskSuite

SLOTS_USED = "slots_used"
MEMORY_USE = (SLOTS_USED, "read_sharpness")
END = ("final_x", "final_y")


def behaviours_of(suite: AnySuite) -> tuple[str, ...]:
    """The behaviours that can be measured on a suite: of memory in tasks, of place where environments have places."""
    if isinstance(suite, TaskSuite):
        return MEMORY_USE
    return END if isinstance(suite, EnvironmentSuite) and _has_places(suite) else ()


def _has_places(suite: EnvironmentSuite) -> bool:
    return all(hasattr(suite.environments[0], name) for name in ("place", "outline"))


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


def end_of(suite: EnvironmentSuite, lived: tuple[Rollout, ...]) -> dict[str, Scalar]:
    """Where episodes of the first environment end on average, as shares of the box around its outline."""
    environment: Any = suite.environments[0]
    first = lived[0]

    def one(states: Any, valid: Bool[Array, " time"]) -> Float[Array, "2"]:
        start = jax.tree.map(lambda leaf: leaf[0], states)
        last = jax.tree.map(lambda leaf: leaf[jnp.sum(valid) - 1], states)
        points = jnp.concatenate(environment.outline(start))
        low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
        extent = high - low
        share = (environment.place(last) - low) / jnp.where(extent > 0, extent, 1)  # a corridor may have no height
        return jnp.clip(share, 0, 1)

    places = jnp.mean(jax.vmap(one)(first.states, first.step_valid), axis=0)
    return {name: places[index] for index, name in enumerate(END)}
