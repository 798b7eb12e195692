"""What the engine asks of an environment; it knows no concrete one."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar, Key, Scalar


@runtime_checkable
class Environment(Protocol):
    """A world that one network acts in for one episode, written for one episode; the caller `vmap`s.

    Frozen and hashable; `reset` and `step` can be jitted, and a state is a pytree of fixed shapes. What a network
    earns is the sum of the rewards up to and including the first step that is `done`.

    Where an episode is shown, some members more are used if they are there. `observed` and `actions` name the channels
    and the logits; `continuous` says that logits are numbers from -1 to 1, cut there, and not choices. `place(state)`,
    two coordinates, and `outline(state)`, a tuple of lines `[point, 2]`, make a picture of where the agent went.
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
        """The horizon: an episode ends after so many steps at the latest."""
        ...

    @property
    def solved(self) -> float:
        """Accuracy on fresh episodes from which on the environment counts as solved."""
        ...

    def reset(self, key: Key, difficulty: Scalar | float = 1.0) -> tuple[Any, Float[Array, " input"]]:
        """A fresh state and what is seen first; `difficulty` in [0, 1] may be traced. The key is consumed."""
        ...

    def step(
        self, key: Key, state: Any, action: Float[Array, " output"]
    ) -> tuple[Any, Float[Array, " input"], Scalar, BoolScalar]:
        """Act. The key is consumed.

        Args:
            key: for whatever chance decides.
            state: from `reset` or the step before.
            action: the network's logits; which of them mean what is the environment's own affair.

        Returns:
            The next state, what is seen there, the reward, and whether the episode is over.
        """
        ...

    def performance(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """What evolution maximises, from the episodes' total rewards: 0 at random actions, 1 when solved."""
        ...

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """Share of episodes solved, from their total rewards."""
        ...


def scaled_reward(total_reward: Float[Array, " batch"], chance: float, best: float) -> Scalar:
    """The mean total reward, scaled so that `chance` is 0 and `best` is 1; NaN if an episode's reward is."""
    return jnp.clip((jnp.mean(total_reward) - chance) / (best - chance), 0, 1)
