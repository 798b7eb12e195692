"""T-maze: a cue at the start of a corridor says which way to turn at its end."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax._typing import pytree
from etm_tasks._draws import scaled_length
from etm_tasks._maze import HIGH, LOW, Maze, moved


@pytree
class TMazeState:
    """Position of the agent, and the cue."""

    cue: Int[Array, "*lead"]  # 0 left, 1 right
    position: Int[Array, "*lead"]
    length: Int[Array, "*lead"]


@dataclass(frozen=True)
class TMaze(Maze):
    """Turn at the end of a corridor to the side given by a cue at its start.

    The cue, left or right with equal probability, is visible only before the first action; corridor and junction have
    their own channels. `length` steps forward lead through the corridor to the junction. A turn there ends the episode
    with reward 10 on the side of the cue and 1 on the other. Turning in the corridor or going forward at the junction
    is a crash, which ends the episode without reward.

    An episode is solved by the turn to the cue's side. Performance is 0 at the mean reward of random actions, 1 at 10,
    and just above one half for an agent that reaches the junction and ignores the cue.

    Attributes:
        length: steps of the corridor at difficulty 1; at difficulty 0 there is 1.

    Raises:
        ValueError: `length` is below 1.

    Example:
        >>> import jax, etm_tasks
        >>> maze = etm_tasks.make("t_maze", length=3)
        >>> state, observation = maze.reset(jax.random.key(1))
        >>> observation.tolist()  # the cue says right
        [0.0, 1.0, 0.0, 0.0]
    """

    observed = ("cue left", "cue right", "corridor", "junction")
    best_reward = enough = HIGH

    length: int = 5

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"t_maze needs length >= 1, got {self.length}")

    @property
    def name(self) -> str:
        """`t_maze`."""
        return "t_maze"

    @property
    def num_steps(self) -> int:
        """The corridor and the turn."""
        return self.length + 1

    @property
    def chance_reward(self) -> float:
        """Forward `length` times and then one of the two turns, each with probability 1/3."""
        return (HIGH + LOW) / len(self.actions) ** (self.length + 1)

    def reset(
        self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float = 1.0
    ) -> tuple[TMazeState, Float[Array, " input"]]:
        """Draw a cue; difficulty scales the corridor."""
        cue = jax.random.bernoulli(key).astype(jnp.int32)
        start = TMazeState(cue=cue, position=jnp.array(0), length=scaled_length(1, self.length, difficulty))
        return start, jnp.stack([cue == 0, cue == 1, False, False]).astype(float)

    def step(
        self, key: PRNGKeyArray, state: TMazeState, action: Float[Array, " output"]
    ) -> tuple[TMazeState, Float[Array, " input"], Float[Array, ""], Bool[Array, ""]]:
        """Move forward, turn, or crash; deterministic."""
        del key
        move = moved(action, state.position == state.length)
        reward = jnp.where(move.turned, jnp.where(move.turn == state.cue, HIGH, LOW), 0.0)
        state = TMazeState(cue=state.cue, position=state.position + 1, length=state.length)
        at_junction = state.position == state.length
        seen = jnp.stack([False, False, ~at_junction, at_junction]).astype(float)
        return state, seen, reward, move.turned | move.crashed
