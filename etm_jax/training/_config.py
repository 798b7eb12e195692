"""Every setting of a training run: frozen dataclasses, checked when made."""

import inspect
import typing
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from tyro.conf import UseAppendAction, arg

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
from etm_jax.cells import CONTROLLERS, MEMORIES
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.learning._config import LifetimeConfig, Optimiser, Precision
from etm_jax.networks.learning._optimisers import OPTIMISERS
from etm_jax.networks.native import NativeSetting
from etm_jax.task import CurriculumConfig

Addressing = Literal["content", "content_and_location"]
if typing.TYPE_CHECKING:
    Controller = str
    Memory = str
else:  # the kinds of the registries, so that the command line lists them
    Controller, Memory = Literal[tuple(CONTROLLERS)], Literal[tuple(MEMORIES)]
Schedule = Literal["constant", "cosine"]
# Settings that name a kind, with the field of the bounds that lists those allowed; and those that are no gene.
KINDS = {"addressing": "addressing", "controller": "controllers", "cell": "memories"}
FIXED = ("attention_width", "sparse_links")


@dataclass(frozen=True)
class NetworkConfig:
    """The network that is trained: one value for every gene of an architecture."""

    cell: Memory = "ntm"  # the memory
    controller: Controller = "lstm"  # what drives it
    num_slots: int = 32  # memory slots
    slot_width: int = 16  # numbers in a slot
    num_read_heads: int = 1  # heads that read
    num_write_heads: int = 1  # heads that write
    controller_size: int = 64  # hidden units of the controller
    shift_range: int = 1  # largest distance that a head can move in a step
    addressing: Addressing = "content_and_location"  # how heads of an NTM find a slot
    ponder_steps: int = 1  # most steps over one input (adaptive computation time); 1 for none
    window_size: int = 4  # inputs that a window controller sees
    num_layers: int = 1  # encoder layers of a window controller
    attention_heads: int = 4  # of each of these layers
    attention_width: int = 16  # width of their keys and values
    sparse_links: int = 0  # largest entries of a weighting that enter a DNC's temporal links; 0 for all

    def __post_init__(self) -> None:
        require_types(self)
        for item in fields(self):
            if item.name not in KINDS:
                require_count(item.name, getattr(self, item.name), 0 if item.name == "sparse_links" else 1)
        for name, kinds in (("addressing", Addressing), ("controller", Controller), ("cell", Memory)):
            require_choice(name, getattr(self, name), typing.get_args(kinds))
        needed = 2 * self.shift_range + 1
        require(self.num_slots >= needed, "num_slots", f"at least 2*shift_range+1 = {needed}", self.num_slots)

    @property
    def bounds(self) -> Bounds:
        """The search space that holds this architecture and no other."""
        limits: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in FIXED:
                limits[item.name] = value
            else:
                limits[KINDS.get(item.name, item.name)] = (value,) if item.name in KINDS else (value, value)
        return Bounds(**limits)


def strategies() -> dict[str, Any]:
    """evosax's distribution-based algorithms by name, but for those that keep several means and so no one network."""
    from evosax.algorithms import distribution_based_algorithms  # a second, which gradients need not wait for

    return {
        name: kind
        for name, kind in sorted(distribution_based_algorithms.items())
        if "num_populations" not in inspect.signature(kind.__init__).parameters
    }


