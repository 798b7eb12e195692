"""Weighted environments that one network acts in, and the suites that a run may evolve on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._require import check_suite
from etm_jax._typing import Key, Scalar
from etm_jax.environment._contract import Environment
from etm_jax.environment._rollout import Rollout, Step, rollout
from etm_jax.number_task import NumberSuite, NumberTask
from etm_jax.task import Task, TaskSuite

END = ("final_x", "final_y")


@dataclass(frozen=True)
class EnvironmentSuite:
    """Weighted environments that one network acts in, each in separate episodes.

    Observations are padded to the widest environment. If there are several environments, each observation ends with a
    one-hot cue that names its environment. An environment gets as many logits as it has actions.

    Attributes:
        environments: with different names.
        weights: of each environment in the fitness, positive.

    Raises:
        ValueError: no environment, two of the same name, or weights that do not fit.

    Example:
        >>> import etm_tasks
        >>> from etm_jax.environment import EnvironmentSuite
        >>> suite = EnvironmentSuite((etm_tasks.make("t_maze"), etm_tasks.make("double_t_maze")), (1.0, 2.0))
        >>> suite.names, suite.input_size, suite.output_size
        (('t_maze', 'double_t_maze'), 6, 3)
    """

    kind: ClassVar[str] = "environments"
    num_steps: ClassVar[float] = math.inf  # an episode's steps are unknown before it is played
    environments: tuple[Environment, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_suite("environment", self.names, self.weights)

    @property
    def names(self) -> tuple[str, ...]:
        """The environments' names, in order."""
        return tuple(environment.name for environment in self.environments)

    @property
    def solved(self) -> tuple[float, ...]:
        """The accuracy at which each environment counts as solved."""
        return tuple(float(environment.solved) for environment in self.environments)

    @property
    def num_cases(self) -> int:
        """Number of scores that selection may look at one by one: one an environment."""
        return len(self.environments)

    @property
    def input_size(self) -> int:
        """Channels of the widest observation, plus the cue."""
        return max(environment.input_size for environment in self.environments) + self._cue_size

    @property
    def output_size(self) -> int:
        """Logits of the environment with the most actions."""
        return max(environment.output_size for environment in self.environments)

    @property
    def _cue_size(self) -> int:
        return len(self.environments) if len(self.environments) > 1 else 0

    def rollouts(
        self, key: Key, start_carry: Any, step: Step, num_episodes: int, difficulty: Float[Array, " task"]
    ) -> tuple[Rollout, ...]:
        """Episodes of each environment, each at its own difficulty.

        Args:
            key: consumed.
            start_carry: the network's memory before each episode.
            step: of a network with `input_size` inputs and `output_size` logits.
            num_episodes: in each environment.
            difficulty: of each environment, in [0, 1].
        """
        keys = jax.random.split(key, len(self.environments))
        return tuple(
            rollout(environment, keys[index], start_carry, self._fitted(index, step), num_episodes, difficulty[index])
            for index, environment in enumerate(self.environments)
        )

    def as_inputs(self, index: int, observations: Float[Array, "*lead own"]) -> Float[Array, "*lead input"]:
        """One environment's observations as the network sees them: padded, with the cue."""
        lead, num_channels = observations.shape[:-1], observations.shape[-1]
        padding = jnp.zeros((*lead, self.input_size - self._cue_size - num_channels), observations.dtype)
        cue = jnp.broadcast_to(jnp.arange(self._cue_size) == index, (*lead, self._cue_size))
        return jnp.concatenate([observations, padding, cue.astype(observations.dtype)], axis=-1)

    def _fitted(self, index: int, step: Step) -> Step:
        """The step in the sizes of one environment."""

        def fitted(carry: Any, observation: Array) -> tuple[Any, Array]:
            carry, logits = step(carry, self.as_inputs(index, observation))
            return carry, logits[: self.environments[index].output_size]

        return fitted

    def loss(self, rollouts: tuple[Rollout, ...]) -> Scalar:
        """Minus the mean total reward, averaged over environments by weight."""
        totals = jnp.stack([jnp.mean(rollout.total_reward) for rollout in rollouts])
        return -(totals @ jnp.array(self.weights)) / sum(self.weights)

    def accuracy(self, rollouts: tuple[Rollout, ...]) -> Float[Array, " task"]:
        """Each environment's share of episodes solved."""
        pairs = zip(self.environments, rollouts, strict=True)
        return jnp.stack([environment.accuracy(rollout.total_reward) for environment, rollout in pairs])

    def performance(self, rollouts: tuple[Rollout, ...]) -> Float[Array, " task"]:
        """Each environment's performance, 0 at random actions and 1 when solved."""
        pairs = zip(self.environments, rollouts, strict=True)
        return jnp.stack([environment.performance(rollout.total_reward) for environment, rollout in pairs])

    def performance_by_episode(self, rollouts: tuple[Rollout, ...]) -> Float[Array, " episode"]:
        """The performance in each episode alone, environment after environment."""
        pairs = zip(self.environments, rollouts, strict=True)
        return jnp.concatenate(
            [jax.vmap(lambda reward, of=one: of.performance(reward[None]))(lived.total_reward) for one, lived in pairs]
        )

    def without_longer(self, factor: int) -> dict[str, str]:
        """Why environments have no form `factor` times as long, by their names."""
        del factor
        return dict.fromkeys(self.names, "an environment has no longer form")

    def at_lengths(self, lengths: Sequence[int]) -> dict[int, "EnvironmentSuite"]:
        """The suite at the multiple 1 of its length, the only one that it has."""
        del lengths
        return {1: self}

    @staticmethod
    def reliability(accuracy: Float[Array, " task"], performance: Float[Array, " task"]) -> Float[Array, " task"]:
        """How reliably each environment is solved."""
        # Whole episodes are solved late in a run, if ever, so performance counts too.
        return accuracy + performance

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Names of the descriptors that `behaviour` returns; none unless the first environment has places."""
        has_places = all(hasattr(self.environments[0], name) for name in ("place", "outline"))
        return END if has_places else ()

    def behaviour(self, rollouts: tuple[Rollout, ...]) -> dict[str, Scalar]:
        """The mean place where episodes of the first environment end, as shares of the box around its outline."""
        environment: Any = self.environments[0]  # places are no part of the protocol
        first = rollouts[0]

        def end(states: Any, valid: Bool[Array, " time"]) -> Float[Array, "2"]:
            start = jax.tree.map(lambda leaf: leaf[0], states)
            last = jax.tree.map(lambda leaf: leaf[jnp.sum(valid) - 1], states)
            points = jnp.concatenate(environment.outline(start))
            low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
            extent = high - low
            share = (environment.place(last) - low) / jnp.where(extent > 0, extent, 1)  # a corridor may have no height
            return jnp.clip(share, 0, 1)

        places = jnp.mean(jax.vmap(end)(first.states, first.step_valid), axis=0)
        return {name: places[index] for index, name in enumerate(END)}


Suite: TypeAlias = TaskSuite | EnvironmentSuite  # what networks evolve on
AnySuite: TypeAlias = Suite | NumberSuite


def as_suite(members: Sequence[Task | Environment | NumberTask], weights: Sequence[float]) -> AnySuite:
    """The suite of tasks, of environments, or of one function of numbers.

    Raises:
        ValueError: members of several kinds, or a suite that is not valid.
    """
    functions = tuple(member for member in members if isinstance(member, NumberTask))
    if functions:
        if len(functions) < len(members):
            names = ", ".join(member.name for member in members)
            raise ValueError(f"a function of numbers must be the only task, got {names}; leave the others out")
        return NumberSuite(functions, tuple(weights))
    environments = tuple(member for member in members if isinstance(member, Environment))
    tasks = tuple(member for member in members if isinstance(member, Task))
    if tasks and environments:
        shown, acting = (", ".join(member.name for member in kind) for kind in (tasks, environments))
        raise ValueError(
            f"a run evolves on tasks or on environments, got the tasks {shown} and the environments {acting}; leave "
            "out one kind"
        )
    return EnvironmentSuite(environments, tuple(weights)) if environments else TaskSuite(tasks, tuple(weights))
