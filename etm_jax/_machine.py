"""The faces of a run in Python: `evolve(config)`, and a machine to configure, run and take the best model from."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optax

from etm_jax._require import require
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.environment import AnySuite
from etm_jax.evolution._problem import make_problem
from etm_jax.evolution._run import Outcome, run, survived
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._history import History
from etm_jax.selection import Selector


@dataclass(frozen=True)
class EvolutionResult:
    """What `evolve` found.

    Attributes:
        best: the champion as a compact flax module, `model(inputs [batch time input]) -> logits [batch time output]`;
            None if every evaluation failed.
        history: one row a generation.
        interrupted: True = a signal, such as Ctrl-C or SIGTERM, ended it before the last generation.
    """

    best: Any
    history: History
    interrupted: bool


def evolve(
    config: EvolutionaryTuringConfig | None = None, suite: AnySuite | None = None, **given: Any
) -> EvolutionResult:
    """Evolve a population in this process. Ctrl-C and SIGTERM end it after the chunk under way, with what was found.

    Args:
        config: every setting; None for the defaults.
        suite: what to evolve on, tasks or environments; None for the tasks that `config.task` names.
        **given: `out`, `selector` or `optimiser`, as of `EvolutionaryTuringMachine`.

    Raises:
        ValueError: as `EvolutionaryTuringMachine`.

    Example:
        >>> import etm_jax as etm
        >>> space = etm.Bounds(num_slots=(4, 5), slot_width=(3, 4), num_read_heads=(1, 1), num_write_heads=(1, 1),
        ...                    controller_size=(4, 5))
        >>> config = etm.EvolutionaryTuringConfig(
        ...     population_size=2, max_generations=1, task=("copy=1,bits=2,max_length=2",), score_episodes=4,
        ...     model=etm.NetworksConfig(space, lifetime=etm.LifetimeConfig(steps=1, batch_size=2)),
        ... )
        >>> result = etm.evolve(config)
        >>> len(result.history), result.history.to_dict()["failed"]
        (1, [0])
        >>> import jax.numpy as jnp
        >>> result.best(jnp.zeros((1, 5, 3))).shape
        (1, 5, 2)
    """
    machine = EvolutionaryTuringMachine(config, suite, **given)
    history = machine.run_evolution()
    best = machine.get_best_model() if machine.has_best_model else None
    return EvolutionResult(best, history, interrupted=len(history) < machine.config.max_generations)


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
        >>> machine = etm.EvolutionaryTuringMachine(etm.EvolutionaryTuringConfig(population_size=4))
        >>> machine.has_best_model
        False
    """

    def __init__(
        self,
        config: EvolutionaryTuringConfig | None = None,
        tasks: AnySuite | None = None,
        *,
        out: str | Path | None = None,
        selector: Selector | None = None,
        optimiser: optax.GradientTransformation | None = None,
    ):
        self.config = EvolutionaryTuringConfig() if config is None else config
        is_config = type(self.config) is EvolutionaryTuringConfig
        require(is_config, "config", "an EvolutionaryTuringConfig", self.config)
        given = tasks is not None
        if tasks is None:
            from etm_jax._command_line import suite_of  # only the command line knows concrete tasks

            tasks = suite_of(self.config)
        self.problem = make_problem(self.config, tasks, selector=selector, optimiser=optimiser)
        own = {"tasks": given, "selector": selector is not None, "optimiser": optimiser is not None}
        self._folder = create_folder(Path(out), self.config, tasks, own) if out is not None else None
        self._outcome: Outcome | None = None

    def run_evolution(self) -> History:
        """Evolve for `config.max_generations`; one row a generation.

        Raises:
            ValueError: the folder has the rows of an evolution already, or another process writes to it.
        """
        with contextlib.nullcontext() if self._folder is None else self._folder.locked():
            self._outcome = run(self.problem, self._folder)
        return self._outcome.history

    @property
    def has_best_model(self) -> bool:
        """Whether some evaluation of a run gave finite numbers."""
        return self._outcome is not None and survived(self._outcome.state)

    def get_best_model(self) -> Any:
        """The champion as a compact flax module: `model(inputs [batch time input]) -> logits [batch time output]`.

        Raises:
            RuntimeError: nothing has been evolved yet, or every evaluation failed.
        """
        if self._outcome is None:
            raise RuntimeError("there is no best model yet; call run_evolution() first")
        if not survived(self._outcome.state):
            raise RuntimeError("there is no best model: every evaluation gave numbers that are not finite")
        return self.problem.model.export(self._outcome.state.champion)


def create_folder(out: Path, config: EvolutionaryTuringConfig, suite: AnySuite, own: dict[str, bool]) -> RunFolder:
    """The folder of a run from Python, with a note of what its settings do not say.

    Args:
        out: the folder.
        config: every setting.
        suite: what is evolved on.
        own: what was given beside the settings, where True.

    Raises:
        ValueError: it is taken.
    """
    if own["tasks"]:
        named = tuple(f"{name}={float(weight)}" for name, weight in zip(suite.names, suite.weights, strict=True))
        config = replace(config, task=named)
    beside = [name for name, given in own.items() if given]
    note = "was started from Python and keeps no checkpoints, so that it cannot be resumed from the command line"
    if beside:
        note += f"; its {' and '.join(beside)} were given to Python, and its config.toml does not describe them"
    return RunFolder.create(out, config, note)
