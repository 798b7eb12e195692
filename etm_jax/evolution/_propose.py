"""Ask and tell: the next population from the last one's scores, behind evosax's protocol."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar, IntScalar, Key, pytree
from etm_jax.parallel._devices import default_batch_size, map_in_batches
from etm_jax.networks._model import Networks
from etm_jax.models._model import Model
from etm_jax.evolution._state import NO_PARENT, Population, unscored
from etm_jax.models._model import choose, member
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome
from etm_jax.selection import Scores, Selector, TournamentSelection
from etm_jax.networks.variation._rates import VariationRates
from etm_jax.networks.variation._mutation import boosted_gene_rate


def first_population(key: Key, scores: Scores, family: Family) -> Population:
    """A population of random genomes with these scores, from `unscored`. The key is consumed."""
    size = scores.fitness.size
    genomes = jax.vmap(family.random)(jax.random.split(key, size))
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
    proposed = jax.tree.map(
        lambda kept, born: jnp.concatenate([kept, born]), member(pool.genomes, survivors), children
    )
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
        >>> from etm_jax.evolution._propose import EvolvingTuringMachine
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
    def family(self) -> Networks:
        """The networks of the bounds."""
        return Networks(self.bounds, self.input_size, self.output_size)

    @property
    def default_params(self) -> VariationRates:
        """The rates of variation."""
        return VariationRates()

    def init(self, key: Key, params: VariationRates) -> EvolvingTuringMachineState:
        """The state before the first `ask`. The key is consumed."""
        del params
        first = first_population(key, unscored(self.population_size), self.family)
        return EvolvingTuringMachineState(told=first, asked=replace(first, genomes=()))

    def ask(
        self, key: Key, state: EvolvingTuringMachineState, params: VariationRates
    ) -> tuple[Genome, EvolvingTuringMachineState]:
        """The genomes to evaluate next, with a leading population axis. The key is consumed."""
        asked = propose(key, state.told, self.family, self.selector, params, batch_size=default_batch_size())
        return asked.genomes, replace(state, asked=replace(asked, genomes=()))

    def tell(
        self, key: Key, population: Genome, fitness: Array, state: EvolvingTuringMachineState, params: VariationRates
    ) -> tuple[EvolvingTuringMachineState, dict[str, Any]]:
        """Take in the scores of the genomes asked for last, changed by learning or not; `fitness` is minimised."""
        del key, params
        told = scored(state.asked, population, -fitness)
        best = jnp.argmax(told.scores.ranked)
        metrics = {
            "best_fitness": -told.scores.ranked[best],
            "best_solution": member(told.genomes, best),
            "failed": jnp.sum(~told.alive),
            "diversity": self.family.diversity(told.genomes),
        }
        return EvolvingTuringMachineState(told=told, asked=replace(told, genomes=())), metrics
