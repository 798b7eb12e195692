"""The settings of a run: those of the engine, and under `model` those of what evolves. Checked when made."""

import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tyro.conf import UseAppendAction, arg

from etm_jax._require import (
    require,
    require_choice,
    require_count,
    require_float32,
    require_not_negative,
    require_positive,
    require_seed,
    require_share,
    require_types,
)
from etm_jax._typing import BoolScalar, IntScalar
from etm_jax.models._registry import MODELS, AnyModelConfig
from etm_jax.networks._config import NetworksConfig
from etm_jax.selection import ARCHIVES, SELECTORS, AnyArchive, AnySelector, AutoArchive, TournamentSelection
from etm_jax.task import CurriculumConfig

_MOST_LONGER = 1000  # times the trained length
_Cases = Literal["tasks", "episodes"]


@dataclass(frozen=True)
class SelectionConfig:
    """Who survives and who becomes a parent."""

    method: Annotated[AnySelector, arg(name="")] = field(default_factory=TournamentSelection)
    objectives: tuple[str, ...] = ("performance", "multiply_adds", "parameters")  # performance, a task, or a cost
    descriptors: tuple[str, ...] = ("num_slots", "multiply_adds")  # genes, costs or behaviours: species, archives
    cases: _Cases = "tasks"  # what lexicase and niches look at one by one: tasks, or the scoring episodes of all tasks
    average_survivors: bool = False  # a survivor's fitness is its mean over all generations it lived; for noise
    warmup_generations: int = 1  # generations that the first individuals live before selection begins
    renew_every: int = 0  # generations of the warm-up until random ones replace the less fit half, again; 0: never

    def __post_init__(self) -> None:
        _require_kind("selection.method", self.method, SELECTORS)
        require_types(self, "selection.")
        for name in ("objectives", "descriptors"):
            names = getattr(self, name)
            require(len(names) == len(set(names)) > 0, f"selection.{name}", "at least one name, each once", names)
        require_choice("selection.cases", self.cases, typing.get_args(_Cases))
        sees = self.cases == "tasks" or "cases" in getattr(self.method, "needs", ())
        require(sees, "selection.cases", f"tasks with {self.method.kind}, which looks at none one by one", self.cases)
        same = self.cases == "tasks" or not self.average_survivors
        require(same, "selection.cases", "tasks with average_survivors, since episodes differ", self.cases)
        require_count("selection.warmup_generations", self.warmup_generations, 1)
        require_count("selection.renew_every", self.renew_every, 0)

    def warming_up(self, generation: IntScalar) -> BoolScalar:
        """Whether selection has not begun, so that all survive."""
        return generation < self.warmup_generations

    def renews(self, generation: IntScalar) -> BoolScalar | bool:
        """Whether random genomes replace the less fit half: each time early enough to have as long before selection."""
        if self.renew_every == 0:
            return False
        in_time = generation + self.renew_every <= self.warmup_generations
        return in_time & (generation > 0) & (generation % self.renew_every == 0)


@dataclass(frozen=True)
class FitnessConfig:
    """What counts in the fitness beside the performance at the trained lengths and the efficiency.

    Example:
        >>> from etm_jax.config import FitnessConfig
        >>> FitnessConfig(longer=("2=0.25", "5=0.5")).lengths
        {2: 0.25, 5: 0.5}
    """

    # performance at multiples of the tasks' greatest lengths, as MULTIPLE=WEIGHT: 2=0.25 5=0.25; trained lengths have 1
    longer: tuple[str, ...] = ()
    exact: float = 0.0  # share of the accuracy, sequences or episodes right as a whole, in place of the performance
    longer_episodes: int = 32  # fresh episodes of each task at each of these; at twice the length, score_episodes

    def __post_init__(self) -> None:
        require_types(self, "fitness.")
        require_count("fitness.longer_episodes", self.longer_episodes, 1)
        require_share("fitness.exact", self.exact)
        require(len(self.lengths) == len(self.longer), "fitness.longer", "of different multiples", self.longer)
        require_float32("the sum of the weights in fitness.longer", sum(self.lengths.values(), 0.0))

    @property
    def lengths(self) -> dict[int, float]:
        """The weight of each multiple, ascending.

        Raises:
            ValueError: an entry is not a multiple and its weight.
        """
        return dict(sorted(map(_parse_longer, self.longer)))


def _parse_longer(entry: str) -> tuple[int, float]:
    multiple, _, weight = entry.partition("=")
    try:
        found = int(multiple), float(weight)
    except ValueError:
        found = 0, 0.0
    fits = 2 <= found[0] <= _MOST_LONGER
    require(fits, "fitness.longer", f"multiples from 2 to {_MOST_LONGER} with weights, such as 2=0.25 5=0.25", entry)
    require_positive(f"the weight in fitness.longer {entry}", found[1])
    return found


