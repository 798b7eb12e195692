"""Every setting of a run: frozen dataclasses, checked when made, to and from one TOML file."""

import json
import tomllib
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

from tyro.conf import Suppress, UseAppendAction, arg

from etm_jax._require import (
    require,
    require_choice,
    require_count,
    require_not_negative,
    require_positive,
    require_seed,
    require_share,
    require_types,
)
from etm_jax._toml import replaced
from etm_jax.automata._config import EmergentConfig as EmergentConfig
from etm_jax.graphs._config import GraphConfig as GraphConfig
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.variation._rates import VariationRates

Inheritance = Literal["darwinian", "baldwinian", "lamarckian"]
Budget = Literal["equal", "swarm"]
Precision = Literal["float32", "bfloat16"]
Method = Literal["tournament", "truncation", "lexicase", "uniform", "aging", "nsga2", "niches", "species"]
ArchiveKind = Literal["auto", "none", "front", "map-elites", "novelty"]
Model = Literal["networks", "em43", "em33", "graph"]
Storage = Literal["genomes", "seeds"]
Optimiser = Literal["adam", "adamw", "rmsprop", "sgd", "ae_adam", "ae_adamw", "ae_sgdm", "ae_schedule_free_adamw"]
_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class SelectionConfig:
    """Who survives and who becomes a parent."""

    method: Annotated[Method, arg(aliases=["--selection"])] = "tournament"
    tournament_size: int = 3  # members of a tournament, of aging's too; more is greedier
    lexicase_size: int = 64  # random members that a parent is filtered from, case by case
    truncation_share: float = 0.5  # best share of the population that may become parents
    num_elites: int = 2  # best members that survive unchanged; not of aging, nsga2 and niches, which have a turnover
    turnover: float = 0.5  # share that offspring replace in a generation, of aging, nsga2 and niches
    niches_alpha: float = 1.0  # how much members that are good at the same cases share, 0 to 1
    species_radius: float = 0.15  # distance of descriptors within which members are of one species
    objectives: tuple[str, ...] = ("performance", "multiply_adds", "parameters")  # performance, a task, or a cost
    descriptors: tuple[str, ...] = ("num_slots", "multiply_adds")  # genes, costs or behaviours: species, archives
    average_survivors: bool = False  # a survivor's fitness is its mean over all generations it lived; for noise
    warmup_generations: int = 1  # generations that the founders live before selection begins

    def __post_init__(self) -> None:
        require_types(self, "selection.")
        require_choice("selection.method", self.method, typing.get_args(Method))
        require_count("selection.tournament_size", self.tournament_size, 1)
        require_count("selection.lexicase_size", self.lexicase_size, 1)
        require(0 < self.truncation_share <= 1, "selection.truncation_share", "in (0, 1]", self.truncation_share)
        require_count("selection.num_elites", self.num_elites, 0)
        require(0 < self.turnover <= 1, "selection.turnover", "in (0, 1]", self.turnover)
        require_share("selection.niches_alpha", self.niches_alpha)
        require_not_negative("selection.species_radius", self.species_radius)
        for name in ("objectives", "descriptors"):
            names = getattr(self, name)
            require(len(names) == len(set(names)) > 0, f"selection.{name}", "at least one name, each once", names)
        require_count("selection.warmup_generations", self.warmup_generations, 1)


@dataclass(frozen=True)
class ArchiveConfig:
    """Who is kept beside the population."""

    kind: Annotated[ArchiveKind, arg(aliases=["--archive"])] = "auto"  # auto: a front for nsga2, else none
    size: int = 128  # members of a front, places of novelty's ring
    bins: int = 10  # parts that map-elites cuts each descriptor into
    neighbours: int = 15  # that novelty is the mean distance to
    admitted: int = 6  # members of each generation that novelty's ring takes in
    novelty_weight: float = 1.0  # 1: novelty replaces the fitness; 0: it does not count

    def __post_init__(self) -> None:
        require_types(self, "archive.")
        require_choice("archive.kind", self.kind, typing.get_args(ArchiveKind))
        for name in ("size", "bins", "neighbours", "admitted"):
            require_count(f"archive.{name}", getattr(self, name), 1)
        require_share("archive.novelty_weight", self.novelty_weight)


