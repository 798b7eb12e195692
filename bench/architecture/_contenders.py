"""What is fixed before a run: the tasks, the contenders, how they learn, and how a network is chosen and examined."""

import hashlib
from dataclasses import dataclass, replace

import optax

from etm_jax.config import EvolutionaryTuringConfig, FitnessConfig
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig, VariationRates
from etm_jax.networks.genome._genes import neutral
from etm_jax.networks.learning import make_chain
from etm_jax.presets import PRESETS
from etm_jax.selection import TournamentSelection, UniformSelection
from etm_jax.training import NetworkConfig

DEVELOPMENT, REPORTED = tuple(range(10)), (101, 102, 103, 104, 105)  # seeds; settings are found on the first ones
EXAMINED = (1, 2, 5, 10)  # multiples of the trained size
LOOK = 4000  # training sequences between two looks at the validation episodes
PATIENCE = 256_000  # training sequences without a better look after which a restart ends


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        spec: as on the command line. The weight is the sum of those of the two tasks of the preset.
        score: of `Result`, what networks are chosen and compared by.
        longer: what grows at 2, 5 and 10 times.
    """

    spec: str
    longer: str
    score: str = "accuracy"


TASKS = {
    "copy": Task("copy=0.8,bits=8,max_length=10", "vectors"),
    "recall": Task("recall=0.8,bits=6,item_length=2,max_items=4", "items"),
    "repeat_copy": Task("repeat_copy=0.8,bits=4,max_length=5,max_repeats=4", "vectors; the repeats stay 1 to 4"),
    "priority_sort": Task("priority_sort=0.8,bits=6,min_vectors=2,max_vectors=5,answers=4", "vectors and answers"),
    # No answer is right for certain: the score is the share of what the best estimator saves.
    "n_grams": Task("n_grams=0.8,context=2,min_length=50,max_length=50", "bits", score="performance"),
    "traversal": Task(
        "traversal=0.8,min_nodes=3,max_nodes=3,max_out_degree=2,max_path=1", "edges of the path; graphs stay as large"
    ),
}
QUICK_TASK = Task("copy=0.8,bits=2,max_length=2", "vectors")

# Of all who train a network from its first weights to the end. There is no curriculum.
LEARNING = LifetimeConfig(optimiser="adam", learning_rate=3e-3, batch_size=16, clip_norm=1.0)
EVOLVED = replace(PRESETS["default"], devices=1)
assert isinstance(EVOLVED.model, NetworksConfig)
# Evolved networks learn at the same constant rate: the budget ends a run, so that no rate can fall in time for its end.
AT_THE_SAME_RATE = replace(EVOLVED.model.lifetime, learning_rate=LEARNING.learning_rate, final_learning_rate=1.0)
EVOLVED = replace(EVOLVED, model=replace(EVOLVED.model, lifetime=AT_THE_SAME_RATE))
QUICK_EVOLVED = replace(PRESETS["quick"], devices=1, score_episodes=8)
ONE_KIND = {"memories": ("ntm",), "controllers": ("lstm",)}
GRAVES = NetworkConfig(num_slots=128, slot_width=20, controller_size=100)
TINY = NetworkConfig(num_slots=8, slot_width=4, controller_size=8)


@dataclass(frozen=True)
class Evolved:
    """Evolution by these settings; `task`, `seed` and `max_generations` are the run's."""

    config: EvolutionaryTuringConfig


@dataclass(frozen=True)
class Restarted:
    """One architecture, trained from new weights again and again.

    Attributes:
        network: the architecture.
        learning: batch size and, unless `published`, the optimiser.
        published: pytorch-ntm's optimiser, as its README has it for copying.
        weights_of: the controller gets so many units that there are as many weights as here; None leaves it as it is.
    """

    network: NetworkConfig
    learning: LifetimeConfig = LEARNING
    published: bool = False
    weights_of: NetworkConfig | None = None


@dataclass(frozen=True)
class Halved:
    """Random architectures by successive halving: each rung gets as many CPU seconds, and the better half goes on.

    Attributes:
        bounds: the search space.
        candidates: at the start, a power of two.
        learning: of each.
    """

    bounds: Bounds
    candidates: int = 16
    learning: LifetimeConfig = LEARNING


Contender = Evolved | Restarted | Halved


def with_model(config: EvolutionaryTuringConfig, **changes: object) -> EvolutionaryTuringConfig:
    """The settings with other bounds or rates of variation."""
    return replace(config, model=replace(config.model, **changes))  # pyright: ignore[reportArgumentType]


