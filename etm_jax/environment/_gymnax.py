"""Adapter for environments of gymnax, or with its interface. It does not import gymnax."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._require import require_count
from etm_jax._typing import BoolScalar, Key, Scalar
from etm_jax.environment._contract import scaled_reward


@dataclass(frozen=True, eq=False)
class GymnaxEnvironment:
    """A gymnax environment as an `Environment`; made by `from_gymnax`.

    It is equal only to itself, since gymnax's settings may hold arrays.

    Attributes:
        environment: of gymnax, version 1.0 or later.
        params: its settings.
        num_steps: the horizon.
        chance_reward: mean total reward of random actions, where performance is 0.
        solved_reward: total reward at which an episode counts as solved, where performance is 1.
    """

    environment: Any
    params: Any
    num_steps: int
    chance_reward: float
    solved_reward: float
    solved = 0.99

    @property
    def name(self) -> str:
        """The environment's own name."""
        return str(self.environment.name)

    @property
    def input_size(self) -> int:
        """Numbers in an observation."""
        return math.prod(self.environment.observation_space(self.params).shape)

    @property
    def output_size(self) -> int:
        """Number of actions."""
        return int(self.environment.action_space(self.params).n)

    def reset(self, key: Key, difficulty: Scalar | float = 1.0) -> tuple[Any, Float[Array, " input"]]:
        """A fresh state, the same at every difficulty. The key is consumed."""
        del difficulty
        observation, state = self.environment.reset(key, self.params)
        return state, self._flat(observation)

    def step(
        self, key: Key, state: Any, action: Float[Array, " output"]
    ) -> tuple[Any, Float[Array, " input"], Scalar, BoolScalar]:
        """Take the action with the greatest logit. The key is consumed."""
        chosen = jnp.argmax(action)
        observation, state, reward, terminated, truncated, _ = self.environment.step(key, state, chosen, self.params)
        return state, self._flat(observation), jnp.asarray(reward, action.dtype), terminated | truncated

    def performance(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """The mean total reward, scaled so that `chance_reward` is 0 and `solved_reward` is 1."""
        return scaled_reward(total_reward, self.chance_reward, self.solved_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """Share of episodes with a total reward of at least `solved_reward`."""
        return jnp.mean(total_reward >= self.solved_reward)

    def _flat(self, observation: Any) -> Float[Array, " input"]:
        return jax.lax.convert_element_type(jnp.ravel(observation), float)


def from_gymnax(
    environment: Any, params: Any, *, chance_reward: float, solved_reward: float, num_steps: int | None = None
) -> GymnaxEnvironment:
    """A gymnax environment as an `Environment`; its actions must be discrete, and observations are flattened.

    Args:
        environment: of gymnax 1.0 or later (the `rl` extra).
        params: its settings.
        chance_reward: mean total reward of random actions.
        solved_reward: total reward at which an episode counts as solved.
        num_steps: the horizon; None for `max_steps_in_episode` of the settings.

    Raises:
        ValueError: actions are not discrete, observations are not an array, or the rewards or the horizon do not fit.

    Example:
        `environment, params = gymnax.make("CartPole-v1")`, then
        `from_gymnax(environment, params, chance_reward=22, solved_reward=475)`.
    """
    name = environment.name
    if not hasattr(environment.action_space(params), "n"):
        raise ValueError(f"environment must have discrete actions, got {environment.action_space(params)} of {name}")
    if not isinstance(getattr(environment.observation_space(params), "shape", None), tuple):
        raise ValueError(f"environment must have observations in one array, got those of {name}")
    horizon = int(params.max_steps_in_episode) if num_steps is None else num_steps
    require_count("num_steps", horizon, 1)
    if not chance_reward < solved_reward:
        raise ValueError(f"chance_reward must be below solved_reward, got {chance_reward} and {solved_reward}")
    return GymnaxEnvironment(environment, params, horizon, float(chance_reward), float(solved_reward))
