"""Ask and tell: evolution of padded genomes behind evosax's protocol."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from etm_jax._typing import BoolScalar, Key, Scalar, pytree
from etm_jax.evolution._propose import first_population, propose, scored
from etm_jax.evolution._state import Population, unscored
from etm_jax.models._model import member
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._diversity import diversity
from etm_jax.networks.genome._genome import Genome, random_genome
from etm_jax.networks.variation._mutation import boosted_gene_rate
from etm_jax.networks.variation._offspring import offspring
from etm_jax.networks.variation._rates import VariationRates
from etm_jax.parallel._devices import default_batch_size
from etm_jax.selection import Selector, TournamentSelection


@pytree
class EvolvingTuringMachineParams:
    """Rates of variation; plain numbers, or traced ones.

    Attributes:
        crossover_rate: probability that a child has two parents.
        immigrant_rate: probability that a child is a random genome in truth.
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
        return random_genome(key, self.bounds, self.input_size, self.output_size)

    def offspring(self, key: Key, first: Genome, second: Genome, mates: BoolScalar, diversity: Scalar) -> Genome:
        """A child. The key is consumed."""
        rates = self.rates
        return offspring(key, first, second, mates, self.bounds, rates, boosted_gene_rate(rates, diversity))

    def diversity(self, genomes: Genome) -> Scalar:
        """Of the architectures."""
        return diversity(genomes.architecture, self.bounds)


@pytree
class EvolvingTuringMachineState:
    """What the evolving Turing machine remembers from one generation to the next.

    Attributes:
        told: the population that was told last; at first random genomes that nobody has scored.
        asked: what was asked for since, without its genomes.
    """

    told: Population
    asked: Population


@dataclass(frozen=True)
class EvolvingTuringMachine:
    """Evolution of padded genomes behind evosax's `init / ask / tell / default_params`.

    **evosax minimises**: `tell` takes a fitness to be minimised and negates it here, the only place where a sign
    changes; everything else in `etm_jax` maximises fitness. NaN is a failed evaluation. To ask again without telling
    gives other children of the same population.

    Args:
        population_size: individuals.
        bounds: the search space.
        input_size: channels in.
        output_size: channels out.
        selector: who survives and who becomes a parent.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.evolution import EvolvingTuringMachine
        >>> from etm_jax.networks import Bounds
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> strategy = EvolvingTuringMachine(6, bounds, input_size=3, output_size=2)
        >>> params = strategy.default_params
        >>> state = strategy.init(jax.random.key(0), params)
        >>> population, state = strategy.ask(jax.random.key(1), state, params)
        >>> cost = population.architecture.num_slots.astype(float)
        >>> state, metrics = strategy.tell(jax.random.key(2), population, cost, state, params)
        >>> bool(metrics["best_fitness"] == cost.min())
        True
    """

    population_size: int
    bounds: Bounds
    input_size: int
    output_size: int
    selector: Selector = field(default_factory=TournamentSelection)

    @property
    def default_params(self) -> EvolvingTuringMachineParams:
        """The rates of variation."""
        return EvolvingTuringMachineParams()

    def _space(self, params: EvolvingTuringMachineParams) -> _Space:
        return _Space(self.bounds, self.input_size, self.output_size, params.variation)

    def init(self, key: Key, params: EvolvingTuringMachineParams) -> EvolvingTuringMachineState:
        """The state before the first `ask`. The key is consumed."""
        first = first_population(key, unscored(self.population_size), self._space(params))
        return EvolvingTuringMachineState(told=first, asked=replace(first, genomes=()))

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

    def tell(
        self,
        key: Key,
        population: Genome,
        fitness: Array,
        state: EvolvingTuringMachineState,
        params: EvolvingTuringMachineParams,
    ) -> tuple[EvolvingTuringMachineState, dict[str, Any]]:
        """Take in the scores of the genomes asked for last, changed by learning or not; `fitness` is minimised."""
        del key
        told = scored(state.asked, population, -fitness)
        best = jnp.argmax(told.scores.ranked)
        metrics = {
            "best_fitness": -told.scores.ranked[best],
            "best_solution": member(told.genomes, best),
            "failed": jnp.sum(~told.alive),
            "diversity": self._space(params).diversity(told.genomes),
        }
        return EvolvingTuringMachineState(told=told, asked=replace(told, genomes=())), metrics
