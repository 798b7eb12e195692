"""The family of networks with memory: genomes of architecture and weights, which may learn while they live."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from etm_jax.models._model import Result
from etm_jax.networks.learning._score import for_networks, held_out_scores
from jaxtyping import Array, Float, Int

from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar
from etm_jax.cells import NTM
from etm_jax.evolution._problem import Problem
from etm_jax.networks._evaluation import judge, padding_efficiency_of
from etm_jax.networks._model import learn_all
from etm_jax.networks.genome._architecture import GENES, describe
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._compact import compact
from etm_jax.networks.genome._cost import efficiency, num_parameters
from etm_jax.networks.genome._diversity import diversity
from etm_jax.networks.genome._export import save_network
from etm_jax.networks.genome._genome import Genome, random_genome
from etm_jax.networks.genome._learning import LEARNING_GENES
from etm_jax.networks.genome._unit_cube import to_unit_cube
from etm_jax.networks.variation._offspring import offspring
from etm_jax.networks.variation._rates import VariationRates


@dataclass(frozen=True)
class Networks:
    """Networks of one search space, with so many channels in and out."""

    born_in_turn = True

    bounds: Bounds
    input_size: int
    output_size: int

    def random(self, key: Key) -> Genome:
        """Genes from the bounds, weights by fan-in. The key is consumed."""
        return random_genome(key, self.bounds, self.input_size, self.output_size)

    def offspring(
        self,
        key: Key,
        first: Genome,
        second: Genome,
        mates: BoolScalar,
        rates: VariationRates,
        gene_rate: Scalar | float,
    ) -> Genome:
        """Crossover, growth that keeps the function, weight noise. The key is consumed."""
        return offspring(key, first, second, mates, self.bounds, rates, gene_rate)

    def diversity(self, genomes: Genome) -> Scalar:
        """Of the architectures."""
        return diversity(genomes.architecture, self.bounds)

    def efficiency(self, genomes: Genome) -> Float[Array, " population"]:
        """1 minus the share of the dearest architecture's multiply-adds."""
        return efficiency(genomes.architecture, self.bounds, self.input_size, self.output_size)

    def costs(self, genomes: Genome) -> dict[str, Float[Array, " population"]]:
        """Multiply-adds as in `efficiency`, and weights: the logarithm's share of that of the padded number."""
        padded = sum(leaf[0].size for leaf in jax.tree.leaves(genomes.params))
        weights = jax.vmap(lambda genome: num_parameters(genome, self.bounds))(genomes)
        return {
            "multiply_adds": 1 - self.efficiency(genomes),
            "parameters": jnp.log(weights) / math.log(padded),
        }

    def traits(self, genomes: Genome) -> dict[str, Float[Array, " population"]]:
        """The costs, and every gene as a coordinate of the unit cube."""
        positions = jax.vmap(lambda one: to_unit_cube(one, self.bounds))(genomes.architecture)
        return {name: positions[:, index] for index, name in enumerate(GENES)} | self.costs(genomes)

    def learn(
        self,
        problem: Problem,
        key: Key,
        genomes: Genome,
        difficulty: Float[Array, " task"],
        generation: IntScalar,
        steps: Int[Array, " population"] | None,
    ) -> Genome:
        """Gradient steps on fresh episodes. The key is consumed."""
        return learn_all(problem, jax.random.split(key)[0], genomes, difficulty, generation, steps)

    def judge(
        self, problem: Problem, key: Key, genomes: Genome, champion: Genome, difficulty: Float[Array, " task"]
    ) -> tuple[Result, Float[Array, " population"], Scalar]:
        """Fresh episodes, the same for everybody. The key is consumed."""
        return judge(problem, jax.random.split(key)[1], genomes, champion, difficulty)

    def padding_efficiency(self, problem: Problem, genomes: Genome) -> Scalar:
        """Useful over executed multiply-adds."""
        return padding_efficiency_of(problem, genomes.architecture)

    def export(self, champion: Genome) -> NTM:
        """The compact network."""
        return compact(champion, self.bounds)

    def save(self, model: NTM, folder: Path) -> None:
        """Architecture as JSON, weights as arrays."""
        save_network(model, folder)

    def report(self, problem: Problem, champion: Genome) -> dict[str, Any]:
        """Genes, weights, and scores on fresh episodes."""
        return {
            "architecture": describe(champion.architecture),
            "num_parameters": int(num_parameters(champion, self.bounds)),
            "held_out": held_out_scores(champion, problem.config.seed, self.bounds, for_networks(problem.suite)),
        }

    def genes(self, genomes: Genome) -> dict[str, Any]:
        """The architecture."""
        return {name: getattr(genomes.architecture, name) for name in GENES}

    def learning(self, genomes: Genome) -> dict[str, Any]:
        """Factors on the settings of lifetime learning."""
        return {name: getattr(genomes.learning, name) for name in LEARNING_GENES}
