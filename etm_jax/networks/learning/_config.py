"""Settings of learning: how an individual learns before it is scored."""

import typing
from dataclasses import dataclass
from typing import Literal

from etm_jax._require import (
    require,
    require_choice,
    require_count,
    require_not_negative,
    require_positive,
    require_share,
    require_types,
)
from etm_jax.models._model import Inheritance

Budget = Literal["equal", "swarm"]
Precision = Literal["float32", "bfloat16"]
Optimiser = Literal["adam", "adamw", "rmsprop", "sgd", "ae_adam", "ae_adamw", "ae_sgdm", "ae_schedule_free_adamw"]


@dataclass(frozen=True)
class LifetimeConfig:
    """How an individual learns before it is scored."""

    inheritance: Inheritance = "lamarckian"  # darwinian: no learning; baldwinian: learn, score, discard; or keep
    steps: int = 100  # gradient steps of a lifetime
    budget: Budget = "equal"  # swarm: the same steps in all, but more where the inherited fitness is higher
    resting: int = 0  # survivors of selection, the fittest, that do not learn on, which might make them worse
    births: int = 1  # a power of 2: networks born for each place before generation 0; the worse half stops, and again
    batch_size: int = 16  # episodes of each task in a gradient step
    optimiser: Optimiser = "ae_schedule_free_adamw"  # those that begin with ae_ move their own learning rate
    learning_rate: float = 3e-3  # where the first lifetime starts; times the individual's learning gene
    warmup_steps: int = 20  # not for ae_: steps at the start of a lifetime in which updates grow to full size
    final_learning_rate: float = 0.1  # not for ae_: share of the rate left at the end; it falls after 60 % of a run
    clip_norm: float = 1.0  # global norm that gradients are clipped to
    ponder_cost: float = 0.001  # what a step of pondering adds to the loss, where networks may ponder
    rematerialise: bool = False  # recompute activations in the backward pass; for large memories

    def __post_init__(self) -> None:
        require_types(self, "lifetime.")
        require_choice("lifetime.inheritance", self.inheritance, typing.get_args(Inheritance))
        require_choice("lifetime.optimiser", self.optimiser, typing.get_args(Optimiser))
        require_choice("lifetime.budget", self.budget, typing.get_args(Budget))
        require_count("lifetime.steps", self.steps, 1)
        require_count("lifetime.resting", self.resting, 0)
        require_count("lifetime.births", self.births, 1)
        require(self.births.bit_count() == 1, "lifetime.births", "a power of 2, since half of them stop", self.births)
        rule = f"at most lifetime.steps ({self.steps}), which they share"
        require(self.births <= self.steps, "lifetime.births", rule, self.births)
        rule = "1 where nothing is learned (darwinian)"
        require(self.births == 1 or self.inheritance != "darwinian", "lifetime.births", rule, self.births)
        require_count("lifetime.batch_size", self.batch_size, 1)
        require_count("lifetime.warmup_steps", self.warmup_steps, 0)
        require_positive("lifetime.learning_rate", self.learning_rate)
        require_share("lifetime.final_learning_rate", self.final_learning_rate)
        require_positive("lifetime.clip_norm", self.clip_norm)
        require_not_negative("lifetime.ponder_cost", self.ponder_cost)
