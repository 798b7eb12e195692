"""Species of graphs: who is like whom, how many children each has, and who their parents are."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import IntScalar, Scalar, pytree
from etm_jax.graphs._crossover import distances
from etm_jax.graphs._genome import Graph
from etm_jax.graphs._rates import GraphRates

NO_SPECIES = -1


@pytree
class Species:
    """The species of a population, in a table.

    Attributes:
        representatives: a graph of each; later members are compared with it.
        lives: True = the species has members.
        best: fitness of its best member ever.
        idle: generations since it became better.
        radius: greatest distance of a member from the representative.
    """

    representatives: Graph
    lives: Bool[Array, " species"]
    best: Float[Array, " species"]
    idle: Int[Array, " species"]
    radius: Scalar


def assign(graphs: Graph, species: Species, rates: GraphRates) -> tuple[Int[Array, " population"], Species]:
    """Everybody's species: the nearest within the radius, or a new one, or the nearest of all if the table is full.

    Distances to all representatives are one batched operation, and one more for each species that is founded.
    """
    capacity = species.lives.size

    def nowhere(one: Graph) -> Array:
        del one
        return jnp.full(graphs.weights.shape[0], jnp.inf)

    away = jax.lax.map(
        lambda row: jax.lax.cond(row[0], lambda one: distances(graphs, one, rates), nowhere, row[1]),
        (species.lives, species.representatives),
    )

    def outside(away: Array) -> Array:
        return jnp.min(away, axis=0) > species.radius

    def found(carry: tuple[Array, Species]) -> tuple[Array, Species]:
        away, species = carry
        founder = jax.tree.map(lambda leaf: leaf[jnp.argmax(outside(away))], graphs)
        here = jnp.argmin(species.lives)
        representatives = jax.tree.map(lambda table, row: table.at[here].set(row), species.representatives, founder)
        away = away.at[here].set(distances(graphs, founder, rates))
        return away, replace(
            species,
            representatives=representatives,
            lives=species.lives.at[here].set(True),
            best=species.best.at[here].set(-jnp.inf),
            idle=species.idle.at[here].set(0),
        )

    def is_short(carry: tuple[Array, Species]) -> Array:
        away, species = carry
        return jnp.any(outside(away)) & ~jnp.all(species.lives)

    away, species = jax.lax.while_loop(is_short, found, (away, species))
    belongs = jnp.argmin(away, axis=0)
    lives = jnp.zeros(capacity, bool).at[belongs].set(True)
    more = jnp.sign(jnp.sum(lives, dtype=species.radius.dtype) - rates.target_species)
    return belongs, replace(species, lives=lives, radius=jnp.maximum(species.radius * 1.1**more, 0.05))


def breed(
    chance: Float[Array, "3 population"],
    belongs: Int[Array, " population"],
    fitness: Float[Array, " population"],
    species: Species,
    rates: GraphRates,
) -> tuple[Int[Array, " population"], Int[Array, "population 2"], Species]:
    """Who goes on as it is, and two parents of one species for everybody else, the fitter first.

    Every species has one place for its best member, and more by its mean fitness above the worst of all. Species that
    have been idle too long have no place; the one with the best member of all never is. If there are fewer places than
    species, those with the best members have them. Whoever failed is no parent, unless all did. Chances are uniform in
    (0, 1).

    Returns:
        For each place the member that survives there or `NO_SPECIES`, the parents, and the species a generation older.
    """
    size, capacity = fitness.size, species.lives.size
    finite = jnp.isfinite(fitness)
    may = finite | ~jnp.any(finite)
    worst = jnp.min(jnp.where(finite, fitness, jnp.inf))
    worth = jnp.where(finite, fitness / 2 - worst / 2, 0)  # halves, so that no difference of finite numbers overflows
    worth /= jnp.where(jnp.max(worth) > 0, jnp.max(worth), 1)
    ranked = jnp.where(finite, fitness, -jnp.inf)

    order = jnp.lexsort((-ranked, belongs))  # members of one species side by side, the best first
    counts = jnp.zeros(capacity, jnp.int32).at[belongs].add(1)
    members = jnp.zeros(capacity, jnp.int32).at[belongs].add(may.astype(jnp.int32))
    first = jnp.cumsum(counts) - counts
    top = jnp.where(counts > 0, ranked[order[jnp.minimum(first, size - 1)]], -jnp.inf)
    better = top > species.best
    idle = jnp.where(better, 0, species.idle + 1)
    species = replace(species, best=jnp.maximum(species.best, top), idle=idle)

    breeds = (members > 0) & ((idle.astype(fitness.dtype) <= rates.patience) | (top >= jnp.max(top)))
    if size < capacity:
        best_first = jnp.lexsort((-top, ~breeds))
        breeds &= jnp.zeros(capacity, bool).at[best_first[:size]].set(True)
    # Places, once each species has one: its share alone may round to none.
    left = size - jnp.sum(breeds, dtype=fitness.dtype)
    total = jnp.zeros(capacity).at[belongs].add(worth)
    share = jnp.where(breeds, total / jnp.maximum(members, 1).astype(total.dtype) + 1e-6, 0)
    owed = jnp.maximum(size * share / jnp.sum(share) - 1, 0)
    upto = jnp.cumsum(jnp.where(jnp.any(owed > 0), owed, breeds.astype(owed.dtype)))
    # Evenly spaced draws: each species gets what it is owed, rounded up or down.
    drawn = jnp.clip(jnp.ceil(left * upto / upto[-1] - chance[2, 0]), 0, left).astype(jnp.int32)
    ends = jnp.cumsum(breeds, dtype=jnp.int32) + drawn
    of = jnp.searchsorted(ends, jnp.arange(size), side="right")

    parents = jnp.maximum(jnp.ceil(rates.survival * members.astype(chance.dtype)), 1)[of]
    chosen = jnp.floor(chance[:2] * parents[None]).astype(jnp.int32)
    pairs = order[first[of][None] + jnp.sort(chosen, axis=0)].T
    opens = jnp.concatenate([jnp.ones(1, bool), of[1:] != of[:-1]])  # the first of a species' places
    survivors = jnp.where(opens & jnp.isfinite(top[of]), order[first[of]], NO_SPECIES)
    return survivors, pairs, species


def represented(
    chance: Float[Array, " population"], graphs: Graph, belongs: Int[Array, " population"], species: Species
) -> Species:
    """The same species, each represented by one of its present members, all alike for chances uniform in (0, 1)."""
    is_member = belongs[None] == jnp.arange(species.lives.size)[:, None]
    rows = jnp.argmax(jnp.where(is_member, chance[None], 0), axis=1)
    return replace(species, representatives=jax.tree.map(lambda leaf: leaf[rows], graphs))


def no_species(graphs: Graph, capacity: int, radius: Scalar | IntScalar | float) -> Species:
    """A table of species before anybody has been assigned."""
    rows = jnp.zeros(capacity, jnp.int32)
    return Species(
        representatives=jax.tree.map(lambda leaf: leaf[rows], graphs),
        lives=rows > 0,
        best=jnp.full(capacity, -jnp.inf, float),
        idle=rows,
        radius=jnp.asarray(radius, float),
    )
