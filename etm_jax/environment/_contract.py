"""The contract between an environment and the engine, which knows no concrete environment."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar, Key, Scalar


@runtime_checkable
class Environment(Protocol):
    """An environment for one network and one episode; the caller `vmap`s.

    Frozen and hashable; `reset` and `step` can be jitted, and a state is a pytree of fixed shapes. A network earns the
    sum of the rewards up to and including the first step that is `done`.

    Some members are optional. `observed` and `actions` name the channels and the logits where an episode is shown;
    `continuous = True` says that actions are numbers, logits clipped to [-1, 1], instead of choices. `place(state)`,
    two coordinates, and `outline(state)`, a tuple of lines `[point, 2]`, draw the path of the agent.
    """

    @property
    def name(self) -> str:
        """A short name, unique within a suite."""
        ...

    @property
    def input_size(self) -> int:
        """Channels of an observation."""
        ...

    @property
    def output_size(self) -> int:
        """Logits of an action."""
        ...

    @property
    def num_steps(self) -> int:
        """The horizon, the greatest number of steps of an episode."""
        ...

    @property
    def solved(self) -> float:
        """Accuracy on fresh episodes at which the environment counts as solved."""
        ...

    def reset(self, key: Key, difficulty: Scalar | float = 1.0) -> tuple[Any, Float[Array, " input"]]:
        """A fresh state and the first observation; `difficulty` in [0, 1] may be traced. The key is consumed."""
        ...

    def step(
        self, key: Key, state: Any, action: Float[Array, " output"]
    ) -> tuple[Any, Float[Array, " input"], Scalar, BoolScalar]:
        """Take one action.

        Args:
            key: for random events; consumed.
            state: from `reset` or the step before.
            action: the network's logits; the environment defines what they mean.

        Returns:
            The next state, its observation, the reward, and whether the episode is over.
        """
        ...

    def performance(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """The score that evolution maximises, from the episodes' total rewards: 0 at random actions, 1 when solved."""
        ...

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """Share of episodes solved, from their total rewards."""
        ...


def scaled_reward(total_reward: Float[Array, " batch"], chance: float, best: float) -> Scalar:
    """The mean total reward, scaled so that `chance` is 0 and `best` is 1, and clipped; NaN if any reward is NaN."""
    return jnp.clip((jnp.mean(total_reward) - chance) / (best - chance), 0, 1)
