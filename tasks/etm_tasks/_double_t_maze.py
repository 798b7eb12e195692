"""Double T-maze: find the end with the high reward, return to it, and search again when it has moved."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax._typing import pytree
from etm_tasks._draws import scaled_length, uniform_integers
from etm_tasks._maze import HIGH, LOW, Maze, moved

ENDS = 4
# Visits without the high reward if the ends are tried in turn, before and after the move. After it the first such visit
# is to the old end, and the new one is equally likely to be any of the other three.
MOST_LOST = 3 + 3
MEAN_LOST = 1.5 + 2.0
FEWEST_VISITS = 16  # with fewer, always visiting the same end could count as solved


@pytree
class DoubleTMazeState:
    """Position of the agent and of the high reward."""

    goals: Int[Array, "*lead 2"]  # the end with the high reward, before and after its move
    move_visit: Int[Array, "*lead"]  # the first visit after the move
    visit: Int[Array, "*lead"]
    position: Int[Array, "*lead"]
    first_turn: Int[Array, "*lead"]  # in this visit: 0 left, 1 right
    length: Int[Array, "*lead"]


@dataclass(frozen=True)
class DoubleTMaze(Maze):
    """Find which of four ends pays most, visit after visit, and search again when it has moved.

    A visit leads from the start through a corridor of `length` steps to a junction, after the turn through a second
    corridor of the same length to a second junction, and after a turn there to one of four ends. One end pays 10, the
    others 1; then the agent is back at the start. Turning in a corridor or going forward at a junction is a crash: the
    visit ends and pays 0. The end that pays 10 is random in each episode. It moves once, to one of the other three,
    after half of the visits, or one more or one fewer, with equal probability. Only the rewards tell where it is.

    The observation says whether this is the start, a corridor or a junction, and at the start a tenth of what the last
    visit paid.

    An agent that tries the ends in turn until one pays 10, stays with it, and searches on as soon as it pays 1, misses
    the high reward in 3.5 visits on average and 6 at most. Performance is 1 with 3.5 misses; an episode with at most 6
    is solved. Performance is 0 at the mean reward of random actions, and about 0.4 for always visiting the same end.

    Attributes:
        length: steps of each corridor at difficulty 1; at difficulty 0 there is 1.
        visits: visits in an episode.

    Raises:
        ValueError: `length` is below 1, or `visits` is below 16, so that always visiting the same end might solve an
            episode.

    References:
        After the task of Greve, Jacobsen and Risi 2016, in discrete steps.

    Example:
        >>> import jax, etm_tasks
        >>> maze = etm_tasks.make("double_t_maze", length=1)
        >>> maze.num_steps
        64
        >>> state, observation = maze.reset(jax.random.key(0))
        >>> observation.tolist()
        [1.0, 0.0, 0.0, 0.0]
    """

    observed = ("start", "corridor", "junction", "reward")

    length: int = 2
    visits: int = 16

    def __post_init__(self) -> None:
        if self.length < 1 or self.visits < FEWEST_VISITS:
            got = f"got {self.length} and {self.visits}"
            raise ValueError(f"double_t_maze needs length >= 1 and visits >= {FEWEST_VISITS}, {got}")

    @property
    def name(self) -> str:
        """`double_t_maze`."""
        return "double_t_maze"

    @property
    def num_steps(self) -> int:
        """Two corridors and two turns per visit."""
        return self.visits * (2 * self.length + 2)

    @property
    def chance_reward(self) -> float:
        """Mean over random actions: each end needs one sequence of actions, each one of three."""
        return self.visits * (HIGH + (ENDS - 1) * LOW) / len(self.actions) ** (2 * self.length + 2)

    @property
    def best_reward(self) -> float:
        """Reward of trying the ends in turn, on average."""
        return HIGH * self.visits - (HIGH - LOW) * MEAN_LOST

    @property
    def enough(self) -> float:
        """Reward of trying the ends in turn, in the worst case."""
        return HIGH * self.visits - (HIGH - LOW) * MOST_LOST

    def reset(
        self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float = 1.0
    ) -> tuple[DoubleTMazeState, Float[Array, " input"]]:
        """Draw the end with the high reward; difficulty scales the corridors."""
        key_goal, key_other, key_move = jax.random.split(key, 3)
        goal = uniform_integers(key_goal, (), 0, ENDS - 1)
        other = (goal + uniform_integers(key_other, (), 1, ENDS - 1)) % ENDS
        half = self.visits // 2
        zero = jnp.array(0, jnp.int32)
        start = DoubleTMazeState(
            goals=jnp.stack([goal, other]),
            move_visit=uniform_integers(key_move, (), half - 1, half + 1),
            visit=zero,
            position=zero,
            first_turn=zero,
            length=scaled_length(1, self.length, difficulty),
        )
        return start, _seen(start, jnp.zeros(()))

    def step(
        self, key: PRNGKeyArray, state: DoubleTMazeState, action: Float[Array, " output"]
    ) -> tuple[DoubleTMazeState, Float[Array, " input"], Float[Array, ""], Bool[Array, ""]]:
        """Move forward, turn, or crash; deterministic."""
        del key
        move = moved(action, _at_junction(state))
        arrived = move.turned & (state.position > state.length)
        goal = jnp.where(state.visit < state.move_visit, state.goals[0], state.goals[1])
        reward = jnp.where(arrived, jnp.where(2 * state.first_turn + move.turn == goal, HIGH, LOW), 0.0)
        over = arrived | move.crashed
        state = DoubleTMazeState(
            goals=state.goals,
            move_visit=state.move_visit,
            visit=state.visit + over,
            position=jnp.where(over, 0, state.position + 1),
            first_turn=jnp.where(move.turned, move.turn, state.first_turn),
            length=state.length,
        )
        return state, _seen(state, reward), reward, state.visit >= self.visits


def _at_junction(state: DoubleTMazeState) -> Bool[Array, ""]:
    return (state.position == state.length) | (state.position == 2 * state.length + 1)


def _seen(state: DoubleTMazeState, reward: Float[Array, ""]) -> Float[Array, " input"]:
    start, junction = state.position == 0, _at_junction(state)
    return jnp.stack([start, ~start & ~junction, junction, start * reward / HIGH]).astype(float)
