"""Ask and tell: evolution of padded genomes, with the methods of evosax's population-based algorithms."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._ask_tell import best_of, check_fitness, metrics_fn, with_best
from etm_jax._require import require_count
from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar, pytree
from etm_jax.cells._weights import num_channels_of
from etm_jax.evolution._propose import founders, propose, scored
from etm_jax.evolution._state import Population, unscored
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Genome
from etm_jax.networks.genome._genome import random_genome, random_genomes
from etm_jax.networks.variation._mutation import VariationRates, boosted_gene_rate
from etm_jax.networks.variation._offspring import offspring
from etm_jax.parallel._devices import default_batch_size
from etm_jax.selection import Selector, TournamentSelection


@pytree
class EvolvingTuringMachineParams:
    """Rates of variation; plain numbers, or traced ones.

    Attributes:
        crossover_rate: probability that a child has two parents.
        immigrant_rate: probability that a random genome takes the place of a child.
        variation: of the networks.
    """

    crossover_rate: Scalar | float = 0.1
    immigrant_rate: Scalar | float = 0.0
    variation: VariationRates = field(default_factory=VariationRates)


@dataclass(frozen=True)
class _Space:
    """How genomes of one search space are drawn and varied; a `Variation`.

    Attributes:
        bounds: the search space.
        input_size: channels in.
        output_size: channels out.
        rates: of variation, which may be traced; `Networks` has plain numbers.
    """

    bounds: Bounds
    input_size: int
    output_size: int
    rates: VariationRates

    def random(self, key: Key) -> Genome:
        """A random genome. The key is consumed."""
        small = self.rates.founders == "small"
        return random_genome(key, self.bounds, self.input_size, self.output_size, small=small)

    def founders(self, key: Key, count: int) -> Genome:
        """Random genomes, their kinds in equal shares. The key is consumed."""
        small = self.rates.founders == "small"
        return random_genomes(key, count, self.bounds, self.input_size, self.output_size, small=small)

    def offspring(self, key: Key, first: Genome, second: Genome, mates: BoolScalar, diversity: Scalar) -> Genome:
        """A child. The key is consumed."""
        rates = self.rates
        return offspring(key, first, second, mates, self.bounds, rates, boosted_gene_rate(rates, diversity))

    def diversity(self, genomes: Genome) -> Scalar:
        """Of the architectures."""
        return self.bounds.diversity(genomes.architecture)


@pytree
class EvolvingTuringMachineState:
    """What the evolving Turing machine remembers from one generation to the next.

    Attributes:
        told: the population that was told last.
        asked: what was asked for since, without its genomes.
        best_solution: the best genome ever told.
        best_fitness: of that genome, minimised.
        generation_counter: generations told.
    """

    told: Population
    asked: Population
    best_solution: Genome
    best_fitness: Scalar
    generation_counter: IntScalar

    @property
    def population(self) -> Genome:
        """The genomes told last, with a leading population axis."""
        return self.told.genomes

    @property
    def fitness(self) -> Float[Array, " population"]:
        """Of these, minimised; +inf for those that failed."""
        return jnp.where(self.told.alive, -self.told.fitness, jnp.inf)


@dataclass(frozen=True)
class EvolvingTuringMachine:
    """Evolution of padded genomes, with the signatures of evosax's population-based algorithms.

    **evosax minimises**: `init` and `tell` take a fitness to be minimised and negate it here, the only place where a
    sign changes; everything else in `etm_jax` maximises fitness. NaN is a failed evaluation, and what would descend
    from it is a random genome instead. To ask again without telling gives other children of the same population.

    Args:
        population_size: individuals.
        solution: a genome of the search space, as evosax asks for; only its channels matter.
        bounds: the search space.
        selector: who survives and who becomes a parent.
        metrics_fn: replaces evosax's metrics of a generation, with evosax's signature.

    Raises:
        ValueError: there is no individual.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.evolution import EvolvingTuringMachine
        >>> from etm_jax.networks import Bounds, random_genome
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> def cost_of(genome):
        ...     return genome.architecture.num_slots.astype(float)
        >>> keys = jax.random.split(jax.random.key(0), 6)
        >>> population = jax.vmap(lambda key: random_genome(key, bounds, input_size=3, output_size=2))(keys)
        >>> machine = EvolvingTuringMachine(6, random_genome(keys[0], bounds, 3, 2), bounds)
        >>> params = machine.default_params
        >>> state = machine.init(jax.random.key(1), population, jax.vmap(cost_of)(population), params)
        >>> population, state = machine.ask(jax.random.key(2), state, params)
        >>> state, metrics = machine.tell(jax.random.key(3), population, jax.vmap(cost_of)(population), state, params)
        >>> bool(metrics["best_fitness"] == cost_of(state.best_solution))
        True
    """

    population_size: int
    solution: Genome = field(compare=False, repr=False)
    bounds: Bounds
    selector: Selector = field(default_factory=TournamentSelection)
    metrics_fn: Callable[..., dict[str, Any]] = metrics_fn
    input_size: int = field(init=False)
    output_size: int = field(init=False)

    def __post_init__(self) -> None:
        require_count("population_size", self.population_size, 1)
        params = self.solution.params
        object.__setattr__(self, "input_size", num_channels_of(params, self.bounds.spec))
        object.__setattr__(self, "output_size", params["output"]["bias"].shape[-1])

    @property
    def default_params(self) -> EvolvingTuringMachineParams:
        """The rates of variation."""
        return EvolvingTuringMachineParams()

    def _space(self, params: EvolvingTuringMachineParams) -> _Space:
        return _Space(self.bounds, self.input_size, self.output_size, params.variation)

    # As in evosax, all three are compiled, so that a plain loop is fast. Equal settings share a program.
    @partial(jax.jit, static_argnames="self")
    def init(
        self, key: Key, population: Genome, fitness: Float[Array, " population"], params: EvolvingTuringMachineParams
    ) -> EvolvingTuringMachineState:
        """The state of an evaluated first population; `fitness` is minimised."""
        del key, params
        check_fitness(fitness, self.population_size)
        told = scored(founders(population, unscored(self.population_size)), population, -fitness)
        best_solution, best_fitness = best_of(population, fitness)
        return EvolvingTuringMachineState(
            told=told,
            asked=replace(told, genomes=()),
            best_solution=best_solution,
            best_fitness=best_fitness,
            generation_counter=jnp.array(0, jnp.int32),
        )

    @partial(jax.jit, static_argnames="self")
    def ask(
        self, key: Key, state: EvolvingTuringMachineState, params: EvolvingTuringMachineParams
    ) -> tuple[Genome, EvolvingTuringMachineState]:
        """The genomes to evaluate next, with a leading population axis. The key is consumed."""
        asked = propose(
            key,
            state.told,
            self._space(params),
            self.selector,
            crossover_rate=params.crossover_rate,
            immigrant_rate=params.immigrant_rate,
            batch_size=default_batch_size(),
        )
        return asked.genomes, replace(state, asked=replace(asked, genomes=()))

    @partial(jax.jit, static_argnames="self")
    def tell(
        self,
        key: Key,
        population: Genome,
        fitness: Float[Array, " population"],
        state: EvolvingTuringMachineState,
        params: EvolvingTuringMachineParams,
    ) -> tuple[EvolvingTuringMachineState, dict[str, Any]]:
        """Take in the scores of the genomes asked for last, changed by learning or not; `fitness` is minimised.

        The metrics are evosax's, and `failed` evaluations and the `diversity` of architectures.
        """
        state = with_best(state, population, fitness)
        told = scored(state.asked, population, -fitness)
        metrics = self.metrics_fn(key, population, fitness, state, params) | {
            "failed": jnp.sum(~told.alive),
            "diversity": self._space(params).diversity(told.genomes),
        }
        counter = state.generation_counter + 1
        return replace(state, told=told, asked=replace(told, genomes=()), generation_counter=counter), metrics