@dataclass(frozen=True)
class StrategyConfig:
    """An evolution strategy over the weights, in place of gradients.

    Raises:
        ValueError: the name is not among evosax's, or a value breaks its rule.

    Example:
        >>> from etm_jax.training import StrategyConfig
        >>> StrategyConfig("SNES").population
        64
        >>> StrategyConfig("SNES", sigma=0.0)
        Traceback (most recent call last):
        ValueError: strategy_sigma must be a finite number above 0, got 0.0
    """

    name: Annotated[str, arg(name="strategy")] = ""  # evosax's name, such as SNES or Open_ES; empty: gradients
    population: Annotated[int, arg(name="strategy-population")] = 64  # candidates of a step
    sigma: Annotated[float, arg(name="strategy-sigma")] = 0.1  # first standard deviation of a weight
    # of Adam on the strategy's mean; 0: the strategy's own optimiser
    learning_rate: Annotated[float, arg(name="strategy-learning-rate")] = 0.0
    # of the mean under Adam, as in AdamW; keeps weights so small that the noise on them still makes a difference
    weight_decay: Annotated[float, arg(name="strategy-weight-decay")] = 0.0

    def __post_init__(self) -> None:
        require_types(self, "strategy_")
        if self.name:
            require_choice("strategy", self.name, tuple(strategies()))
        require_count("strategy_population", self.population, 2)
        require_positive("strategy_sigma", self.sigma)
        require_not_negative("strategy_learning_rate", self.learning_rate)
        require_not_negative("strategy_weight_decay", self.weight_decay)
        adam = self.learning_rate > 0 or self.weight_decay == 0
        require(adam, "strategy_weight_decay", "0 without a strategy_learning_rate", self.weight_decay)


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run.

    `task` names the tasks that the network learns together, each as `name=weight` with options after commas:
    `("copy=1,max_length=20", "recall=0.5")`.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.

    Example:
        >>> from etm_jax.training import NetworkConfig, TrainConfig
        >>> TrainConfig(network=NetworkConfig(num_slots=64)).network.bounds.num_slots
        (64, 64)
        >>> TrainConfig(steps=0)
        Traceback (most recent call last):
        ValueError: steps must be a whole number of at least 1, got 0
    """

    # name=weight,option=value; repeat the flag for several tasks
    task: Annotated[tuple[str, ...], UseAppendAction] = ("copy",)
    seed: int = 0  # of every random draw; the same seed gives the same run
    steps: int = 20_000  # gradient steps at most, or a strategy's
    stop_when_solved: bool = True  # stop once every task is solved at full difficulty, twice in a row
    batch_size: int = 16  # fresh episodes of each task in a gradient step
    optimiser: Optimiser = "adam"  # those that begin with ae_ move their own learning rate
    learning_rate: float = 3e-3  # the greatest; where the laws start
    schedule: Schedule = "constant"  # of the learning rate after its warm-up; not for ae_
    warmup_steps: int = 0  # not for ae_: steps in which the learning rate grows to its full size
    final_learning_rate: float = 0.1  # share of the rate that a cosine leaves at the last step
    clip_norm: float = 1.0  # global norm that gradients are clipped to
    steps_per_chunk: int = 100  # gradient steps before the host looks: scores on fresh episodes, and a row
    score_episodes: int = 256  # fresh episodes of each task that the network is scored on at each look
    checkpoint_every: int = 10  # chunks between checkpoints
    ponder_cost: float = 0.001  # what a step of pondering adds to the loss, with ponder_steps above 1
    rematerialise: bool = False  # recompute activations in the backward pass; for large memories
    precision: Precision = "float32"  # of the factors in matrix products; sums and addressing are always float32
    native: NativeSetting = "auto"  # the C++ kernel for CPUs; auto: where it can be used; on: an error where it cannot
    network: Annotated[NetworkConfig, arg(name="")] = field(default_factory=NetworkConfig)
    curriculum: CurriculumConfig = field(default_factory=lambda: CurriculumConfig(start=0.2))
    strategy: Annotated[StrategyConfig, arg(name="")] = field(default_factory=StrategyConfig)

    def __post_init__(self) -> None:
        require_types(self)
        require(len(self.task) > 0, "task", "at least one task", self.task)
        for name in ("steps", "batch_size", "steps_per_chunk", "score_episodes", "checkpoint_every"):
            require_count(name, getattr(self, name), 1)
        require_count("warmup_steps", self.warmup_steps, 0)
        require_seed("seed", self.seed)
        for name in ("learning_rate", "clip_norm"):
            require_positive(name, getattr(self, name))
        require_not_negative("ponder_cost", self.ponder_cost)
        require_share("final_learning_rate", self.final_learning_rate)
        choices = {"optimiser": Optimiser, "schedule": Schedule, "precision": Precision, "native": NativeSetting}
        for name, kinds in choices.items():
            require_choice(name, getattr(self, name), typing.get_args(kinds))
        if OPTIMISERS[self.optimiser].adaptive:
            paced = f"with optimiser {self.optimiser}, which paces itself"
        elif self.strategy.name:
            paced = f"with strategy {self.strategy.name}, which takes no gradients"
        else:
            return
        require(self.schedule == "constant", "schedule", f"constant {paced}", self.schedule)
        require(self.warmup_steps == 0, "warmup_steps", f"0 {paced}", self.warmup_steps)

    @property
    def lifetime(self) -> LifetimeConfig:
        """The settings of the gradient step, as lifetime learning has them."""
        return LifetimeConfig(
            batch_size=self.batch_size,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            clip_norm=self.clip_norm,
            ponder_cost=self.ponder_cost,
            rematerialise=self.rematerialise,
        )
