"""The model networks: genomes of architecture and weights, which may learn before they are scored."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar
from etm_jax.cells import MemoryNetwork
from etm_jax.environment import AnySuite, Suite
from etm_jax.models._context import Context
from etm_jax.models._model import Evaluation, Inheritance, Result, member
from etm_jax.models._scores import asked_of, key_at, validation_score, with_longer
from etm_jax.networks._batches import dealt, groups, over_population
from etm_jax.networks._config import NetworksConfig
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._buckets import BUCKET_GENES, bucket_costs, choose_buckets, crop, fitting, uncrop
from etm_jax.networks.genome._compact import compact
from etm_jax.networks.genome._export import save_network
from etm_jax.networks.genome._genes import GENES, LEARNING_GENES, Architecture, Genome, describe, multiply_adds
from etm_jax.networks.genome._genome import num_parameters, random_genome, random_genomes
from etm_jax.networks.learning._gradient import learn, lifetime_steps
from etm_jax.networks.learning._lifetime import Lifetime, for_networks, learnable
from etm_jax.networks.learning._optimisers import learning_rate_scale
from etm_jax.networks.learning._score import MEMORY_USE, SLOTS_USED, held_out_scores, score
from etm_jax.networks.native import Backend, choose_backend, serves
from etm_jax.networks.variation._mutation import boosted_gene_rate
from etm_jax.networks.variation._offspring import offspring
from etm_jax.parallel._devices import any_process, default_batch_size, with_champion

ENOUGH = 0.85  # padding efficiency beyond which another bucket is not worth its compile time


@dataclass(frozen=True)
class Networks:
    """Networks of one search space on one suite.

    Attributes:
        config: their settings.
        suite: the tasks or environments.
        backend: what computes them on tasks, at their live sizes or at padded ones.
        buckets: the padded shapes that they compute in, smallest first; the last one holds every genome.
        optimiser: the user's own optax chain, in place of the one of the settings; it is initialised in every lifetime.

    Example:
        >>> import etm_tasks, jax
        >>> from etm_jax.networks import Bounds, Networks, NetworksConfig
        >>> from etm_jax.task import TaskSuite
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> networks = Networks.of(NetworksConfig(bounds), TaskSuite((etm_tasks.make("copy", bits=2),), (1.0,)))
        >>> genome = networks.random(jax.random.key(0))
        >>> 0 <= float(networks.efficiency(jax.tree.map(lambda leaf: leaf[None], genome))[0]) <= 1
        True
    """

    config: NetworksConfig
    suite: Suite
    backend: Backend
    buckets: tuple[Bounds, ...]
    optimiser: optax.GradientTransformation | None = None

    large_genomes = True

    @classmethod
    def of(
        cls, config: NetworksConfig, suite: AnySuite, optimiser: optax.GradientTransformation | None = None
    ) -> "Networks":
        """The model of these settings, at full padding.

        Raises:
            ValueError: networks do not evolve on such a suite, or are to learn where there is no gradient, or `native`
                is on where the kernel cannot be used.
        """
        played = for_networks(suite) if config.lifetime.inheritance == "darwinian" else learnable(suite)
        backend = choose_backend(
            config.native,
            config.bounds.spec,
            jnp.result_type(float),
            dtype_of(config),
            step_by_step=played.kind == "environments",
            any_process=any_process,
        )
        return cls(config, played, backend, (config.bounds,), optimiser)

    @property
    def inheritance(self) -> Inheritance:
        """As the settings say."""
        return self.config.lifetime.inheritance

    @property
    def behaviours(self) -> tuple[str, ...]:
        """How a network uses its memory in tasks, where it ends up in environments that have places."""
        return MEMORY_USE if self.suite.kind == "tasks" else self.suite.behaviours

    @property
    def rebucket_every(self) -> int:
        """As the settings say; 0 with one bucket, and at live sizes."""
        return self.config.rebucket_every if self.config.size_buckets > 1 and not self.backend.native else 0

    @property
    def computed_by(self) -> str:
        """What computes networks, in words, and what the settings ask for in vain."""
        unused = "; size_buckets is not used" if self.backend.native and self.config.size_buckets > 1 else ""
        return self.backend.described(" at live sizes", " at padded sizes") + unused

    @property
    def xla_computes(self) -> bool:
        """Unless the native kernel knows every kind of network."""
        return not self.backend.native or bool(self.backend.others)

    @property
    def training(self) -> tuple[int, int]:
        """Gradient steps of a lifetime, and episodes of each task in one."""
        return self.config.lifetime.steps, self.config.lifetime.batch_size

    @property
    def births(self) -> int:
        """Random networks for each place of the first population, by successive halving."""
        return self.config.lifetime.births

    @property
    def channels(self) -> tuple[int, int]:
        """Channels in and out."""
        return self.suite.input_size, self.suite.output_size

    @property
    def dtype(self) -> DTypeLike | None:
        """Precision of the factors of matrix products; None for the weights' own."""
        return dtype_of(self.config)

    def random(self, key: Key) -> Genome:
        """Genes from the bounds, weights by fan-in. The key is consumed."""
        small = self.config.variation.founders == "small"
        return random_genome(key, self.config.bounds, *self.channels, small=small)

    def founders(self, key: Key, count: int) -> Genome:
        """A population as of `random`, its kinds in equal shares. The key is consumed."""
        small = self.config.variation.founders == "small"
        return random_genomes(key, count, self.config.bounds, *self.channels, small=small)

    def offspring(self, key: Key, first: Genome, second: Genome, mates: BoolScalar, diversity: Scalar) -> Genome:
        """Crossover, growth that keeps the function, weight noise. The key is consumed."""
        config = self.config
        gene_rate = boosted_gene_rate(config.variation, diversity)
        return offspring(key, first, second, mates, config.bounds, config.variation, gene_rate)

    def diversity(self, genomes: Genome) -> Scalar:
        """Of the architectures."""
        return self.config.bounds.diversity(genomes.architecture)

    def efficiency(self, genomes: Genome) -> Float[Array, " population"]:
        """1 minus the share of the costliest architecture's multiply-adds."""
        return self.config.bounds.efficiency(genomes.architecture, *self.channels)

    def costs(self, genomes: Genome) -> dict[str, Float[Array, " population"]]:
        """Multiply-adds as in `efficiency`, and weights: the logarithm's share of that of the padded number."""
        padded = sum(leaf[0].size for leaf in jax.tree.leaves(genomes.params))
        weights = jax.vmap(lambda genome: num_parameters(genome, self.config.bounds))(genomes)
        return {
            "multiply_adds": 1 - self.efficiency(genomes),
            "parameters": jnp.log(weights) / math.log(padded),
        }

    def traits(self, genomes: Genome) -> dict[str, Float[Array, " population"]]:
        """The costs, and every gene as a coordinate of the unit cube."""
        positions = jax.vmap(self.config.bounds.to_unit_cube)(genomes.architecture)
        return {name: positions[:, index] for index, name in enumerate(GENES)} | self.costs(genomes)

    def budgets(
        self,
        fitness: Float[Array, " population"],
        known: Bool[Array, " population"],
        selected: Bool[Array, " population"],
    ) -> Int[Array, " population"] | None:
        """None for equal ones; more where the inherited fitness is higher, under the swarm budget; 0 for who rests."""
        config = self.config.lifetime
        steps = lifetime_steps(config.steps, fitness, known) if config.budget == "swarm" else None
        if config.resting == 0:
            return steps
        place = jnp.argsort(jnp.argsort(jnp.where(selected, -fitness, jnp.inf)))
        rests = selected & (place < config.resting)
        return jnp.where(rests, 0, config.steps if steps is None else steps)

    def learn(
        self,
        context: Context,
        key: Key,
        genomes: Genome,
        difficulty: Float[Array, " task"],
        generation: IntScalar,
        steps: Int[Array, " population"] | None,
    ) -> Genome:
        """Gradient steps, each individual on fresh episodes of its own. The key is consumed.

        `steps` are each individual's; None for the settings' own number, which is static.
        """
        config = self.config

        def learn_one(bucket: Bounds, own: tuple[Any, ...], shared: tuple[Array, Scalar]) -> Genome:
            key, genome, *mine = own
            num_steps = mine[0] if mine else config.lifetime.steps
            small = crop(genome, bucket)
            return uncrop(learn(self.lifetime(bucket), key, small, *shared, num_steps), config.bounds)

        keys = jax.random.split(jax.random.split(key)[0], context.population_size)
        own = (keys, genomes, *([] if steps is None else [steps]))
        shared = (difficulty, learning_rate_scale(config.lifetime, context.max_generations, generation))
        return self._spread(context, learn_one, own, genomes.architecture, shared, steps)

    def lifetime(self, bucket: Bounds) -> Lifetime:
        """How the networks of a bucket learn and are scored."""
        # A user's own chain may look at shapes, so it gets the weights as they are.
        return Lifetime(
            bucket,
            self.suite,
            self.config.lifetime,
            self.dtype,
            self.optimiser,
            flat=self.optimiser is None,
            native=self.backend.native,
        )

    def evaluate(
        self, context: Context, key: Key, genomes: Genome, champion: Genome, difficulty: Float[Array, " task"]
    ) -> Evaluation:
        """Fresh episodes, the same for every individual. The key is consumed."""
        everyone = with_champion(genomes, champion, context.mesh)
        key_score = jax.random.split(key)[1]
        return self.evaluate_decoded(context, key_score, everyone, everyone.architecture, difficulty, lambda one: one)

    def evaluate_decoded(
        self,
        context: Context,
        key: Key,
        everyone: Any,
        architectures: Architecture,
        difficulty: Float[Array, " task"],
        decode: Callable[[Any], Genome],
    ) -> Evaluation:
        """Score networks and, behind them, the champion.

        Args:
            context: of the run.
            key: consumed.
            everyone: genomes, or what `decode` makes a genome of; it runs within a batch, so that no more networks are
                in memory than run at once.
            architectures: theirs.
            difficulty: of each task, 0 to 1.
            decode: from one entry of `everyone` to a network.
        """
        asked, scored_at = asked_of(self.suite, context), (1, *context.longer)

        def examine(bucket: Bounds, genome: Any, shared: tuple[Key, Array]) -> tuple[Result, Scalar]:
            key, difficulty = shared
            small = crop(decode(genome), bucket)
            lifetime = self.lifetime(bucket)
            results = {
                length: score(
                    replace(lifetime, suite=suite),
                    key_at(key, length),
                    small,
                    difficulty,
                    episodes,
                    behaves=context.behaves and length == 1,  # as it was evolved on
                    by_episode=context.by_episode and length in scored_at,
                )
                for length, (suite, episodes) in asked.items()
            }
            return with_longer(results, context.longer), validation_score(self.suite, tuple(results.values()))

        result, scores = self._spread(context, examine, everyone, architectures, (key, difficulty))
        size = context.population_size
        result = jax.tree.map(lambda array: array[:size], result)
        if result.behaviour and SLOTS_USED in result.behaviour:  # as a share, whatever bucket it was measured in
            used = result.behaviour[SLOTS_USED] / self.config.bounds.num_slots[1]
            result = replace(result, behaviour=result.behaviour | {SLOTS_USED: used})
        return Evaluation(result, scores[:size], scores[-1])

    def _spread(
        self,
        context: Context,
        function: Callable[..., Any],
        own: Any,
        architectures: Architecture,
        shared: Any,
        steps: Int[Array, " population"] | None = None,
    ) -> Any:
        """`over_population`, in the order that makes like networks neighbours and gives every device as much to do."""
        run = over_population(function, context.mesh, self._batch_size(context), self.buckets)
        alike = len(self.buckets) == 1 and not (self.backend.native and context.mesh.size > 1)
        if alike and steps is None:
            return run(own, architectures, shared)
        cost = self._cost(architectures)
        order = dealt(cost if steps is None else cost * steps.astype(cost.dtype), context.mesh.size)
        return member(run(member(own, order), member(architectures, order), shared), jnp.argsort(order))

    def _batch_size(self, context: Context) -> int:
        """Individuals in one vmap. The kernel takes one at a time, and a vmap would run all branches of a lifetime."""
        return 1 if self.backend.native else context.batch_size or default_batch_size()

    def _cost(self, architectures: Architecture) -> Float[Array, " population"]:
        """Multiply-adds of a step of each network: at its live size, or in the smallest bucket that holds it."""
        costs = bucket_costs(self.buckets, *self.channels)
        padded = costs[jnp.argmax(fitting(architectures, self.buckets), axis=-1)]
        return jnp.where(serves(architectures), self._needed(architectures), padded) if self.backend.native else padded

    def _needed(self, architectures: Architecture) -> Float[Array, " population"]:
        """Multiply-adds of a step of each network at its live size."""
        return multiply_adds(architectures, *self.channels, self.config.bounds.attention_width)

    def padding_efficiency(self, context: Context, genomes: Genome) -> Scalar:
        """Useful over executed multiply-adds of a population, in its buckets and batches."""
        return self.padding_efficiency_of(context, genomes.architecture)

    def padding_efficiency_of(self, context: Context, architectures: Architecture) -> Scalar:
        """`padding_efficiency` from the architectures alone."""
        useful = jnp.sum(self._needed(architectures))
        if self.backend.native:
            return useful / jnp.sum(self._cost(architectures))
        order = dealt(self._cost(architectures), context.mesh.size).reshape(context.mesh.size, -1)

        def executed(order: Int[Array, " individual"]) -> Scalar:
            members, buckets = groups(member(architectures, order), self._batch_size(context), self.buckets)
            return members.shape[1] * jnp.sum(bucket_costs(self.buckets, *self.channels)[buckets])

        return useful / jnp.sum(jax.vmap(executed)(order))

    @property
    def full_size(self) -> Int[Array, "bucket gene"] | tuple[()]:
        """Buckets that are all the whole search space; nothing where the settings ask for one."""
        if self.config.size_buckets == 1:
            return ()
        sizes = [getattr(self.config.bounds, gene)[1] for gene in BUCKET_GENES]
        return jnp.tile(jnp.array(sizes, jnp.int32), (self.config.size_buckets, 1))

    def in_buckets(self, sizes: Int[Array, "bucket gene"]) -> "Networks":
        """The networks in buckets of these sizes; equal ones count once."""
        distinct = dict.fromkeys(map(tuple, np.asarray(sizes).tolist()))
        return replace(
            self,
            buckets=tuple(self.config.bounds.up_to(**dict(zip(BUCKET_GENES, one, strict=True))) for one in distinct),
        )

    def architectures(self, genomes: Genome) -> Architecture:
        """The genes."""
        return genomes.architecture

    def choose_buckets(self, architectures: Architecture) -> Int[Array, "bucket gene"]:
        """Sizes in which networks like these compute with little padding."""
        most = self.config.size_buckets
        buckets = choose_buckets(architectures, self.config.bounds, *self.channels, most=most, enough=ENOUGH)
        sizes = [[getattr(bucket, gene)[1] for gene in BUCKET_GENES] for bucket in buckets]
        return jnp.array(sizes + [sizes[-1]] * (most - len(sizes)), jnp.int32)

    def export(self, genome: Genome) -> MemoryNetwork:
        """The compact network."""
        return compact(genome, self.config.bounds)

    def save(self, exported: MemoryNetwork, folder: Path) -> None:
        """Architecture as JSON, weights as arrays."""
        save_network(exported, folder)

    def report(self, genome: Genome, seed: int) -> dict[str, Any]:
        """Genes, weights, what computed them, and scores on fresh episodes."""
        examined = Lifetime(self.config.bounds, self.suite, native=self.backend.native)
        return {
            "architecture": describe(genome.architecture),
            "num_parameters": int(num_parameters(genome, self.config.bounds)),
            "computed_by": self.computed_by,
            "held_out": held_out_scores(examined, genome, seed),
        }

    def genes(self, genomes: Genome) -> dict[str, Any]:
        """The architecture."""
        return {name: getattr(genomes.architecture, name) for name in GENES}

    def learning(self, genomes: Genome) -> dict[str, Any]:
        """Factors on the settings of learning."""
        return {name: getattr(genomes.learning, name) for name in LEARNING_GENES}

    def multiply_adds(self, genomes: Genome) -> Float[Array, " population"]:
        """Of a step of each network at its live size."""
        return self._needed(genomes.architecture)


def dtype_of(config: NetworksConfig) -> DTypeLike | None:
    """Precision of the factors of matrix products; None for the weights' own."""
    return jnp.bfloat16 if config.precision == "bfloat16" else None
