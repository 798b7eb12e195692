"""The contract between a task and the engine, and a suite of weighted tasks that share one network.

The engine knows no concrete task: it can evolve on anything with the members of `Task`.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from etm_jax._require import check_suite, require_positive, require_share, require_types
from etm_jax._typing import Key, Scalar, pytree


@pytree
class Episode:
    """A batch of sequences to learn from, or to be scored on.

    Attributes:
        inputs: what the network sees at each step; ignored after a sequence's last valid step.
        targets: the right answers, 0 or 1; meaningful only where `step_valid`.
        step_valid: True = the answer at this step counts.
    """

    inputs: Float[Array, "*lead batch time input"]
    targets: Float[Array, "*lead batch time output"]
    step_valid: Bool[Array, "*lead batch time"]


@runtime_checkable
class Task(Protocol):
    """What the engine needs of a task. Frozen and hashable; `sample` can be jitted.

    Two class attributes are optional. `solved` is the accuracy on fresh episodes at which the task counts as solved,
    by default 1. `extra_scores` names further methods, with the arguments of `accuracy`, that return an array or a
    tuple of arrays; a run's summary holds their results on held-out episodes.
    """

    @property
    def name(self) -> str:
        """A short name, unique within a suite."""
        ...

    @property
    def input_size(self) -> int:
        """Channels of `Episode.inputs`."""
        ...

    @property
    def output_size(self) -> int:
        """Channels of `Episode.targets`."""
        ...

    @property
    def num_steps(self) -> int:
        """Steps of an episode, the same at every difficulty."""
        ...

    def sample(self, key: Key, batch_size: int, difficulty: Scalar | float = 1.0) -> Episode:
        """Fresh episodes; `difficulty` in [0, 1] scales the hardest that can be drawn. The key is consumed."""
        ...

    def loss(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
        """The loss that learning minimises."""
        ...

    def accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
        """Share of sequences with every valid step right."""
        ...

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
        """The score that evolution maximises: 0 at chance, 1 when everything is right."""
        ...

    def longer(self, factor: int) -> "Task":
        """The same task at exactly `factor` times its greatest length, to measure generalisation.

        Raises:
            ValueError: there is no such form.
        """
        ...


def before_end(episode: Episode) -> Bool[Array, "batch time"]:
    """True up to and including each sequence's last valid step."""
    return jnp.flip(jnp.cumsum(jnp.flip(episode.step_valid, axis=1), axis=1), axis=1) > 0


def clean_inputs(episode: Episode) -> Float[Array, "batch time input"]:
    """The inputs, with zeros after each sequence's last valid step."""
    return jnp.where(before_end(episode)[..., None], episode.inputs, 0)


