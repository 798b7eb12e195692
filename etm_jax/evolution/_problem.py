"""What a run evolves, on what, and where: everything about it that is static."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from etm_jax._require import require
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.environment import AnySuite
from etm_jax.evolution._measure import check_measures
from etm_jax.models._context import Context
from etm_jax.models._model import Model
from etm_jax.models._registry import make_model
from etm_jax.models._scores import asked_of
from etm_jax.parallel._devices import default_batch_size, device_mesh
from etm_jax.selection import Archive, FrontArchive, Selector


@dataclass(frozen=True)
class Problem:
    """What a run evolves and on what; static, so one compiled generation belongs to one problem.

    Attributes:
        config: every setting.
        suite: the tasks, the environments, or the function of numbers.
        model: the kind of genomes.
        selector: who survives and who becomes a parent.
        archive: what is kept beside the population; None for nothing.
        mesh: the devices that the population is spread over.
    """

    config: EvolutionaryTuringConfig
    suite: AnySuite
    model: Any  # a `Model`, which may learn and compute in buckets
    selector: Selector
    archive: Archive | None
    mesh: Mesh = field(repr=False)

    @property
    def context(self) -> Context:
        """What the model needs to know to evaluate."""
        config = self.config
        return Context(
            population_size=config.population_size,
            score_episodes=config.score_episodes,
            max_generations=config.max_generations,
            batch_size=config.individuals_per_batch,
            behaves=any(name in self.model.behaviours for name in self.descriptors),
            longer=tuple(config.fitness.lengths),
            longer_episodes=config.fitness.longer_episodes,
            by_episode=config.selection.cases == "episodes",
            mesh=self.mesh,
        )

    @property
    def num_cases(self) -> int:
        """Number of scores that selection may look at one by one."""
        if self.config.selection.cases == "tasks":
            return self.suite.num_cases
        asked = asked_of(self.suite, self.context)
        return len(self.suite.names) * sum(asked[length].episodes for length in (1, *self.context.longer))

    @property
    def learns(self) -> bool:
        """Whether individuals learn before they are scored."""
        return self.model.inheritance != "darwinian"

    @property
    def batch_size(self) -> int:
        """Individuals in one vmap on a device; 0 for all."""
        return self.config.individuals_per_batch or default_batch_size()

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is sought at once, if the selector or the archive needs it."""
        return self.config.selection.objectives if self._needs("objectives") else ()

    @property
    def descriptors(self) -> tuple[str, ...]:
        """What tells members apart, if the selector or the archive needs it."""
        return self.config.selection.descriptors if self._needs("descriptors") else ()

    def _needs(self, name: str) -> bool:
        return any(name in getattr(one, "needs", ()) for one in (self.selector, self.archive))


def make_problem(
    config: EvolutionaryTuringConfig,
    suite: AnySuite,
    *,
    model: Model | None = None,
    selector: Selector | None = None,
    optimiser: optax.GradientTransformation | None = None,
) -> Problem:
    """A problem from its settings; a model, a selector or an optax chain given here replaces the settings' own.

    Raises:
        ValueError: the model does not evolve on such a suite; individuals are to learn by gradients where there are
            none; a task has no form of a length that counts in the fitness; cases cannot be episodes here; an objective
            or a descriptor is unknown; or the archive does not fit the descriptors.
    """
    chosen: Any = config.selection.method if selector is None else selector
    _check_given(suite, chosen, optimiser)
    made: Any = model or make_model(config, suite)
    if optimiser is not None:
        require(made.inheritance != "darwinian", "optimiser", "left out where nothing is learned", optimiser)
        made = replace(made, optimiser=optimiser)
    averages = not config.selection.average_survivors or made.inheritance != "lamarckian"
    require(averages, "selection.average_survivors", "off while survivors learn on (lamarckian)", True)
    problem = Problem(
        config=config,
        suite=suite,
        model=made,
        selector=chosen,
        archive=make_archive(config, chosen),
        mesh=device_mesh(config.population_size, config.devices, config.islands.count),
    )
    _check_lengths_and_cases(problem)
    genomes = jax.eval_shape(lambda key: jax.vmap(made.random)(key[None]), jax.random.key(0))
    check_measures(made, genomes, suite.names, problem.objectives, problem.descriptors)
    return problem


def _check_given(suite: object, selector: object, optimiser: object) -> None:
    """Refuse what is no suite, no selector or no optax chain."""
    kinds = ("tasks", "environments", "functions")
    rule = "a suite of tasks, of environments, or of a function of numbers, such as etm_tasks.make_suite makes"
    require(not isinstance(suite, type) and getattr(suite, "kind", None) in kinds, "suite", rule, suite)
    rule = "a selector, such as TournamentSelection(size=3)"
    require(callable(selector) and not isinstance(selector, type), "selector", rule, selector)
    is_chain = optimiser is None or all(hasattr(optimiser, name) for name in ("init", "update"))
    require(is_chain, "optimiser", "an optax chain, such as optax.adam(1e-3)", optimiser)


def _check_lengths_and_cases(problem: Problem) -> None:
    """Refuse lengths that a task does not have, and cases that cannot be compared."""
    fitness, selection = problem.config.fitness, problem.config.selection
    for length in fitness.lengths:
        for name, reason in problem.suite.without_longer(length).items():
            raise ValueError(f"fitness.longer must leave out {length}, which {name} cannot be asked at: {reason}")
    if selection.cases == "episodes":
        rule = "tasks for a function of numbers, where each number is a case"
        require(problem.suite.kind != "functions", "selection.cases", rule, selection.cases)
        rule = "tasks with an archive that parents come from, whose members were scored on other episodes"
        require(not getattr(problem.archive, "breeds", False), "selection.cases", rule, selection.cases)


def make_archive(config: EvolutionaryTuringConfig, selector: Selector) -> Archive | None:
    """The archive that the settings name, or that the selector asks for.

    Raises:
        ValueError: a grid has other axes than there are descriptors.
    """
    archive = config.archive
    if archive.kind == "auto":
        return FrontArchive() if getattr(selector, "keeps_front", False) else None
    if archive.kind == "none":
        return None
    if hasattr(archive, "num_descriptors"):
        wanted = len(config.selection.descriptors)
        rule = f"0 or the number of selection.descriptors ({wanted})"
        require(archive.num_descriptors in (0, wanted), "archive.num_descriptors", rule, archive.num_descriptors)
        archive = replace(archive, num_descriptors=wanted)
    return archive
