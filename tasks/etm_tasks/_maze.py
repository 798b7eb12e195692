"""Actions and scores that the mazes share."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax.environment import scaled_reward

FORWARD, LEFT, RIGHT = range(3)
HIGH, LOW = 10.0, 1.0  # reward at the correct end and at any other


class Maze:
    """Actions and scores of a maze of corridors and junctions.

    The agent must go forward in a corridor and turn at a junction; anything else is a crash.

    Attributes:
        actions: names of the logits.
        observed: names of the observation's channels.
        solved: accuracy on new episodes at which the maze counts as solved.
        chance_reward: mean total reward of uniformly random actions.
        best_reward: mean total reward of the best policy.
        enough: total reward at which an episode counts as solved.
    """

    actions = ("forward", "left", "right")
    observed: tuple[str, ...]
    solved = 0.99
    chance_reward: float
    best_reward: float
    enough: float

    @property
    def input_size(self) -> int:
        """Length of `observed`."""
        return len(self.observed)

    @property
    def output_size(self) -> int:
        """Forward, left, right."""
        return len(self.actions)

    def performance(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Mean total reward, scaled so that random actions score 0 and the best policy 1."""
        return scaled_reward(total_reward, self.chance_reward, self.best_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Share of solved episodes."""
        return jnp.mean(total_reward >= self.enough)


class Move(NamedTuple):
    """Result of an action.

    Attributes:
        turn: 0 left, 1 right.
        turned: True = the agent turned at a junction.
        crashed: True = it turned in a corridor or went forward at a junction.
    """

    turn: Int[Array, ""]
    turned: Bool[Array, ""]
    crashed: Bool[Array, ""]


def moved(action: Float[Array, " output"], at_junction: Bool[Array, ""]) -> Move:
    """The move chosen by the largest logit."""
    chosen = jnp.argmax(action)
    turns = chosen != FORWARD
    return Move((chosen == RIGHT).astype(jnp.int32), turns & at_junction, turns != at_junction)
