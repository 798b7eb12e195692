"""Crossover of graphs, and how far two are apart: both go by which connections are the same."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar
from etm_jax.graphs._genome import Graph
from etm_jax.graphs._rates import GraphRates


def cross(
    chance: Float[Array, "2 connection"], fitter: Graph, other: Graph, mates: BoolScalar | bool, rates: GraphRates
) -> Graph:
    """The graph of the fitter parent; weights of connections that both have from either (Stanley and Miikkulainen
    2002, section 3.2). Chances are uniform in (0, 1).

    Connections that both parents have may be switched off or on again (section 4.1, `rates.stays_disabled`). Without
    mating the child is the fitter parent as it is.
    """
    same = (fitter.sources[:, None] == other.sources[None]) & (fitter.targets[:, None] == other.targets[None])
    same &= fitter.is_connection[:, None] & other.is_connection[None]
    has, where = jnp.any(same, axis=1) & mates, jnp.argmax(same, axis=1)
    from_other = has & (chance[0] < 0.5)
    one_on, other_on = fitter.enabled, other.enabled[where]
    share_off = jnp.where(one_on & other_on, 0, rates.stays_disabled)
    share_off = jnp.where(one_on | other_on, share_off, rates.stays_disabled_in_both)
    return replace(
        fitter,
        weights=jnp.where(from_other, other.weights[where], fitter.weights),
        enabled=jnp.where(has, chance[1] >= share_off, fitter.enabled) & fitter.is_connection,
    )


def distances(graphs: Graph, one: Graph, rates: GraphRates) -> Float[Array, " population"]:
    """Compatibility distances of a population from one graph (Stanley and Miikkulainen 2002, equation 1).

    The share of connections that only one of two graphs has, and the mean difference of the weights of those that both
    have, each with its weight. Disjoint and excess connections count alike, and the number of connections is the larger
    graph's at any size. Connection by connection of the one graph, all of the population at once: 8 times as fast on a
    CPU as all pairs of connections at once.
    """

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
    return rates.excess_weight * unmatched / largest + rates.difference_weight * difference
