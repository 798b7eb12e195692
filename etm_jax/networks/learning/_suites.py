"""Where a suite of tasks and one of environments differ: how one plays, what can be learnt from, what is longer."""

from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Key
from etm_jax.environment import AnySuite, EnvironmentSuite, Rollout, Suite
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome
from etm_jax.networks.genome._stepper import stepper
from etm_jax.number_task import NumberSuite
from etm_jax.task import TaskSuite


def act(
    key: Key,
    genome: Genome,
    difficulty: Float[Array, " task"],
    bounds: Bounds,
    suite: EnvironmentSuite,
    num_episodes: int,
    dtype: DTypeLike | None,
) -> tuple[Rollout, ...]:
    """What one individual does in `num_episodes` fresh episodes of each environment. The key is consumed."""
    start_carry, step = stepper(genome, bounds, dtype)
    return suite.rollouts(key, start_carry, step, num_episodes, difficulty)


def for_networks(suite: AnySuite) -> Suite:
    """The suite, if networks can evolve on it.

    Raises:
        ValueError: it is a function of numbers.
    """
    if isinstance(suite, NumberSuite):
        raise ValueError(
            f"networks evolve on tasks or environments, got the function {suite.names[0]}; try --model em43"
        )
    return suite


def learnable(suite: AnySuite) -> TaskSuite:
    """The suite, if there is a gradient of its loss to learn by.

    Raises:
        ValueError: it is one of environments, or a function of numbers.
    """
    suite = for_networks(suite)
    if isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"learning by gradients needs tasks, got the environments {', '.join(suite.names)}, whose rewards have no "
            "gradient; evolve on them with --lifetime.inheritance darwinian, or train with a --strategy such as SNES"
        )
    return suite


def lengths_of(suite: Suite) -> dict[str, Suite]:
    """What a champion is judged on, by what its scores' names end with: as evolved on, and at exactly twice the length.

    Environments have no longer form.
    """
    return {"": suite} if isinstance(suite, EnvironmentSuite) else {"": suite, "_twice_length": suite.longer(2)}
