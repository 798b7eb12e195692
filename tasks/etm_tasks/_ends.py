"""Scores of tasks whose answers close with an end marker, at the last valid step."""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax.task import Episode, above_chance

END_WEIGHT = 0.1  # of the marker in performance; the rest is what it closes


def is_end(episode: Episode) -> Bool[Array, "batch time"]:
    """True at the last valid step of each sequence."""
    valid = episode.step_valid
    return valid & (jnp.cumsum(valid, axis=1) == jnp.sum(valid, axis=1, keepdims=True))


def before_marker(episode: Episode) -> Episode:
    """The episode with the end marker's step no longer valid."""
    return replace(episode, step_valid=episode.step_valid & ~is_end(episode))


def ends_right(marker_right: Bool[Array, "batch time"], episode: Episode) -> Float[Array, ""]:
    """Share of sequences with the marker where it is due and at no valid step before."""
    return jnp.mean(jnp.all(marker_right | ~episode.step_valid, axis=1))


def closed_performance(
    content: Float[Array, ""], marker_right: Bool[Array, "batch time"], episode: Episode
) -> Float[Array, ""]:
    """Performance of an answer and of its end marker together.

    The marker's steps and those before count half each, so that neither "never" nor "always" scores.

    Args:
        content: performance before the marker.
        marker_right: True where the marker is said if and only if it is due.
        episode: the episode.
    """
    end = is_end(episode)
    balanced = (_share(marker_right, end) + _share(marker_right, episode.step_valid & ~end)) / 2
    return content + END_WEIGHT * (above_chance(balanced, 0.5) - content)


def _share(right: Bool[Array, "batch time"], among: Bool[Array, "batch time"]) -> Float[Array, ""]:
    return jnp.sum(right & among) / jnp.maximum(jnp.sum(among), 1)