def bit_loss(outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
    """Mean cross-entropy of the bits of valid steps, in nats; 0 if no step is valid."""
    valid = episode.step_valid[..., None]
    nats = optax.sigmoid_binary_cross_entropy(jnp.where(valid, outputs, 0), jnp.where(valid, episode.targets, 0))
    count = jnp.sum(valid, dtype=nats.dtype) * outputs.shape[-1]
    return jnp.sum(nats * valid.astype(nats.dtype)) / jnp.maximum(count, 1)


def bit_right(outputs: Float[Array, "batch time output"], episode: Episode) -> Bool[Array, "batch time output"]:
    """True where a logit is finite and has the sign of its target."""
    return ((outputs > 0) == (episode.targets > 0.5)) & jnp.isfinite(outputs)


def bits_right(outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
    """Share of the bits of valid steps that are right; 0 if no step is valid. A non-finite output is wrong."""
    right = bit_right(outputs, episode)
    valid = episode.step_valid[..., None]
    return jnp.sum(right & valid) / jnp.maximum(jnp.sum(valid) * outputs.shape[-1], 1)


def sequences_right(outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
    """Share of sequences with every bit of every valid step right, of those with a valid step; 0 if there are none.

    A non-finite output is wrong.
    """
    right = jnp.all(bit_right(outputs, episode) | ~episode.step_valid[..., None], axis=(1, 2))
    scored = jnp.any(episode.step_valid, axis=1)
    return jnp.sum(right & scored) / jnp.maximum(jnp.sum(scored), 1)


def above_chance(share: Scalar, chance: float) -> Scalar:
    """A share of right answers, scaled so that chance is 0 and everything right is 1."""
    return jnp.clip(1 - (1 - share) / (1 - chance), 0, 1)  # in this form exactly 1 at 1, however chance is rounded


class _TaskPart(NamedTuple):
    """One task's share of a batch, cut back to the task's own length and width."""

    task: Task
    outputs: Float[Array, "batch time output"]
    episode: Episode


@dataclass(frozen=True)
class TaskSuite:
    """Weighted tasks that one network learns together.

    Inputs and targets are padded to the widest and longest task. If there are several tasks, each step carries a
    one-hot cue that names the task. A batch holds `batch_size` episodes of each task, in the order of `tasks`.

    Attributes:
        tasks: the tasks, with different names.
        weights: of each task in loss and fitness, positive.

    Raises:
        ValueError: no task, two of the same name, or weights that do not fit.
    """

    kind: ClassVar[str] = "tasks"
    behaviours: ClassVar[tuple[str, ...]] = ()  # none of its own; a model may add some
    tasks: tuple[Task, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_suite("task", self.names, self.weights)

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks' names, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def num_cases(self) -> int:
        """Number of scores that selection may look at one by one: one a task."""
        return len(self.tasks)

    @property
    def input_size(self) -> int:
        """Channels of the widest task, plus the cue."""
        return max(task.input_size for task in self.tasks) + self._cue_size

    @property
    def output_size(self) -> int:
        """Channels of the widest answer."""
        return max(task.output_size for task in self.tasks)

    @property
    def num_steps(self) -> int:
        """Steps of the longest task."""
        return max(task.num_steps for task in self.tasks)

    @property
    def _cue_size(self) -> int:
        return len(self.tasks) if len(self.tasks) > 1 else 0

    def sample(self, key: Key, batch_size: int, difficulty: Float[Array, " task"]) -> Episode:
        """`batch_size` fresh episodes of each task, each at its own difficulty. The key is consumed."""
        keys = jax.random.split(key, len(self.tasks))
        parts = [
            self._padded(index, task.sample(keys[index], batch_size, difficulty[index]))
            for index, task in enumerate(self.tasks)
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    def _padded(self, index: int, episode: Episode) -> Episode:
        batch_size, num_steps, num_inputs = episode.inputs.shape
        after = (0, self.num_steps - num_steps)
        cue = jnp.broadcast_to(jnp.arange(self._cue_size) == index, (batch_size, self.num_steps, self._cue_size))
        pad_inputs = (0, self.input_size - self._cue_size - num_inputs)
        inputs = jnp.pad(episode.inputs, ((0, 0), after, pad_inputs))
        pad_targets = (0, self.output_size - episode.targets.shape[-1])
        return Episode(
            inputs=jnp.concatenate([inputs, cue.astype(inputs.dtype)], axis=-1),
            targets=jnp.pad(episode.targets, ((0, 0), after, pad_targets)),
            step_valid=jnp.pad(episode.step_valid, ((0, 0), after)),
        )

    def parts(self, outputs: Float[Array, "batch time output"], episode: Episode) -> list[_TaskPart]:
        """The share of each task, in order."""
        batch_size = outputs.shape[0] // len(self.tasks)
        result = []
        for index, task in enumerate(self.tasks):
            rows = slice(index * batch_size, (index + 1) * batch_size)
            own = Episode(
                inputs=episode.inputs[rows, : task.num_steps, : task.input_size],
                targets=episode.targets[rows, : task.num_steps, : task.output_size],
                step_valid=episode.step_valid[rows, : task.num_steps],
            )
            result.append(_TaskPart(task, outputs[rows, : task.num_steps, : task.output_size], own))
        return result

    def loss(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Scalar:
        """The tasks' losses, averaged by weight."""
        losses = jnp.stack([task.loss(own, part) for task, own, part in self.parts(outputs, episode)])
        return losses @ jnp.array(self.weights) / sum(self.weights)

    def accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, " task"]:
        """Each task's share of sequences with every valid step right."""
        return jnp.stack([task.accuracy(own, part) for task, own, part in self.parts(outputs, episode)])

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, " task"]:
        """Each task's performance, 0 at chance and 1 when everything is right."""
        return jnp.stack([task.performance(own, part) for task, own, part in self.parts(outputs, episode)])

    def performance_by_episode(
        self, outputs: Float[Array, "batch time output"], episode: Episode
    ) -> Float[Array, " batch"]:
        """The performance on each episode alone, task after task."""

        def one(task: Task, outputs: Float[Array, "time output"], episode: Episode) -> Scalar:
            return task.performance(outputs[None], jax.tree.map(lambda leaf: leaf[None], episode))

        parts = self.parts(outputs, episode)
        return jnp.concatenate([jax.vmap(functools.partial(one, task))(own, part) for task, own, part in parts])

    @property
    def solved(self) -> tuple[float, ...]:
        """The accuracy at which each task counts as solved; 1 for a task that does not set it."""
        return tuple(float(getattr(task, "solved", 1.0)) for task in self.tasks)

    def extra_scores(self, outputs: Float[Array, "batch time output"], episode: Episode) -> dict[str, dict[str, Any]]:
        """The scores named in `extra_scores`, by task and by name; tasks that name none are left out."""
        return {
            task.name: {name: getattr(task, name)(own, part) for name in names}
            for task, own, part in self.parts(outputs, episode)
            if (names := getattr(task, "extra_scores", ()))
        }

    def longer(self, factor: int) -> "TaskSuite":
        """The same tasks at exactly `factor` times their greatest lengths; those of `without_longer` as they are."""
        same = self.without_longer(factor)
        tasks = tuple(task if task.name in same else task.longer(factor) for task in self.tasks)
        return TaskSuite(tasks, self.weights)

    def without_longer(self, factor: int) -> dict[str, str]:
        """Why tasks have no form `factor` times as long, by their names."""
        reasons = {}
        for task in self.tasks:
            try:
                if factor > 2 and task.longer(factor) == task.longer(2):
                    reasons[task.name] = f"longer({factor}) asks the same as longer(2)"
            except ValueError as error:
                reasons[task.name] = str(error)
        return reasons

    def at_lengths(self, lengths: Sequence[int]) -> dict[int, "TaskSuite"]:
        """The suite at several multiples of its greatest lengths, 1 for itself, where some task has such a form."""
        have = [length for length in lengths if length == 1 or len(self.without_longer(length)) < len(self.tasks)]
        return {length: self if length == 1 else self.longer(length) for length in have}

    @staticmethod
    def reliability(accuracy: Float[Array, " task"], performance: Float[Array, " task"]) -> Float[Array, " task"]:
        """How reliably each task is solved: its accuracy."""
        del performance
        return accuracy


@dataclass(frozen=True)
class CurriculumConfig:
    """A task gets harder when its present difficulty is mastered, in a population by the median individual."""

    start: float = 1.0  # difficulty at the start, 0 to 1; 1 switches the curriculum off
    step: float = 0.25  # added to the difficulty at each rise
    threshold: float = 0.9  # performance that counts as mastered

    def __post_init__(self) -> None:
        require_types(self, "curriculum.")
        require_share("curriculum.start", self.start)
        require_share("curriculum.threshold", self.threshold)
        require_positive("curriculum.step", self.step)
