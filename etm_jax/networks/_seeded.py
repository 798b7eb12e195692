"""Networks whose genomes are seeds: no weights are stored, they are drawn again when they are needed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from etm_jax._require import require
from etm_jax._typing import BoolScalar, IntScalar, Key, Mask, Params, Scalar, pytree
from etm_jax.cells import MemoryNetwork
from etm_jax.cells._weights import draw_like
from etm_jax.environment import AnySuite
from etm_jax.models._context import Context
from etm_jax.models._model import Evaluation, Inheritance
from etm_jax.networks._config import NetworksConfig
from etm_jax.networks._model import Networks
from etm_jax.networks.genome._genes import Architecture, Genome
from etm_jax.networks.genome._genome import mask_of
from etm_jax.parallel._devices import with_champion

HALF_OF_SIGNIFICAND = 11  # bits after the leading one: a product of two such numbers is exact in float32


@pytree
class SeededGenome:
    """A network as the seeds that it grew from, or a population with a leading axis on every array.

    Attributes:
        seeds: the first draws a whole genome, each later one the noise of a mutation; beyond `length` without meaning.
        sigmas: standard deviation of each mutation's noise; the first means nothing.
        length: seeds in use.
    """

    seeds: UInt32[Array, "*population seed"]
    sigmas: Float[Array, "*population seed"]
    length: Int[Array, "*population"]


def seeded_noise(seed: UInt32[Array, ""], exists: Mask) -> Params:
    """Standard normal noise shaped like weights, 0 where no weight exists.

    Rounded to 12 significant bits, as are the sigmas, so that their product is exact: an individual has the same
    weights in every program, whether its compiler fuses product and sum or not.
    """
    draws = draw_like(exists, lambda size: jax.random.normal(jax.random.key(seed), (size,)))
    return jax.tree.map(lambda draw, exists: jnp.where(exists, _rounded(draw), 0), draws, exists)


def _rounded(numbers: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.lax.reduce_precision(numbers, exponent_bits=8, mantissa_bits=HALF_OF_SIGNIFICAND)


@dataclass(frozen=True)
class SeededNetworks:
    """Networks stored as seeds (Such et al. 2017, arXiv 1712.06567): `theta_n = theta_(n-1) + sigma_n noise(seed_n)`.

    The first seed draws architecture and weights; a child has its parent's seeds and one more, and nothing but weights
    ever mutates. A population, and so a checkpoint, takes 8 bytes a mutation whatever the size of the networks. The
    price is paid in evaluation, which draws the noise of every mutation again, batch by batch.

    Args:
        networks: the search space and the suite. A child of a parent that has `seed_capacity` seeds is a copy.

    Example:
        >>> import jax
        >>> import etm_tasks
        >>> from etm_jax.networks import Bounds, LifetimeConfig, Networks, NetworksConfig, SeededNetworks, apply
        >>> from etm_jax.task import TaskSuite
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> config = NetworksConfig(bounds, lifetime=LifetimeConfig(inheritance="darwinian"), seed_capacity=10)
        >>> networks = Networks.of(config, TaskSuite((etm_tasks.make("copy", bits=2),), (1.0,)))
        >>> model = SeededNetworks(networks)
        >>> seeded = model.random(jax.random.key(0))
        >>> sum(leaf.nbytes for leaf in jax.tree.leaves(seeded))
        84
        >>> apply(model.decode(seeded), jax.numpy.ones((7, 3)), bounds).shape
        (7, 2)
    """

    networks: Networks

    large_genomes = False
    rebucket_every = 0

    @property
    def inheritance(self) -> Inheritance:
        """Nothing is learned."""
        return "darwinian"

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Those of the networks."""
        return self.networks.behaviours

    @property
    def computed_by(self) -> str:
        """As the networks say."""
        return self.networks.computed_by

    @property
    def xla_computes(self) -> bool:
        """As of the networks."""
        return self.networks.xla_computes

    @property
    def capacity(self) -> int:
        """Most seeds of a genome."""
        return self.networks.config.seed_capacity

    def founder(self, genome: SeededGenome) -> Genome:
        """The genome before its first mutation."""
        return self.networks.random(jax.random.key(genome.seeds[0]))

    def decode(self, genome: SeededGenome) -> Genome:
        """One individual with its weights; its cost grows with the number of its mutations."""
        founder = self.founder(genome)
        exists = mask_of(founder, self.networks.config.bounds)

        def mutate(index: IntScalar, params: Params) -> Params:
            noise = seeded_noise(genome.seeds[index], exists)
            sigma = genome.sigmas[index]
            return jax.tree.map(lambda array, noise: array + sigma.astype(array.dtype) * noise, params, noise)

        return replace(founder, params=jax.lax.fori_loop(1, genome.length, mutate, founder.params))

    def architectures(self, genomes: SeededGenome) -> Architecture:
        """Of a population; no weights are drawn."""
        return jax.vmap(lambda genome: self.founder(genome).architecture)(genomes)

    def random(self, key: Key) -> SeededGenome:
        """One seed. The key is consumed."""
        seeds = jnp.zeros(self.capacity, jnp.uint32).at[0].set(jax.random.bits(key, dtype=jnp.uint32))
        return SeededGenome(seeds, jnp.zeros(self.capacity, jnp.float32), jnp.array(1, jnp.int32))

    def offspring(
        self, key: Key, first: SeededGenome, second: SeededGenome, mates: BoolScalar, diversity: Scalar
    ) -> SeededGenome:
        """The first parent and, with probability `noise_rate`, one more seed at `noise_scale`. The key is consumed."""
        del second, mates, diversity
        rates = self.networks.config.variation
        key_whether, key_seed = jax.random.split(key)
        mutates = jax.random.bernoulli(key_whether, rates.noise_rate) & (first.length < self.capacity)
        here = mutates & (jnp.arange(self.capacity) == first.length)
        sigma = _rounded(jnp.asarray(rates.noise_scale, jnp.float32))
        return SeededGenome(
            seeds=jnp.where(here, jax.random.bits(key_seed, dtype=jnp.uint32), first.seeds),
            sigmas=jnp.where(here, sigma, first.sigmas),
            length=first.length + mutates.astype(jnp.int32),
        )

    def diversity(self, genomes: SeededGenome) -> Scalar:
        """Of the founders' architectures."""
        return self.networks.diversity(self._without_weights(genomes))

    def efficiency(self, genomes: SeededGenome) -> Float[Array, " population"]:
        """1 minus the share of the dearest architecture's multiply-adds."""
        return self.networks.efficiency(self._without_weights(genomes))

    def costs(self, genomes: SeededGenome) -> dict[str, Float[Array, " population"]]:
        """Those of the founders, which mutation does not change."""
        return self.networks.costs(jax.vmap(self.founder)(genomes))

    def traits(self, genomes: SeededGenome) -> dict[str, Float[Array, " population"]]:
        """Those of the founders."""
        return self.networks.traits(jax.vmap(self.founder)(genomes))

    def evaluate(
        self,
        context: Context,
        key: Key,
        genomes: SeededGenome,
        champion: SeededGenome,
        difficulty: Float[Array, " task"],
    ) -> Evaluation:
        """Fresh episodes, the same for every individual. The key is consumed."""
        everyone = with_champion(genomes, champion, context.mesh)
        architectures = self.architectures(everyone)
        return self.networks.evaluate_decoded(context, key, everyone, architectures, difficulty, self.decode)

    def padding_efficiency(self, context: Context, genomes: SeededGenome) -> Scalar:
        """Useful over executed multiply-adds."""
        return self.networks.padding_efficiency_of(context, self.architectures(genomes))

    def export(self, genome: SeededGenome) -> MemoryNetwork:
        """The compact network."""
        return self.networks.export(self._decoded(genome))

    def save(self, exported: MemoryNetwork, folder: Path) -> None:
        """Architecture as JSON, weights as arrays."""
        self.networks.save(exported, folder)

    def report(self, genome: SeededGenome, seed: int) -> dict[str, Any]:
        """Genes, weights, scores on fresh episodes, and how many mutations it took."""
        return self.networks.report(self._decoded(genome), seed) | {"mutations": int(genome.length) - 1}

    def genes(self, genomes: SeededGenome) -> dict[str, Any]:
        """The architecture, and the number of mutations."""
        return self.networks.genes(self._without_weights(genomes)) | {"mutations": genomes.length - 1}

    def _decoded(self, genome: SeededGenome) -> Genome:
        return jax.jit(self.decode)(genome)

    def _without_weights(self, genomes: SeededGenome) -> Genome:
        return Genome(architecture=self.architectures(genomes), params={})


