"""Settings of the model networks: the search space, its variation, learning, and how weights are kept."""

import typing
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from etm_jax._require import require, require_choice, require_count, require_not_negative, require_share, require_types
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.learning._config import LifetimeConfig, Precision
from etm_jax.networks.native import NativeSetting
from etm_jax.networks.variation._mutation import Crossover, Founders, VariationRates

Storage = Literal["genomes", "seeds"]


@dataclass(frozen=True)
class NetworksConfig:
    """Networks with memory, which evolve their architecture and learn by gradient.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.
    """

    kind: ClassVar[str] = "networks"
    bounds: Bounds = field(default_factory=Bounds)
    variation: VariationRates = field(default_factory=VariationRates)
    lifetime: LifetimeConfig = field(default_factory=LifetimeConfig)
    precision: Precision = "float32"  # of the factors in matrix products; sums and addressing are always float32
    native: NativeSetting = "auto"  # the C++ kernel for CPUs; auto: where it can be used; on: an error where it cannot
    size_buckets: int = 1  # without the kernel: padded shapes, at most; each costs compile time and saves padding
    rebucket_every: int = 20  # generations after which size buckets are chosen again, to fit the population then
    population_storage: Storage = "genomes"  # seeds: weights are drawn again when needed; mutation only, no learning
    seed_capacity: int = 1000  # with seeds: most mutations of an individual, so the longest run

    def __post_init__(self) -> None:
        require_types(self)
        require_choice("precision", self.precision, ("float32", "bfloat16"))
        require_choice("native", self.native, typing.get_args(NativeSetting))
        require_choice("population_storage", self.population_storage, ("genomes", "seeds"))
        for name in ("size_buckets", "rebucket_every", "seed_capacity"):
            require_count(name, getattr(self, name), 1)
        rule = "1 with native on, where nothing is padded; leave it out, or set native to auto"
        require(self.native != "on" or self.size_buckets == 1, "size_buckets", rule, self.size_buckets)
        rates = self.variation
        require(type(rates.align) is bool, "variation.align", "True or False", rates.align)
        require_choice("variation.founders", rates.founders, typing.get_args(Founders))
        require_choice("variation.crossover", rates.crossover, typing.get_args(Crossover))
        for name in ("gene_rate", "change_rate", "local_share", "noise_rate"):
            require_share(f"variation.{name}", getattr(rates, name))
        for name in ("controller_sigma", "noise_scale", "learning_sigma", "diversity_floor"):
            require_not_negative(f"variation.{name}", getattr(rates, name))
