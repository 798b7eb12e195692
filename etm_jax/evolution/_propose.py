"""Ask and tell: the next population from the last one's scores, behind evosax's protocol."""

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
from etm_jax.cells import num_channels_of
from etm_jax.evolution._state import NO_PARENT, Population, unscored
from etm_jax.models._model import choose, member
from etm_jax.networks._model import Networks
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome
from etm_jax.networks.variation._mutation import boosted_gene_rate
from etm_jax.networks.variation._rates import VariationRates
from etm_jax.parallel._devices import default_batch_size, map_in_batches
from etm_jax.selection import Scores, Selector, TournamentSelection


def first_population(key: Key, scores: Scores, family: Family) -> Population:
    """A population of random genomes with these scores, from `unscored`. The key is consumed."""
    return founders(jax.vmap(family.random)(jax.random.split(key, scores.fitness.size)), scores)


def founders(genomes: Any, scores: Scores) -> Population:
    """A population without parents, with these scores, from `unscored`."""
    size = scores.fitness.size
    nobody = jnp.full((size, 2), NO_PARENT, jnp.int32)
    return Population(
        genomes, scores, ids=jnp.arange(size, dtype=jnp.int32), parents=nobody, next_id=jnp.array(size, jnp.int32)
    )


def propose(
    key: Key,
    population: Population,
    family: Family,
    selector: Selector,
    rates: VariationRates,
    warming_up: BoolScalar | bool = False,
    batch_size: int = 0,
    pool: Population | None = None,
    shown: Scores | None = None,
) -> Population:
    """The next population: survivors as they are, then offspring, not scored yet. The key is consumed.

    Whoever would descend from a failed member is drawn afresh instead, so after a generation in which everybody failed
    the search starts again. While `warming_up` everybody survives and nobody is born. Survivors keep their scores, not
    alive, and grow older.

    Args:
        key: consumed.
        population: the last one.
        family: the kind of genomes.
        selector: who survives and who becomes a parent.
        rates: of variation.
        warming_up: see above.
        batch_size: children that are borne at once, the others in turn; 0 for all at once.
        pool: where survivors and parents come from; None for the population.
        shown: what the selector is shown of the pool; None for its scores.
    """
    key_select, key_mate, key_vary, key_fresh = jax.random.split(key, 4)
    pool = population if pool is None else pool
    size = population.ids.size
    selection = selector(key_select, replace(pool.scores if shown is None else shown, places=size))
    num_children = selection.parents.shape[0]
    mates = jax.random.bernoulli(key_mate, rates.crossover_rate, (num_children,))
    first = selection.parents[:, 0]
    second = jnp.where(mates, selection.parents[:, 1], first)
    gene_rate = boosted_gene_rate(rates, family.diversity(population.genomes))

    def bear(birth: tuple[Key, IntScalar, IntScalar, BoolScalar]) -> Any:
        key, first, second, mates = birth
        parents = member(pool.genomes, first), member(pool.genomes, second)
        return family.offspring(key, *parents, mates, rates, gene_rate)

    births = (jax.random.split(key_vary, num_children), first, second, mates)
    children = map_in_batches(bear, births, batch_size)
    survivors = selection.survivors
    proposed = jax.tree.map(lambda kept, born: jnp.concatenate([kept, born]), member(pool.genomes, survivors), children)
    sound = jnp.concatenate([pool.alive[survivors], pool.alive[first] & pool.alive[second]])
    arrives = jax.random.bernoulli(jax.random.fold_in(key_fresh, 1), rates.immigrant_rate, (num_children,))
    sound &= ~jnp.concatenate([jnp.zeros(survivors.size, bool), arrives])
    kept_ids, kept_parents = pool.ids[survivors], pool.parents[survivors]
    ids = jnp.concatenate([kept_ids, population.next_id + jnp.arange(num_children, dtype=jnp.int32)])
    born = jnp.stack([pool.ids[first], pool.ids[second]], axis=-1)
    parents = jnp.concatenate([kept_parents, born])
    blank = jax.tree.map(jnp.zeros_like, population.scores)
    scores = jax.tree.map(
        lambda kept, new: jnp.concatenate([kept, new[survivors.size :]]), member(pool.scores, survivors), blank
    )

    stays = jnp.full(size, warming_up)
    proposed = choose(stays, population.genomes, proposed)
    scores = choose(stays, population.scores, scores)
    sound = jnp.where(stays, population.alive, sound)
    ids = jnp.where(stays, population.ids, ids)
    parents = jnp.where(stays[:, None], population.parents, parents)

    def replace_failed(proposed: Any) -> Any:
        return choose(sound, proposed, first_population(key_fresh, blank, family).genomes)

    genomes = jax.lax.cond(jnp.all(sound), lambda proposed: proposed, replace_failed, proposed)
    ids = jnp.where(sound, ids, population.next_id + jnp.arange(size, dtype=jnp.int32) + num_children)
    parents = jnp.where(sound[:, None], parents, NO_PARENT)
    stayed = sound & (stays | (jnp.arange(size) < survivors.size))
    scores = choose(sound, scores, blank)
    scores = replace(scores, age=scores.age + stayed.astype(scores.age.dtype), alive=jnp.zeros(size, bool))
    return Population(genomes, scores, ids, parents, next_id=population.next_id + num_children + size)


