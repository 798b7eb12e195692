"""An environment that also shows the last action."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._require import require
from etm_jax._typing import BoolScalar, Key, Scalar
from etm_jax.environment._contract import Environment


@dataclass(frozen=True)
class WithLastAction:
    """The same environment with the last action appended to each observation, one-hot; all 0 before the first.

    With `rollout(temperature=...)` actions are drawn, and a network does not know which action was drawn. To learn from
    a reward what to repeat it must see the action that earned it, as in RL2 (Duan et al. 2016; Wang et al. 2016).

    Attributes:
        environment: one whose actions are choices; members that this class lacks are taken from it.

    Raises:
        ValueError: the environment's actions are numbers.

    Example:
        >>> import jax, jax.numpy as jnp, etm_tasks
        >>> from etm_jax.environment import WithLastAction
        >>> maze = WithLastAction(etm_tasks.make("double_t_maze"))
        >>> state, observation = maze.reset(jax.random.key(0))
        >>> maze.step(jax.random.key(1), state, jnp.array([2.0, 0.0, 1.0]))[1].tolist()  # forward: in the corridor
        [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """

    environment: Environment

    def __post_init__(self) -> None:
        choices = not getattr(self.environment, "continuous", False)
        require(choices, "environment", "one whose actions are choices", self.environment.name)

    def __getattr__(self, name: str) -> Any:
        if name == "environment":  # not set yet, while a copy is being made
            raise AttributeError(name)
        return getattr(self.environment, name)

    @property
    def name(self) -> str:
        """The environment's own."""
        return self.environment.name

    @property
    def input_size(self) -> int:
        """The environment's channels, plus one for each action."""
        return self.environment.input_size + self.environment.output_size

    @property
    def output_size(self) -> int:
        """The environment's own."""
        return self.environment.output_size

    @property
    def num_steps(self) -> int:
        """The environment's own."""
        return self.environment.num_steps

    @property
    def solved(self) -> float:
        """The environment's own."""
        return self.environment.solved

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of the channels; an AttributeError if the environment does not name its own."""
        environment: Any = self.environment  # names are no part of the protocol
        numbers = range(environment.output_size)
        actions = getattr(environment, "actions", tuple(f"action {number}" for number in numbers))
        return (*environment.observed, *(f"last {action}" for action in actions))

    def reset(self, key: Key, difficulty: Scalar | float = 1.0) -> tuple[Any, Float[Array, " input"]]:
        """Reset the environment. The key is consumed."""
        state, seen = self.environment.reset(key, difficulty)
        return state, jnp.concatenate([seen, jnp.zeros(self.output_size, seen.dtype)])

    def step(
        self, key: Key, state: Any, action: Float[Array, " output"]
    ) -> tuple[Any, Float[Array, " input"], Scalar, BoolScalar]:
        """Step the environment; the last action is the one with the greatest logit. The key is consumed."""
        state, seen, reward, done = self.environment.step(key, state, action)
        last = jax.nn.one_hot(jnp.argmax(action), self.output_size, dtype=seen.dtype)
        return state, jnp.concatenate([seen, last]), reward, done

    def performance(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """The environment's own."""
        return self.environment.performance(total_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Scalar:
        """The environment's own."""
        return self.environment.accuracy(total_reward)