def seeded_networks(networks: Networks, max_generations: int, crossover_rate: float) -> SeededNetworks:
    """The model for these networks and a run of so many generations.

    Raises:
        ValueError: the settings ask for more than mutation of weights, for size buckets, or for more generations than
            there is room for.
    """
    config = networks.config
    for_seeds = 'with population_storage "seeds"'
    flag = "; set --{} {}, or store genomes"
    rule = f"darwinian {for_seeds}, since what is learnt has no seed{flag.format('lifetime.inheritance', 'darwinian')}"
    require(config.lifetime.inheritance == "darwinian", "lifetime.inheritance", rule, config.lifetime.inheritance)
    for name, rate in (("crossover_rate", crossover_rate), ("variation.gene_rate", config.variation.gene_rate)):
        rule = f"0 {for_seeds}, where only weights mutate{flag.format(name.replace('_', '-'), 0)}"
        require(rate == 0, name, rule, rate)
    rule = f"1 {for_seeds}{flag.format('size-buckets', 1)}"
    require(config.size_buckets == 1, "size_buckets", rule, config.size_buckets)
    rule = f"at least max_generations ({max_generations}) {for_seeds}, one seed a generation"
    require(config.seed_capacity >= max_generations, "seed_capacity", rule, config.seed_capacity)
    return SeededNetworks(networks)


def make_networks(config: NetworksConfig, suite: AnySuite, engine: Any) -> Networks | SeededNetworks:
    """The model of these settings, as genomes or as seeds.

    Raises:
        ValueError: as `Networks.of` and `seeded_networks`.
    """
    networks = Networks.of(config, suite)
    if config.population_storage == "genomes":
        return networks
    return seeded_networks(networks, engine.max_generations, engine.crossover_rate)
