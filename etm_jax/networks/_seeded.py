"""The family of networks whose genomes are seeds: no weights are stored, they are drawn again when they are needed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from etm_jax.models._model import LearnsNothing, Result
from jaxtyping import Array, Float, Int, UInt32

from etm_jax._require import require
from etm_jax._typing import BoolScalar, IntScalar, Key, Mask, Params, Scalar, pytree
from etm_jax.cells import NTM, draw_like
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution._problem import Problem
from etm_jax.networks._evaluation import judge, padding_efficiency_of
from etm_jax.networks._model import Networks
from etm_jax.networks.genome._architecture import Architecture
from etm_jax.networks.genome._genome import Genome, mask_of
from etm_jax.networks.variation._rates import VariationRates

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
class SeededNetworks(LearnsNothing):
    """Networks stored as seeds (Such et al. 2017, arXiv 1712.06567): `theta_n = theta_(n-1) + sigma_n noise(seed_n)`.

    The first seed draws architecture and weights; a child has its parent's seeds and one more, and nothing but weights
    ever mutates. A population, and so a checkpoint, takes 8 bytes a mutation whatever the size of the networks. The
    price is paid in evaluation, which draws the noise of every mutation again, lane by lane.

    Args:
        networks: the search space, with channels in and out.
        capacity: most seeds of a genome; a child of a parent that has so many is a copy.

    Example:
        >>> import jax
        >>> from etm_jax.networks._model import Networks
        >>> from etm_jax.networks._seeded import SeededNetworks
        >>> from etm_jax.networks import Bounds, apply
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> family = SeededNetworks(Networks(bounds, input_size=3, output_size=2), capacity=10)
        >>> seeded = family.random(jax.random.key(0))
        >>> sum(leaf.nbytes for leaf in jax.tree.leaves(seeded))
        84
        >>> apply(family.decode(seeded), jax.numpy.ones((7, 3)), bounds).shape
        (7, 2)
    """

    born_in_turn = False

    networks: Networks
    capacity: int

    def founder(self, genome: SeededGenome) -> Genome:
        """The genome before its first mutation."""
        return self.networks.random(jax.random.key(genome.seeds[0]))

    def decode(self, genome: SeededGenome) -> Genome:
        """One individual with its weights; its cost grows with the number of its mutations."""
        founder = self.founder(genome)
        exists = mask_of(founder, self.networks.bounds)

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
        self,
        key: Key,
        first: SeededGenome,
        second: SeededGenome,
        mates: BoolScalar,
        rates: VariationRates,
        gene_rate: Scalar | float,
    ) -> SeededGenome:
        """The first parent and, with probability `noise_rate`, one more seed at `noise_scale`. The key is consumed."""
        del second, mates, gene_rate
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

    def judge(
        self,
        problem: Problem,
        key: Key,
        genomes: SeededGenome,
        champion: SeededGenome,
        difficulty: Float[Array, " task"],
    ) -> tuple[Result, Float[Array, " population"], Scalar]:
        """Fresh episodes, the same for everybody. The key is consumed."""
        return judge(problem, key, genomes, champion, difficulty, self.architectures, self.decode)

    def padding_efficiency(self, problem: Problem, genomes: SeededGenome) -> Scalar:
        """Useful over executed multiply-adds."""
        return padding_efficiency_of(problem, self.architectures(genomes))

    def export(self, champion: SeededGenome) -> NTM:
        """The compact network."""
        return self.networks.export(self._decoded(champion))

    def save(self, model: NTM, folder: Path) -> None:
        """Architecture as JSON, weights as arrays."""
        self.networks.save(model, folder)

    def report(self, problem: Problem, champion: SeededGenome) -> dict[str, Any]:
        """Genes, weights, scores on fresh episodes, and how many mutations it took."""
        return self.networks.report(problem, self._decoded(champion)) | {"mutations": int(champion.length) - 1}

    def genes(self, genomes: SeededGenome) -> dict[str, Any]:
        """The architecture, and the number of mutations."""
        return self.networks.genes(self._without_weights(genomes)) | {"mutations": genomes.length - 1}

    def _decoded(self, genome: SeededGenome) -> Genome:
        return jax.jit(self.decode)(genome)

    def _without_weights(self, genomes: SeededGenome) -> Genome:
        return Genome(architecture=self.architectures(genomes), params={})


def seeded_networks(config: EvolutionaryTuringConfig, networks: Networks) -> SeededNetworks:
    """The family for these settings.

    Raises:
        ValueError: they ask for more than mutation of weights, for size buckets, or for more generations than there is
            room for.
    """
    for_seeds = 'with population_storage "seeds"'
    flag = "; set --{} {}, or store genomes"
    inheritance, rates = config.lifetime.inheritance, config.variation
    rule = f"darwinian {for_seeds}, since what is learnt has no seed{flag.format('lifetime.inheritance', 'darwinian')}"
    require(inheritance == "darwinian", "lifetime.inheritance", rule, inheritance)
    for name in ("crossover_rate", "gene_rate"):
        rule = f"0 {for_seeds}, where only weights mutate{flag.format('variation.' + name.replace('_', '-'), 0)}"
        require(getattr(rates, name) == 0, f"variation.{name}", rule, getattr(rates, name))
    require(config.size_buckets == 1, "size_buckets", f"1 {for_seeds}{flag.format('buckets', 1)}", config.size_buckets)
    generations = config.max_generations
    rule = f"at least max_generations ({generations}) {for_seeds}, one seed a generation"
    require(config.seed_capacity >= generations, "seed_capacity", rule, config.seed_capacity)
    return SeededNetworks(networks, config.seed_capacity)
