"""Whole episodes of a network acting in an environment."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._require import require, require_not_negative
from etm_jax._typing import BoolScalar, Key, Scalar, pytree
from etm_jax.environment._contract import Environment

Step = Callable[[Any, Array], tuple[Any, Array]]


@pytree
class Rollout:
    """A batch of episodes.

    Attributes:
        observations: before each action.
        logits: the actions.
        rewards: of each action.
        step_valid: True = the episode was not over before this step; all other steps are meaningless.
        states: of the environment, before each action.
    """

    observations: Float[Array, "*lead batch time input"]
    logits: Float[Array, "*lead batch time output"]
    rewards: Float[Array, "*lead batch time"]
    step_valid: Bool[Array, "*lead batch time"]
    states: Any

    @property
    def total_reward(self) -> Float[Array, "*lead batch"]:
        """Sum of the rewards of each episode; NaN if one of its logits is not finite."""
        total = jnp.sum(jnp.where(self.step_valid, self.rewards, 0), axis=-1)
        sound = jnp.all(jnp.isfinite(self.logits) | ~self.step_valid[..., None], axis=(-2, -1))
        return jnp.where(sound, total, jnp.nan)


class _Now(NamedTuple):
    """One episode between two steps; `valid` is True until the episode is over."""

    carry: Any
    state: Any
    observation: Float[Array, " input"]
    valid: BoolScalar


def rollout(
    environment: Environment,
    key: Key,
    start_carry: Any,
    step: Step,
    num_episodes: int,
    difficulty: Scalar | float = 1.0,
    temperature: float = 0.0,
) -> Rollout:
    """Let a recurrent network act in `num_episodes` episodes, in one scan over the horizon.

    The same key gives every network the same episodes, until their actions differ.

    With a positive temperature, actions are drawn from `softmax(tanh(logits) / temperature)`, by adding Gumbel noise to
    `tanh(logits)`. Use it to search, not to score: while preferred actions do not change, small changes of the weights
    change no reward, and a strategy sees no slope; the mean reward of drawn actions is smooth in the weights. The tanh
    keeps logits from outgrowing the noise, so that other actions are still tried.

    Args:
        environment: to act in.
        key: consumed.
        start_carry: the network's memory before the first step of each episode.
        step: `(carry, observation) -> (carry, logits)` for one episode, as any recurrent cell.
        num_episodes: size of the batch.
        difficulty: in [0, 1], passed to the environment.
        temperature: at least 0; at 0 the logits are passed unchanged. Must be 0 where actions are numbers.

    Raises:
        ValueError: the temperature is negative, or not 0 where actions are numbers.

    Example:
        >>> import jax, jax.numpy as jnp, etm_tasks
        >>> from etm_jax.environment import rollout
        >>> maze = etm_tasks.make("t_maze", length=3)
        >>> onwards = lambda carry, observation: (carry, jnp.array([0.0, 1.0, 0.0]))  # always turns left: a crash
        >>> rollout(maze, jax.random.key(0), (), onwards, num_episodes=2).total_reward.tolist()
        [0.0, 0.0]
    """

    require_not_negative("temperature", temperature)
    choices = not getattr(environment, "continuous", False)
    rule = f"0 in {environment.name}, whose actions are numbers"
    require(choices or temperature == 0, "temperature", rule, temperature)

    def drawn(key: Key, logits: Array) -> Array:
        if temperature == 0:
            return logits
        noise = jax.random.gumbel(jax.random.fold_in(key, 1), logits.shape, logits.dtype)
        return jnp.tanh(logits) + temperature * noise

    def one_episode(key: Key) -> Rollout:
        key_reset, key_steps = jax.random.split(key)
        state, observation = environment.reset(key_reset, difficulty)

        def act(now: _Now, key: Key) -> tuple[_Now, Rollout]:
            carry, logits = step(now.carry, now.observation)
            state, observation, reward, done = environment.step(key, now.state, drawn(key, logits))
            happened = Rollout(
                observations=now.observation, logits=logits, rewards=reward, step_valid=now.valid, states=now.state
            )
            return _Now(carry, state, observation, now.valid & ~done), happened

        # The scan always runs to the horizon; steps after the end are masked by `step_valid`.
        start = _Now(start_carry, state, observation, jnp.array(True))
        return jax.lax.scan(act, start, jax.random.split(key_steps, environment.num_steps))[1]

    return jax.vmap(one_episode)(jax.random.split(key, num_episodes))
