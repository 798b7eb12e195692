"""Deceptive maze: two walls between start and goal; the only way around them leads away from the goal."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from etm_jax._typing import pytree
from etm_jax.environment import scaled_reward

SIDE, STRIDE = 100.0, 3.0  # side of the room, longest step along each axis
START, JITTER = (15.0, 15.0), 2.0
GOAL, REACHED = (85.0, 85.0), 5.0
WALLS = (35.0, 0.0, 80.0), (65.0, 20.0, 100.0)  # height, left end, right end; the gaps are on opposite sides


@pytree
class DeceptiveMazeState:
    """Position of the agent, and its initial distance from the goal."""

    position: Float[Array, "*lead 2"]
    first_distance: Float[Array, "*lead"]


@dataclass(frozen=True)
class DeceptiveMaze:
    """Find the way from one corner of a room to the opposite one, around two walls.

    The room is 100 by 100. The agent starts near (15, 15) and moves by 3 times its two logits, clipped to [-1, 1]; a
    move through a wall is ignored. It observes its position and the distance to the next wall in four directions. The
    goal is (85, 85). A wall at height 35 leaves a gap on the right, one at height 65 leaves a gap on the left. An agent
    that approaches the goal at every step ends below it, under the second wall, after 0.8 of the distance; from there
    the path leads to the other side of the room and back. Difficulty has no effect.

    The reward is the share of the initial distance to the goal that is covered at the end, and 1 within 5 of the goal,
    which ends and solves the episode. After the deceptive mazes of Lehman and Stanley 2011, Abandoning objectives,
    without their headings and radars.

    Attributes:
        steps: the horizon; the shortest path takes 64 steps.

    Raises:
        ValueError: `steps` is below 70.

    Example:
        >>> import jax, etm_tasks
        >>> maze = etm_tasks.make("deceptive_maze")
        >>> state, observation = maze.reset(jax.random.key(0))
        >>> observation.shape, maze.num_steps
        ((6,), 100)
    """

    observed = ("x", "y", "room to the right", "room to the left", "room above", "room below")
    actions = ("right", "up")
    continuous = True
    solved = 0.99
    input_size, output_size = 6, 2
    chance_reward, best_reward = 0.04, 1.0  # chance_reward: mean over random actions

    steps: int = 100

    def __post_init__(self) -> None:
        if self.steps < 70:
            raise ValueError(f"deceptive_maze needs steps >= 70, got {self.steps}")

    @property
    def name(self) -> str:
        """`deceptive_maze`."""
        return "deceptive_maze"

    @property
    def num_steps(self) -> int:
        """The horizon."""
        return self.steps

    def reset(
        self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float = 1.0
    ) -> tuple[DeceptiveMazeState, Float[Array, " input"]]:
        """Near the lower left corner."""
        del difficulty
        start = jnp.array(START) + jax.random.uniform(key, (2,), minval=-JITTER, maxval=JITTER)
        return DeceptiveMazeState(start, _distance(start)), _seen(start)

    def step(
        self, key: PRNGKeyArray, state: DeceptiveMazeState, action: Float[Array, " output"]
    ) -> tuple[DeceptiveMazeState, Float[Array, " input"], Float[Array, ""], Bool[Array, ""]]:
        """Move, unless a wall is in the way; deterministic."""
        del key
        here = state.position
        there = jnp.clip(here + STRIDE * jnp.clip(action, -1, 1), 0, SIDE)
        there = jnp.where(_crosses_wall(here, there), here, there)
        before, after = _distance(here), _distance(there)
        arrived = after < REACHED
        reward = (before - jnp.where(arrived, 0, after)) / state.first_distance
        return DeceptiveMazeState(there, state.first_distance), _seen(there), reward, arrived

    def performance(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Share of the straight-line distance to the goal that is covered, scaled so that random actions score 0."""
        return scaled_reward(total_reward, self.chance_reward, self.best_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Share of episodes that end at the goal."""
        return jnp.mean(total_reward > 0.999)  # rewards add up to 1 but for rounding

    def outline(self, state: DeceptiveMazeState) -> tuple[Float[Array, "point 2"], ...]:
        """Lines to draw in a picture of the episode: the room, its walls, and a cross at the goal."""
        del state
        x, y = GOAL
        lines = (
            [(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE), (0, 0)],
            *([(low, height), (high, height)] for height, low, high in WALLS),
            [(x - REACHED, y), (x + REACHED, y)],
            [(x, y - REACHED), (x, y + REACHED)],
        )
        return tuple(jnp.array(line, float) for line in lines)

    def place(self, state: DeceptiveMazeState) -> Float[Array, "2"]:
        """Position of the agent in that picture."""
        return state.position


def _distance(position: Float[Array, "2"]) -> Float[Array, ""]:
    return jnp.linalg.norm(position - jnp.array(GOAL))


def _crosses_wall(here: Float[Array, "2"], there: Float[Array, "2"]) -> Bool[Array, ""]:
    """True if the straight line of a move meets a wall."""

    def crosses(height: float, low: float, high: float) -> Bool[Array, ""]:
        before, after = here[1] - height, there[1] - height
        share = before / jnp.where(before == after, 1, before - after)
        x = here[0] + share * (there[0] - here[0])
        return (before * after <= 0) & (before != after) & (x >= low) & (x <= high)

    return jnp.any(jnp.stack([crosses(*wall) for wall in WALLS]))


def _seen(position: Float[Array, "2"]) -> Float[Array, " input"]:
    x, y = position[0], position[1]
    above, below = SIDE - y, y
    for height, low, high in WALLS:
        faces = (x >= low) & (x <= high)
        above = jnp.where(faces & (y < height), jnp.minimum(above, height - y), above)
        below = jnp.where(faces & (y >= height), jnp.minimum(below, y - height), below)
    rooms = jnp.stack([SIDE - x, x, above, below]) / SIDE
    return jnp.concatenate([2 * position / SIDE - 1, 2 * rooms - 1])
