"""Where a suite of tasks and one of environments differ: how one plays, what can be learnt from, what is longer."""

from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Key
from etm_jax.environment import EnvironmentSuite, Rollout, Suite
from etm_jax.genomes import Bounds, Genome, stepper
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


def learnable(suite: Suite) -> TaskSuite:
    """The suite, if there is a gradient of its loss to learn by.

    Raises:
        ValueError: it is one of environments.
    """
    if isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"learning by gradients needs tasks, got the environments {', '.join(suite.names)}, whose rewards have no "
            "gradient; evolve on them with --lifetime.inheritance darwinian"
        )
    return suite


def lengths_of(suite: Suite) -> dict[str, Suite]:
    """What a champion is judged on, by what its scores' names end with: as evolved on, and at exactly twice the length.

    Environments have no longer form.
    """
    return {"": suite} if isinstance(suite, EnvironmentSuite) else {"": suite, "_twice_length": suite.longer(2)}