@dataclass(frozen=True)
class IslandConfig:
    """Islands that the population is divided into; selection and variation happen within one."""

    count: int = 1  # islands of equal size; 1: an undivided population
    migrate_every: int = 5  # generations from one migration to the next
    migrants: int = 1  # best members of an island that are copied over the worst of the next one

    def __post_init__(self) -> None:
        require_types(self, "islands.")
        for name in ("count", "migrate_every", "migrants"):
            require_count(f"islands.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class EvolutionaryTuringConfig:
    """All settings of a run: the engine's, and the model's own under `model`.

    `task` names the tasks that share one network, each as `name=weight` with options after commas:
    `("copy=0.5,max_length=8", "recall=0.3,bits=6")`. Tasks given to the engine as objects replace them, and bring their
    own sizes. The command line starts from a preset, not from these defaults.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.

    Example:
        >>> from etm_jax import EvolutionaryTuringConfig
        >>> EvolutionaryTuringConfig(population_size=10).model.lifetime.optimiser
        'ae_schedule_free_adamw'
        >>> EvolutionaryTuringConfig(population_size=0)
        Traceback (most recent call last):
        ValueError: population_size must be a whole number of at least 1, got 0
    """

    population_size: int = 16  # individuals
    max_generations: int = 20  # generations of the whole run
    seed: int = 0  # of every random draw; the same seed gives the same run
    # name=weight,option=value; repeat the flag for several, which then replace the preset's
    task: Annotated[tuple[str, ...], UseAppendAction] = ("copy=0.5,max_length=8", "recall=0.3,bits=6,max_items=3")
    input_dim: int = 8  # data channels in: the bits of tasks that do not set their own
    output_dim: int = 8  # data channels out; the built-in tasks answer in what they are shown, so it equals input_dim
    efficiency_weight: float = 0.2  # what a cheap architecture counts in the fitness, beside the tasks' weights
    score_episodes: int = 64  # fresh episodes of each task that an individual is scored on
    crossover_rate: float = 0.1  # probability that an offspring has two parents
    immigrant_rate: float = 0.0  # probability that a random genome takes the place of an offspring
    checkpoint_every: int = 1  # generations between checkpoints
    generations_per_chunk: int = 1  # generations computed before the host looks at the results
    devices: int = 0  # devices the population is spread over; 0: all, CPU cores among them
    individuals_per_batch: int = 0  # individuals in one vmap on a device; 0: 1 on CPU, all elsewhere; 1 with the kernel
    model: Annotated[AnyModelConfig, arg(name="")] = field(default_factory=NetworksConfig)
    fitness: FitnessConfig = field(default_factory=FitnessConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    archive: AnyArchive = field(default_factory=AutoArchive)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    islands: IslandConfig = field(default_factory=IslandConfig)

    def __post_init__(self) -> None:
        _require_kind("model", self.model, {name: kind.Config for name, kind in MODELS.items()})
        _require_kind("archive", self.archive, ARCHIVES)
        require_types(self)
        for name in ("population_size", "max_generations", "input_dim", "output_dim", "score_episodes"):
            require_count(name, getattr(self, name), 1)
        for name in ("checkpoint_every", "generations_per_chunk"):
            require_count(name, getattr(self, name), 1)
        for name in ("devices", "individuals_per_batch"):
            require_count(name, getattr(self, name), 0)
        for name in ("crossover_rate", "immigrant_rate"):
            require_share(name, getattr(self, name))
        require_seed("seed", self.seed)
        require(self.input_dim == self.output_dim, "output_dim", f"input_dim ({self.input_dim})", self.output_dim)
        require(len(self.task) > 0, "task", "at least one task", self.task)
        require_not_negative("efficiency_weight", self.efficiency_weight)
        count, migrants = self.islands.count, self.islands.migrants
        divisor = f"a divisor of population_size ({self.population_size})"
        require(self.population_size % count == 0, "islands.count", divisor, count)
        fewer = f"fewer than the members of an island ({self.population_size // count})"
        require(count == 1 or migrants < self.population_size // count, "islands.migrants", fewer, migrants)
        shares = self.archive.kind not in ("auto", "none") or getattr(self.selection.method, "keeps_front", False)
        rule = "1 with nsga2, or with an archive, which all members share"
        require(count == 1 or not shares, "islands.count", rule, count)


def _require_kind(name: str, value: object, kinds: dict[str, type[Any]]) -> None:
    """The settings of one of some kinds."""
    names = ", ".join(kind.__name__ for kind in kinds.values())
    require(type(value) in kinds.values(), name, f"one of {names}", value)