def scored(
    population: Population,
    genomes: Any,
    fitness: Float[Array, " population"],
    cases: Float[Array, "population case"] | None = None,
    objectives: Float[Array, "population objective"] | None = None,
    descriptors: Float[Array, "population descriptor"] | None = None,
    averaged: bool = False,
) -> Population:
    """The population after its evaluation; whoever has a score that is not finite has failed.

    Args:
        population: as it was proposed.
        genomes: what it inherits on: the weights after learning, or those before.
        fitness: maximised.
        cases: what the fitness is made of, as many as the population has; None for the fitness in place of each.
        objectives: what is sought at once, as many as the population has.
        descriptors: what tells members apart, as many as the population has.
        averaged: a survivor's scores are means over all the generations that it has lived.
    """
    before = population.scores
    if cases is None:
        assert before.cases is not None
        cases = jnp.broadcast_to(fitness[:, None], before.cases.shape)
    found = Scores(fitness, jnp.isfinite(fitness), cases, objectives, descriptors, before.age)
    found = found.sound("cases", "objectives", "descriptors")
    if averaged:
        assert before.age is not None
        times = before.age

        def mean(old: Array, new: Array) -> Array:
            lived = times.reshape(-1, *(1,) * (new.ndim - 1)).astype(new.dtype)
            return (old * lived + new) / (lived + 1)

        measured = ("fitness", "cases", "objectives", "descriptors")
        found = replace(
            found, **jax.tree.map(mean, *({name: getattr(of, name) for name in measured} for of in (before, found)))
        )
        found = found.sound()
    return replace(population, genomes=genomes, scores=found)


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

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.evolution._propose import EvolvingTuringMachine
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
    model: Networks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_count("population_size", self.population_size, 1)
        params = self.solution.params
        sizes = num_channels_of(params, self.bounds.family), params["output"]["bias"].shape[-1]
        object.__setattr__(self, "model", Networks(self.bounds, *sizes))

    @property
    def default_params(self) -> VariationRates:
        """The rates of variation."""
        return VariationRates()

    @partial(jax.jit, static_argnames="self")
    def init(
        self, key: Key, population: Genome, fitness: Float[Array, " population"], params: VariationRates
    ) -> EvolvingTuringMachineState:
        """The state of an evaluated first population; `fitness` is minimised."""
        del key, params
        check_fitness(fitness, self.population_size)
        first = founders(population, unscored(self.population_size))
        told = scored(first, population, -fitness)
        best_solution, best_fitness = best_of(population, fitness)
        return EvolvingTuringMachineState(
            told=told,
            asked=replace(told, genomes=()),
            best_solution=best_solution,
            best_fitness=best_fitness,
            generation_counter=jnp.array(0, jnp.int32),
        )

    # As in evosax, all three are compiled, so that a plain loop is fast. Equal settings share a program.
    @partial(jax.jit, static_argnames="self")
    def ask(
        self, key: Key, state: EvolvingTuringMachineState, params: VariationRates
    ) -> tuple[Genome, EvolvingTuringMachineState]:
        """The genomes to evaluate next, with a leading population axis. The key is consumed."""
        asked = propose(key, state.told, self.model, self.selector, params, batch_size=default_batch_size())
        return asked.genomes, replace(state, asked=replace(asked, genomes=()))

    @partial(jax.jit, static_argnames="self")
    def tell(
        self,
        key: Key,
        population: Genome,
        fitness: Float[Array, " population"],
        state: EvolvingTuringMachineState,
        params: VariationRates,
    ) -> tuple[EvolvingTuringMachineState, dict[str, Any]]:
        """Take in the scores of the genomes asked for last, changed by learning or not; `fitness` is minimised.

        The metrics are evosax's, and `failed` evaluations and the `diversity` of architectures.
        """
        state = with_best(state, population, fitness)
        told = scored(state.asked, population, -fitness)
        metrics = self.metrics_fn(key, population, fitness, state, params) | {
            "failed": jnp.sum(~told.alive),
            "diversity": self.model.diversity(told.genomes),
        }
        counter = state.generation_counter + 1
        return replace(state, told=told, asked=replace(told, genomes=()), generation_counter=counter), metrics