@dataclass(frozen=True)
class LifetimeConfig:
    """How an individual learns before it is scored."""

    inheritance: Inheritance = "lamarckian"  # darwinian: no learning; baldwinian: learn, score, discard; or keep
    steps: int = 100  # gradient steps of a lifetime
    budget: Budget = "equal"  # swarm: the same steps in all, but more for those whose forebears were fitter
    batch_size: int = 16  # episodes of each task in a gradient step
    optimiser: Optimiser = "ae_schedule_free_adamw"  # those that begin with ae_ move their own learning rate
    learning_rate: float = 3e-3  # where the first lifetime starts; times the individual's learning gene
    warmup_steps: int = 20  # not for ae_: steps at the start of a lifetime in which updates grow to full size
    final_learning_rate: float = 0.1  # not for ae_: share of the rate left at the last generation, along a cosine
    clip_norm: float = 1.0  # global norm that gradients are clipped to
    ponder_cost: float = 0.001  # what a step of pondering adds to the loss, where networks may ponder
    rematerialise: bool = False  # recompute activations in the backward pass; for large memories

    def __post_init__(self) -> None:
        require_types(self, "lifetime.")
        require_choice("lifetime.inheritance", self.inheritance, typing.get_args(Inheritance))
        require_choice("lifetime.optimiser", self.optimiser, typing.get_args(Optimiser))
        require_choice("lifetime.budget", self.budget, typing.get_args(Budget))
        require_count("lifetime.steps", self.steps, 1)
        require_count("lifetime.batch_size", self.batch_size, 1)
        require_count("lifetime.warmup_steps", self.warmup_steps, 0)
        require_positive("lifetime.learning_rate", self.learning_rate)
        require_share("lifetime.final_learning_rate", self.final_learning_rate)
        require_positive("lifetime.clip_norm", self.clip_norm)
        require_not_negative("lifetime.ponder_cost", self.ponder_cost)


