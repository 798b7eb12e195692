"""Let a network act in an environment, for whole episodes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._require import require, require_not_negative
from etm_jax._typing import Key, Scalar, pytree
from etm_jax.environment._contract import Environment

Step = Callable[[Any, Array], tuple[Any, Array]]


@pytree
class Rollout:
    """A batch of episodes as they were lived.

    Attributes:
        observations: what was seen before each action.
        logits: the actions.
        rewards: what each action earned.
        step_valid: True = the episode was not over before this step; what stands in the others means nothing.
        states: the environment's own, before each action.
    """

    observations: Float[Array, "*lead batch time input"]
    logits: Float[Array, "*lead batch time output"]
    rewards: Float[Array, "*lead batch time"]
    step_valid: Bool[Array, "*lead batch time"]
    states: Any

    @property
    def total_reward(self) -> Float[Array, "*lead batch"]:
        """Sum of the rewards of each episode; NaN where one of its logits is not finite."""
        total = jnp.sum(jnp.where(self.step_valid, self.rewards, 0), axis=-1)
        sound = jnp.all(jnp.isfinite(self.logits) | ~self.step_valid[..., None], axis=(-2, -1))
        return jnp.where(sound, total, jnp.nan)


def rollout(
    environment: Environment,
    key: Key,
    start_carry: Any,
    step: Step,
    num_episodes: int,
    difficulty: Scalar | float = 1.0,
    temperature: float = 0.0,
) -> Rollout:
    """Let a recurrent network act, each episode from `start_carry`; one scan over the horizon.

    The same key gives the same episodes to every network, up to where their actions part them.

    With a temperature actions are drawn from `softmax(tanh(logits) / temperature)`, by Gumbel noise on `tanh(logits)`.
    For search, not for scoring. A network that always prefers one action earns the same whatever small change its
    weights undergo, and a strategy sees no slope there; the mean reward of drawn actions is a smooth function of the
    weights. The bound keeps a network from drowning the noise in larger and larger logits, so that it goes on trying
    other actions and has to cope with their outcome.

    Args:
        environment: where.
        key: consumed.
        start_carry: what the network remembers before the first step.
        step: of one episode: `(carry, observation) -> (carry, logits)`, as any recurrent cell.
        num_episodes: side by side.
        difficulty: in [0, 1], handed to the environment.
        temperature: see above; 0 hands over the logits as they are. Not for actions that are numbers.

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

    def live(key: Key) -> Rollout:
        key_reset, key_steps = jax.random.split(key)
        start, first = environment.reset(key_reset, difficulty)

        def act(now: tuple[Any, ...], key: Key) -> tuple[tuple[Any, ...], Rollout]:
            carry, state, observation, valid = now
            carry, logits = step(carry, observation)
            after, seen, reward, done = environment.step(key, state, drawn(key, logits))
            lived = Rollout(observations=observation, logits=logits, rewards=reward, step_valid=valid, states=state)
            return (carry, after, seen, valid & ~done), lived

        beginning = (start_carry, start, first, jnp.array(True))
        return jax.lax.scan(act, beginning, jax.random.split(key_steps, environment.num_steps))[1]

    return jax.vmap(live)(jax.random.split(key, num_episodes))
