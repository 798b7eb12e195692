"""Species of graphs: how far apart graphs are, who belongs together, how many children each species has."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import IntScalar, Scalar, pytree
from etm_jax.graphs._genome import Graph
from etm_jax.graphs._variation import GraphRates

NO_SPECIES = -1


@pytree
class NEATParams(GraphRates):
    """NEAT's parameters: the rates of variation, and what makes a species; plain numbers, or traced ones.

    Attributes:
        crossover_rate: probability that a child has two parents.
        excess_weight: weight, in the distance of two graphs, of connections that only one has.
        difference_weight: weight of the difference of the weights of connections that both have.
        radius: greatest distance of a member from the representative of its species, at first.
        target_species: the radius grows while there are more species, and shrinks while there are fewer.
        survival: share of a species that may become parents.
        patience: generations without a better member after which a species has no children, unless it has the best.
    """

    crossover_rate: float = 0.75
    excess_weight: float = 1.0
    difference_weight: float = 0.4
    radius: float = 1.0
    target_species: float = 10.0
    survival: float = 0.1
    patience: float = 15.0


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


def distances(
    graphs: Graph, one: Graph, excess_weight: Scalar | float, difference_weight: Scalar | float
) -> Float[Array, " population"]:
    """Compatibility distances of a population from one graph (Stanley and Miikkulainen 2002, equation 1).

    Disjoint and excess connections count alike, and their number is divided by the larger graph's at any size.

    Args:
        graphs: the population.
        one: a graph.
        excess_weight: weight of the share of connections that only one of the two graphs has.
        difference_weight: weight of the mean difference of the weights of connections that both have.
    """

    # Connection by connection of the one graph, all of the population at once: 8 times as fast on a CPU as all pairs of
    # connections at once.
    def compare(sums: tuple[Array, Array], row: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
        source, target, weight, exists = row
        same = (graphs.sources == source) & (graphs.targets == target) & graphs.is_connection & exists
        apart = jnp.where(same, jnp.abs(graphs.weights - weight), 0)
        return (sums[0] | same, sums[1] + apart), None

    rows = one.sources, one.targets, one.weights, one.is_connection
    start = jnp.zeros(graphs.weights.shape, bool), jnp.zeros_like(graphs.weights)
    (has, apart), _ = jax.lax.scan(compare, start, rows)
    common, theirs = jnp.sum(has, axis=1, dtype=apart.dtype), graphs.num_connections.astype(apart.dtype)
    own = one.num_connections.astype(apart.dtype)
    unmatched = theirs + own - 2 * common
    largest = jnp.maximum(jnp.maximum(theirs, own), 1)
    difference = jnp.sum(apart, axis=1) / jnp.maximum(common, 1)
    return excess_weight * unmatched / largest + difference_weight * difference


def assign(graphs: Graph, species: Species, params: NEATParams) -> tuple[Int[Array, " population"], Species]:
    """The species of each graph: the nearest within the radius, or a new one, or the nearest if the table is full.

    Distances to all representatives are one batched operation, and one more for each species that is founded.
    """
    capacity = species.lives.size

    def from_one(one: Graph) -> Array:
        return distances(graphs, one, params.excess_weight, params.difference_weight)

    def from_none(one: Graph) -> Array:
        del one
        return jnp.full(graphs.weights.shape[0], jnp.inf)  # so that no graph joins a species that has died

    # A map, not a vmap: under vmap `cond` would compute the distances of dead species, too.
    away = jax.lax.map(
        lambda row: jax.lax.cond(row[0], from_one, from_none, row[1]), (species.lives, species.representatives)
    )

    def outside(away: Array) -> Array:
        return jnp.min(away, axis=0) > species.radius

    def found(carry: tuple[Array, Species]) -> tuple[Array, Species]:
        away, species = carry
        # The first graph outside founds a species at once, so that later ones near it join it and found none.
        founder = jax.tree.map(lambda leaf: leaf[jnp.argmax(outside(away))], graphs)
        here = jnp.argmin(species.lives)
        representatives = jax.tree.map(lambda table, row: table.at[here].set(row), species.representatives, founder)
        away = away.at[here].set(from_one(founder))
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
    more = jnp.sign(jnp.sum(lives, dtype=species.radius.dtype) - params.target_species)
    # The paper's radius is fixed, and then the number of species depends on the size of the graphs. The floor keeps a
    # population of equal graphs from shrinking it to nothing.
    return belongs, replace(species, lives=lives, radius=jnp.maximum(species.radius * 1.1**more, 0.05))


class Breeding(NamedTuple):
    """How the next generation is made of this one.

    Attributes:
        survivors: for each place the member that survives there unchanged, or `NO_SPECIES`.
        parents: for each place two members of one species, the fitter first.
        species: a generation older.
    """

    survivors: Int[Array, " population"]
    parents: Int[Array, "population 2"]
    species: Species


def breed(
    chance: Float[Array, "3 population"],
    belongs: Int[Array, " population"],
    fitness: Float[Array, " population"],
    species: Species,
    params: NEATParams,
) -> Breeding:
    """Who survives unchanged, and who are the parents of every other place.

    Every species has one place for its best member, and more by its mean fitness above the worst of all. Species that
    have been idle too long have no place; the one with the best member of all never is. If there are fewer places than
    species, those with the best members have them. Failed graphs are no parents, unless all failed.

    Args:
        chance: uniform in (0, 1).
        belongs: each graph's species.
        fitness: maximised; not finite = failed.
        species: of the generation before.
        params: pressures.
    """
    size, capacity = fitness.size, species.lives.size
    finite = jnp.isfinite(fitness)
    may = finite | ~jnp.any(finite)
    worst = jnp.min(jnp.where(finite, fitness, jnp.inf))
    worth = jnp.where(finite, fitness / 2 - worst / 2, 0)  # halves, so that no difference of finite numbers overflows
    worth /= jnp.where(jnp.max(worth) > 0, jnp.max(worth), 1)
    ranked = jnp.where(finite, fitness, -jnp.inf)

    # Members of one species side by side, the best first: a species is then a range of `order`.
    order = jnp.lexsort((-ranked, belongs))
    counts = jnp.zeros(capacity, jnp.int32).at[belongs].add(1)
    members = jnp.zeros(capacity, jnp.int32).at[belongs].add(may.astype(jnp.int32))
    first = jnp.cumsum(counts) - counts
    top = jnp.where(counts > 0, ranked[order[jnp.minimum(first, size - 1)]], -jnp.inf)
    better = top > species.best
    idle = jnp.where(better, 0, species.idle + 1)
    species = replace(species, best=jnp.maximum(species.best, top), idle=idle)

    breeds = (members > 0) & ((idle.astype(fitness.dtype) <= params.patience) | (top >= jnp.max(top)))
    if size < capacity:
        # The table of species may be longer than the population; then not every species can have a place.
        best_first = jnp.lexsort((-top, ~breeds))
        breeds &= jnp.zeros(capacity, bool).at[best_first[:size]].set(True)
    # Each species has one place before shares are counted, since a small share may round to none and lose its best.
    left = size - jnp.sum(breeds, dtype=fitness.dtype)
    total = jnp.zeros(capacity).at[belongs].add(worth)
    # The mean, not the sum, so that a species gains nothing by its size; the addend shares evenly where all are equal.
    share = jnp.where(breeds, total / jnp.maximum(members, 1).astype(total.dtype) + 1e-6, 0)
    owed = jnp.maximum(size * share / jnp.sum(share) - 1, 0)
    up_to = jnp.cumsum(jnp.where(jnp.any(owed > 0), owed, breeds.astype(owed.dtype)))
    # Evenly spaced draws from one chance: each species gets its share rounded up or down, never further off.
    drawn = jnp.clip(jnp.ceil(left * up_to / up_to[-1] - chance[2, 0]), 0, left).astype(jnp.int32)
    ends = jnp.cumsum(breeds, dtype=jnp.int32) + drawn
    of = jnp.searchsorted(ends, jnp.arange(size), side="right")

    parents = jnp.maximum(jnp.ceil(params.survival * members.astype(chance.dtype)), 1)[of]
    chosen = jnp.floor(chance[:2] * parents[None]).astype(jnp.int32)
    pairs = order[first[of][None] + jnp.sort(chosen, axis=0)].T  # ranks sorted: the fitter parent comes first
    opens = jnp.concatenate([jnp.ones(1, bool), of[1:] != of[:-1]])  # the first of a species' places
    survivors = jnp.where(opens & jnp.isfinite(top[of]), order[first[of]], NO_SPECIES)
    return Breeding(survivors, pairs, species)


def represented(
    chance: Float[Array, " population"], graphs: Graph, belongs: Int[Array, " population"], species: Species
) -> Species:
    """The same species, each represented by a random present member; chances are uniform in (0, 1)."""
    is_member = belongs[None] == jnp.arange(species.lives.size)[:, None]
    rows = jnp.argmax(jnp.where(is_member, chance[None], 0), axis=1)
    return replace(species, representatives=jax.tree.map(lambda leaf: leaf[rows], graphs))


def no_species(graphs: Graph, capacity: int, radius: Scalar | IntScalar | float) -> Species:
    """A table of species before any graph has been assigned."""
    rows = jnp.zeros(capacity, jnp.int32)
    return Species(
        representatives=jax.tree.map(lambda leaf: leaf[rows], graphs),
        lives=rows > 0,
        best=jnp.full(capacity, -jnp.inf, float),
        idle=rows,
        radius=jnp.asarray(radius, float),
    )