@dataclass(frozen=True)
class CurriculumConfig:
    """When tasks get harder: a task's difficulty rises once the present level is mastered, by the median individual."""

    start: float = 1.0  # difficulty at the start, 0 to 1; 1 switches the curriculum off
    step: float = 0.25  # how much a mastered level adds
    threshold: float = 0.9  # performance that counts as mastery; of the median individual in a population

    def __post_init__(self) -> None:
        require_types(self, "curriculum.")
        require_share("curriculum.start", self.start)
        require_share("curriculum.threshold", self.threshold)
        require_positive("curriculum.step", self.step)


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
    """All settings of a run.

    `task` names the tasks that share one network, each as `name=weight` with options after commas:
    `("copy=0.5,max_length=8", "recall=0.3,bits=6")`. Tasks given to the engine as objects replace them, and bring their
    own sizes. The command line starts from a preset, not from these defaults.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.

    Example:
        >>> from etm_jax import EvolutionaryTuringConfig
        >>> EvolutionaryTuringConfig(population_size=10).lifetime.optimiser
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
    checkpoint_every: int = 1  # generations between checkpoints
    generations_per_chunk: int = 1  # generations computed before the host looks at the results
    devices: int = 0  # devices the population is spread over; 0: all, CPU cores among them
    individuals_per_batch: int = 0  # individuals that one vmap holds on a device; 0: 1 on CPU, all elsewhere
    size_buckets: int = 1  # padded shapes that networks compute in, at most; each costs compile time and saves padding
    rebucket_every: int = 20  # generations after which buckets are chosen again, to fit the population as it is then
    model: Annotated[Model, Suppress] = "networks"  # the kind of genomes; on the command line it also names a preset
    precision: Precision = "float32"  # of the factors in matrix products; sums and addressing are always float32
    population_storage: Storage = "genomes"  # seeds: weights are drawn again when needed; mutation only, no learning
    seed_capacity: int = 1000  # with seeds: most mutations of an individual, so the longest run
    bounds: Bounds = field(default_factory=Bounds)
    variation: VariationRates = field(default_factory=VariationRates)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    archive: ArchiveConfig = field(default_factory=ArchiveConfig)
    lifetime: LifetimeConfig = field(default_factory=LifetimeConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    islands: IslandConfig = field(default_factory=IslandConfig)
    emergent: EmergentConfig = field(default_factory=EmergentConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("population_size", "max_generations", "input_dim", "output_dim", "score_episodes"):
            require_count(name, getattr(self, name), 1)
        require_choice("model", self.model, typing.get_args(Model))
        require_choice("precision", self.precision, typing.get_args(Precision))
        require_choice("population_storage", self.population_storage, typing.get_args(Storage))
        for name in ("checkpoint_every", "generations_per_chunk", "size_buckets", "rebucket_every", "seed_capacity"):
            require_count(name, getattr(self, name), 1)
        for name in ("devices", "individuals_per_batch"):
            require_count(name, getattr(self, name), 0)
        require_seed("seed", self.seed)
        require(self.input_dim == self.output_dim, "output_dim", f"input_dim ({self.input_dim})", self.output_dim)
        require(len(self.task) > 0, "task", "at least one task", self.task)
        require_not_negative("efficiency_weight", self.efficiency_weight)
        count, migrants = self.islands.count, self.islands.migrants
        divisor = f"a divisor of population_size ({self.population_size})"
        require(self.population_size % count == 0, "islands.count", divisor, count)
        fewer = f"fewer than the members of an island ({self.population_size // count})"
        require(count == 1 or migrants < self.population_size // count, "islands.migrants", fewer, migrants)
        alone = count == 1 or (self.archive.kind in ("auto", "none") and self.selection.method != "nsga2")
        require(alone, "islands.count", "1 with an archive, which all members share", count)
        averages = not self.selection.average_survivors or self.lifetime.inheritance != "lamarckian"
        require(averages, "selection.average_survivors", "off while survivors learn on (lamarckian)", True)
        rates = self.variation
        require(type(rates.align) is bool, "variation.align", "True or False", rates.align)
        for name in ("gene_rate", "local_share", "noise_rate", "crossover_rate", "immigrant_rate"):
            require_share(f"variation.{name}", getattr(rates, name))
        for name in ("controller_sigma", "noise_scale", "learning_sigma", "diversity_floor"):
            require_not_negative(f"variation.{name}", getattr(rates, name))


def parse_task(spec: str) -> tuple[str, float, dict[str, int]]:
    """Split `name=weight,option=value` into its parts; the weight is 1 when it is left out.

    Raises:
        ValueError: the text does not have that form.
    """
    head, *rest = spec.split(",")
    name, _, weight = head.partition("=")
    way_out = f"task must look like name=weight,option=value, for example copy=0.5,max_length=8, got {spec!r}"
    try:
        value = float(weight) if weight else 1.0
        options = [(key.strip(), int(number)) for key, number in (item.split("=") for item in rest)]
    except ValueError:
        raise ValueError(way_out) from None
    if not name.strip() or not value > 0:
        raise ValueError(way_out)
    require_positive(f"the weight of task {name.strip()!r}", value)
    keys = [key for key, _ in options]
    for key in keys:
        require(keys.count(key) == 1, f"option {key!r} of task {name.strip()!r}", "given once", spec)
    return name.strip(), value, dict(options)


def to_toml(config: Any) -> str:
    """The config as TOML text; `from_toml` reads it back."""
    top, tables = [], []
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            lines = [f"{inner.name} = {_literal(getattr(value, inner.name))}" for inner in fields(value)]
            tables.append("\n".join([f"[{item.name}]", *lines]))
        else:
            top.append(f"{item.name} = {_literal(value)}")
    return "\n\n".join(["\n".join(top), *tables]) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(entry) for entry in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a TOML string but for this character
    return repr(value if isinstance(value, int) else float(value))  # repr of a NumPy number is no TOML


@overload
def from_toml(text: str, default: None = None) -> EvolutionaryTuringConfig: ...
@overload
def from_toml(text: str, default: _Settings) -> _Settings: ...
def from_toml(text: str, default: Any = None) -> Any:
    """Read a config; what the text leaves out is taken from `default`, whose kind the config is of.

    Raises:
        ValueError: the text is not TOML, a key is unknown, or a value is of the wrong type or breaks its rule.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the config is not valid TOML: {error}") from None
    except RecursionError:
        raise ValueError("the config is not valid: it is nested too deeply") from None
    return replaced(default or EvolutionaryTuringConfig(), table)


@overload
def read_config(path: Path, default: None = None) -> EvolutionaryTuringConfig: ...
@overload
def read_config(path: Path, default: _Settings) -> _Settings: ...
def read_config(path: Path, default: Any = None) -> Any:
    """Read a config file.

    Raises:
        ValueError: the file cannot be read, or `from_toml` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read the config {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read the config {path}: it is not UTF-8, {error.reason}") from None
    return from_toml(text, default)