def contenders(quick: bool = False) -> dict[str, Contender]:
    """All contenders by name."""
    config, shape = (QUICK_EVOLVED, TINY) if quick else (EVOLVED, GRAVES)
    assert isinstance(config.model, NetworksConfig)
    one_kind, candidates = replace(config.model.bounds, **ONE_KIND), 2 if quick else 16
    still = VariationRates(gene_rate=0.0, noise_rate=0.0, learning_sigma=0.0, diversity_floor=0.0)
    still = replace(still, founders=config.model.variation.founders)
    return {
        "evolved": Evolved(config),
        "evolved_ntm": Evolved(with_model(config, bounds=one_kind)),
        "graves": Restarted(shape),
        "pytorch_ntm": Restarted(shape, replace(LEARNING, batch_size=1), published=True),
        "lstm": Restarted(NetworkConfig(cell="none"), weights_of=shape),
        "random_search": Halved(config.model.bounds, candidates),
        "no_variation": Evolved(replace(with_model(config, variation=still), crossover_rate=0.0, immigrant_rate=0.0)),
        "no_selection": Evolved(replace(config, selection=replace(config.selection, method=UniformSelection()))),
    }


def ablations() -> dict[str, Contender]:
    """The default preset with one thing changed, by name."""
    config = EVOLVED
    assert isinstance(config.model, NetworksConfig)
    lifetime, variation = config.model.lifetime, config.model.variation
    tournament, slerp = TournamentSelection(num_elites=6), replace(variation, crossover="slerp")
    mating = replace(config, crossover_rate=0.5)
    return {
        "short_only": Evolved(replace(config, fitness=FitnessConfig())),
        "always_change": Evolved(with_model(config, variation=replace(variation, change_rate=1.0))),
        "no_rest": Evolved(with_model(config, lifetime=replace(lifetime, resting=0))),
        "any_size": Evolved(with_model(config, variation=replace(variation, founders="uniform"))),
        "no_species": Evolved(replace(config, selection=replace(config.selection, method=tournament))),
        "efficient": Evolved(replace(config, efficiency_weight=0.2)),
        "laws": Evolved(with_model(config, lifetime=replace(lifetime, optimiser="ae_schedule_free_adamw"))),
        "births": Evolved(with_model(config, lifetime=replace(lifetime, births=4))),
        "swarm": Evolved(with_model(config, lifetime=replace(lifetime, budget="swarm"))),
        "no_crossover": Evolved(replace(config, crossover_rate=0.0)),
        "slerp": Evolved(with_model(mating, variation=slerp)),
        "aligned": Evolved(with_model(mating, variation=replace(variation, align=True))),
        "blocks": Evolved(mating),
        "baldwinian": Evolved(with_model(config, lifetime=replace(lifetime, inheritance="baldwinian"))),
        "darwinian": Evolved(with_model(config, lifetime=replace(lifetime, inheritance="darwinian", resting=0))),
    }


def chain_of(learning: LifetimeConfig, *, published: bool = False) -> optax.GradientTransformationExtraArgs:
    """The optimiser of a training."""
    if not published:
        return make_chain(learning, neutral())
    # torch.optim.RMSprop adds its epsilon outside the root, and momentum to the scaled gradient.
    rmsprop = optax.rmsprop(1e-4, decay=0.95, momentum=0.9, eps=1e-8, eps_in_sqrt=False)
    return optax.with_extra_args_support(optax.chain(optax.clip(10.0), rmsprop))


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        task: a name of `TASKS`.
        contender: a name of `contenders`.
        seed: of weights, variation and all episodes.
        budget: CPU seconds of evolving or training.
        validation: episodes at each of `EXAMINED` that choose the network.
        held_out: episodes at each of `EXAMINED` that examine it.
        quick: tiny sizes.
    """

    task: str
    contender: str
    seed: int
    budget: float
    validation: int = 64
    held_out: int = 512
    quick: bool = False

    @property
    def name(self) -> str:
        """Of the file of the run."""
        return f"{self.task}-{self.contender}-{self.seed}"

    @property
    def what(self) -> Task:
        """What is learned."""
        return QUICK_TASK if self.quick else TASKS[self.task]

    @property
    def who(self) -> Contender:
        """What learns it."""
        return (ablations() | contenders(self.quick))[self.contender]

    @property
    def fingerprint(self) -> str:
        """Of everything that is fixed but the seed: runs that differ in it must not be averaged."""
        fixed = (self.what, self.who, self.budget, self.validation, self.held_out, EXAMINED, LOOK, PATIENCE)
        return hashlib.sha256(repr(fixed).encode()).hexdigest()[:16]
