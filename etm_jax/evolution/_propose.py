"""The next population from the last one's scores, and its scores after the evaluation."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar
from etm_jax.evolution._state import NO_ID, Population
from etm_jax.models._model import Variation, choose, member
from etm_jax.parallel._devices import map_in_batches
from etm_jax.selection import Scores, Selector


def first_population(key: Key, scores: Scores, model: Variation) -> Population:
    """A population of random genomes with these scores, from `unscored`. The key is consumed."""
    return founders(born(key, model, scores.fitness.size), scores)


def born(key: Key, model: Variation, count: int) -> Any:
    """So many random genomes: the model's `founders`, where it has these. The key is consumed."""
    draw = getattr(model, "founders", None)
    return jax.vmap(model.random)(jax.random.split(key, count)) if draw is None else draw(key, count)


def founders(genomes: Any, scores: Scores) -> Population:
    """A population without parents, with these scores, from `unscored`."""
    size = scores.fitness.size
    return Population(
        genomes,
        scores,
        ids=jnp.arange(size, dtype=jnp.int32),
        parents=jnp.full((size, 2), NO_ID, jnp.int32),
        next_id=jnp.array(size, jnp.int32),
    )


def propose(
    key: Key,
    population: Population,
    model: Variation,
    selector: Selector,
    *,
    crossover_rate: Scalar | float,
    immigrant_rate: Scalar | float,
    warming_up: BoolScalar | bool = False,
    renewing: BoolScalar | bool = False,
    batch_size: int = 0,
    pool: Population | None = None,
    shown: Scores | None = None,
) -> Population:
    """The next population: survivors as they are, then offspring, not scored yet. The key is consumed.

    A descendant of a failed member is replaced by a random genome, so after a generation in which every evaluation
    failed the search starts again. While `warming_up` all members survive and none is created. Survivors keep their
    scores, not alive, and grow older.

    Args:
        key: consumed.
        population: the last one.
        model: how genomes are drawn and varied.
        selector: who survives and who becomes a parent.
        crossover_rate: probability that a child has two parents.
        immigrant_rate: probability that a random genome takes the place of a child.
        warming_up: see above.
        renewing: random genomes take the places of the less fit half; for the warm-up.
        batch_size: children in one vmap; 0 for all.
        pool: where survivors and parents come from; None for the population.
        shown: what the selector is shown of the pool; None for its scores.
    """
    key_select, key_mate, key_vary, key_fresh = jax.random.split(key, 4)
    pool = population if pool is None else pool
    size = population.ids.size
    selection = selector(key_select, replace(pool.scores if shown is None else shown, places=size))
    num_children = selection.parents.shape[0]
    mates = jax.random.bernoulli(key_mate, crossover_rate, (num_children,))
    first = selection.parents[:, 0]
    second = jnp.where(mates, selection.parents[:, 1], first)
    diversity = model.diversity(population.genomes)

    def child_of(birth: tuple[Key, IntScalar, IntScalar, BoolScalar]) -> Any:
        key, first, second, mates = birth
        return model.offspring(key, member(pool.genomes, first), member(pool.genomes, second), mates, diversity)

    children = map_in_batches(child_of, (jax.random.split(key_vary, num_children), first, second, mates), batch_size)
    survivors = selection.survivors
    genomes = jax.tree.map(lambda kept, new: jnp.concatenate([kept, new]), member(pool.genomes, survivors), children)
    # A member that failed has no scores to go by, so neither it nor its children may go on.
    sound = jnp.concatenate([pool.alive[survivors], pool.alive[first] & pool.alive[second]])
    arrives = jax.random.bernoulli(jax.random.fold_in(key_fresh, 1), immigrant_rate, (num_children,))
    sound &= ~jnp.concatenate([jnp.zeros(survivors.size, bool), arrives])
    # Ids are never given twice: children have the next ones, random genomes those after them.
    ids = jnp.concatenate([pool.ids[survivors], population.next_id + jnp.arange(num_children, dtype=jnp.int32)])
    descent = jnp.stack([pool.ids[first], pool.ids[second]], axis=-1)
    parents = jnp.concatenate([pool.parents[survivors], descent])
    blank = jax.tree.map(jnp.zeros_like, population.scores)
    scores = jax.tree.map(
        lambda kept, new: jnp.concatenate([kept, new[survivors.size :]]), member(pool.scores, survivors), blank
    )

    # Warming up is a choice between two populations, not a branch: `warming_up` is traced, and both are cheap.
    stays = jnp.full(size, warming_up)
    genomes = choose(stays, population.genomes, genomes)
    scores = choose(stays, population.scores, scores)
    remains = population.alive
    if renewing is not False:
        rank = jnp.argsort(jnp.argsort(jnp.where(population.alive, -population.fitness, jnp.inf)))
        remains &= ~(renewing & (rank >= size - size // 2))
    sound = jnp.where(stays, remains, sound)
    ids = jnp.where(stays, population.ids, ids)
    parents = jnp.where(stays[:, None], population.parents, parents)

    def replace_failed(genomes: Any) -> Any:
        return choose(sound, genomes, first_population(key_fresh, blank, model).genomes)

    # Most generations need no random genome, and drawing a whole population of them takes long.
    genomes = jax.lax.cond(jnp.all(sound), lambda genomes: genomes, replace_failed, genomes)
    ids = jnp.where(sound, ids, population.next_id + jnp.arange(size, dtype=jnp.int32) + num_children)
    parents = jnp.where(sound[:, None], parents, NO_ID)
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
    """The population after its evaluation; a member with a score that is not finite has failed.

    Args:
        population: as it was proposed.
        genomes: what its children inherit: the weights after learning, or those before.
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
