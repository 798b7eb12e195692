"""The facade: configure, evolve, take the best model."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import optax

from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.environment import AnySuite
from etm_jax.evolution._make import make_problem
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._run import Outcome, run, survived
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._history import History
from etm_jax.selection import Selector


class EvolutionaryTuringMachine:
    """Evolve a population of Neural Turing Machines; a face over the pure functions of `etm_jax.evolution`.

    Args:
        config: every setting.
        tasks: what to evolve on, tasks or environments; None for the tasks that `config.task` names.
        out: a new folder for rows as they come; None writes nothing. The command line does more: checkpoints,
            the best network and a report; it cannot resume what was started here, and the folder says so.
        selector: replaces the one of the settings.
        optimiser: any optax chain for lifetime learning, in place of the one of the settings.

    Raises:
        ValueError: a task is unknown, individuals are to learn where there are no gradients, or `out` is taken.

    Example:
        >>> import etm_jax as etm
        >>> from etm_jax.networks.learning._config import LifetimeConfig
        >>> config = etm.EvolutionaryTuringConfig(
        ...     population_size=2, max_generations=1, task=("copy=1,bits=2,max_length=2",), score_episodes=4,
        ...     bounds=etm.Bounds(num_slots=(4, 5), slot_width=(3, 4), num_read_heads=(1, 1), num_write_heads=(1, 1),
        ...                       controller_size=(4, 5)),
        ...     lifetime=LifetimeConfig(steps=1, batch_size=2),
        ... )
        >>> machine = etm.EvolutionaryTuringMachine(config)
        >>> history = machine.run_evolution()
        >>> len(history), history.to_dict()["failed"]
        (1, [0])
        >>> import jax.numpy as jnp
        >>> machine.get_best_model()(jnp.zeros((1, 5, 3))).shape
        (1, 5, 2)
    """

    def __init__(
        self,
        config: EvolutionaryTuringConfig | None = None,
        tasks: AnySuite | None = None,
        *,
        out: Path | None = None,
        selector: Selector | None = None,
        optimiser: optax.GradientTransformation | None = None,
    ):
        self.config = config or EvolutionaryTuringConfig()
        given = tasks is not None
        if tasks is None:
            from etm_jax.evolve import suite_of  # only the command line knows concrete tasks

            tasks = suite_of(self.config)
        self.problem = make_problem(self.config, tasks, selector=selector, optimiser=optimiser)
        own = {"tasks": given, "selector": selector is not None, "optimiser": optimiser is not None}
        self._folder = create_folder(out, self.problem, own) if out is not None else None
        self._outcome: Outcome | None = None

    def run_evolution(self) -> History:
        """Evolve for `config.max_generations`; one row a generation.

        Raises:
            ValueError: the folder has the rows of an evolution already, or another process writes to it.
        """
        with contextlib.nullcontext() if self._folder is None else self._folder.locked():
            self._outcome = run(self.problem, self._folder)
        return self._outcome.history

    def get_best_model(self) -> Any:
        """The champion as a compact flax module: `model(inputs [batch time input]) -> logits [batch time output]`.

        Raises:
            RuntimeError: nothing has been evolved yet, or nobody survived.
        """
        if self._outcome is None:
            raise RuntimeError("there is no best model yet; call run_evolution() first")
        if not survived(self._outcome.state):
            raise RuntimeError("there is no best model: every evaluation gave numbers that are not finite")
        return self.problem.family.export(self._outcome.state.champion)


def create_folder(out: Path, problem: Problem, own: dict[str, bool]) -> RunFolder:
    """The folder of a run from Python, with a note of what its settings do not say.

    Args:
        out: the folder.
        problem: what is evolved.
        own: what was given beside the settings, where True.

    Raises:
        ValueError: it is taken.
    """
    suite = problem.suite
    config = problem.config
    if own["tasks"]:
        named = tuple(f"{name}={float(weight)}" for name, weight in zip(suite.names, suite.weights, strict=True))
        config = replace(config, task=named)
    beside = [name for name, given in own.items() if given]
    note = "was started from Python and keeps no checkpoints, so that it cannot be resumed from the command line"
    if beside:
        note += f"; its {' and '.join(beside)} were given to Python, and its config.toml does not describe them"
    return RunFolder.create(out, config, note)
