"""What the mazes have in common: what can be done in them, and what it is worth."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax.environment import scaled_reward

FORWARD, LEFT, RIGHT = range(3)
HIGH, LOW = 10.0, 1.0  # the reward at the end that is meant, and at any other


class Maze:
    """Actions and scores of a maze of corridors and junctions.

    Going on in a corridor and turning at a junction are the only ways; anything else is a crash.

    Attributes:
        actions: names of the logits.
        observed: names of the channels of an observation.
        solved: accuracy on fresh episodes from which on the maze counts as solved.
        chance_reward: mean total reward of uniformly random actions.
        best_reward: mean total reward of the best policy.
        enough: total reward from which on an episode counts as solved.
    """

    actions = ("forward", "left", "right")
    observed: tuple[str, ...]
    solved = 0.99
    chance_reward: float
    best_reward: float
    enough: float

    @property
    def input_size(self) -> int:
        """One channel for each thing that can be seen."""
        return len(self.observed)

    @property
    def output_size(self) -> int:
        """Forward, left, right."""
        return len(self.actions)

    def performance(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """The mean total reward between that of random actions and the best that can be expected."""
        return scaled_reward(total_reward, self.chance_reward, self.best_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Share of episodes with a total reward that counts as solved."""
        return jnp.mean(total_reward >= self.enough)


def moved(
    action: Float[Array, " output"], at_junction: Bool[Array, ""]
) -> tuple[Int[Array, ""], Bool[Array, ""], Bool[Array, ""]]:
    """What the greatest logit means: the turn (0 left, 1 right), whether there was one, and whether it was a crash."""
    chosen = jnp.argmax(action)
    turns = chosen != FORWARD
    return (chosen == RIGHT).astype(jnp.int32), turns & at_junction, turns != at_junction
