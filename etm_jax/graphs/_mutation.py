"""Mutations of graphs. Whoever splits the same connection makes the same node.

Chances are independent and uniform in (0, 1), see `NEAT.ask`: drawn all at once, since each draw of its own takes the
compiler half a second.
"""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._typing import BoolScalar, IntScalar, Scalar
from etm_jax.graphs._genome import CONNECTION_COLUMNS, INPUT_PLACE, NODE_COLUMNS, OUTPUT_PLACE, Graph, positions_of
from etm_jax.graphs._rates import GraphRates


def change_weights(chance: Float[Array, " twice_connections_plus_two"], graph: Graph, rates: GraphRates) -> Graph:
    """Noise on most weights, some drawn anew, and perhaps one connection switched on or off."""
    size = graph.weights.size
    kind, noise = chance[:size], normal(chance[size : 2 * size])
    anew = kind < rates.replace_rate
    moved = ~anew & (kind < rates.replace_rate + rates.perturb_rate)
    weights = graph.weights + jnp.where(moved, rates.perturb_scale * noise, 0)
    weights = jnp.clip(jnp.where(anew, rates.replace_scale * noise, weights), -rates.weight_limit, rates.weight_limit)
    which = jnp.floor(chance[-1] * graph.num_connections.astype(chance.dtype)).astype(jnp.int32)
    toggled = (chance[-2] < rates.toggle_rate) & (jnp.arange(size) == which)
    return replace(
        graph, weights=jnp.where(graph.is_connection, weights, graph.weights), enabled=graph.enabled ^ toggled
    )


def change_activation(chance: Float[Array, "3"], graph: Graph, rates: GraphRates, num_functions: int) -> Graph:
    """With its probability, another function for one node that is no input."""
    given = jnp.sum(graph.is_node & (graph.places == INPUT_PLACE), dtype=jnp.int32)
    node = given + jnp.floor(chance[0] * (graph.num_nodes - given).astype(chance.dtype)).astype(jnp.int32)
    happens = chance[1] < rates.activation_rate
    kind = jnp.floor(chance[2] * num_functions).astype(jnp.int32)
    here = happens & (jnp.arange(graph.ids.size) == node)
    return replace(graph, activations=jnp.where(here, kind, graph.activations))


def add_connection(chance: Float[Array, "3"], graph: Graph, rates: GraphRates, recurrent: bool) -> Graph:
    """With its probability, a connection between two nodes that had none."""
    size = graph.ids.size
    pairs = positions_of(graph, graph.targets) * size + positions_of(graph, graph.sources)
    taken = jnp.zeros(size * size, jnp.int32).at[pairs].max(graph.is_connection.astype(jnp.int32))
    taken = taken.reshape(size, size) > 0
    may = (graph.is_node & (graph.places > INPUT_PLACE))[:, None] & graph.is_node[None] & ~taken
    if not recurrent:
        may &= graph.places[:, None] > graph.places[None]
    where, possible = pick(chance[0], may.ravel())
    happens = (chance[1] < rates.add_connection_rate) & possible
    here = happens & (jnp.arange(graph.weights.size) == graph.num_connections)
    weight = rates.replace_scale * normal(chance[2])
    return _with_connection(graph, here, graph.ids[where % size], graph.ids[where // size], weight)


def remove_connection(chance: Float[Array, "2"], graph: Graph, rates: GraphRates) -> Graph:
    """With its probability, one connection less, and without the hidden nodes that nothing else joins."""
    which, possible = pick(chance[0], graph.is_connection)
    happens = (chance[1] < rates.remove_connection_rate) & possible
    ends = graph.sources[which], graph.targets[which]
    graph = _without(graph, CONNECTION_COLUMNS, which, happens)
    for end in ends:
        joined = jnp.any(graph.is_connection & ((graph.sources == end) | (graph.targets == end)))
        row = positions_of(graph, end[None])[0]
        alone = happens & ~joined & (graph.places[row] > INPUT_PLACE) & (graph.places[row] < OUTPUT_PLACE)
        graph = _without(graph, NODE_COLUMNS, row, alone)
    return graph


def add_node(chance: Float[Array, "2"], graph: Graph, rates: GraphRates) -> Graph:
    """With its probability, a node within a connection that carries a signal, if there is room.

    The new id follows from those of the two ends, so graphs that split the same connection agree, without a table of
    innovations and in whatever generation; a graph that has that node already gets none.
    """
    which, possible = pick(chance[0], graph.is_connection & graph.enabled)
    node_id, share = _named(graph.sources[which], graph.targets[which])
    has = jnp.any(graph.is_node & (graph.ids == node_id))
    room = (graph.num_nodes < graph.ids.size) & (graph.num_connections + 2 <= graph.weights.size)
    happens = (chance[1] < rates.add_node_rate) & possible & room & ~has
    return _split(graph, happens, which, node_id, share)


def _split(graph: Graph, happens: BoolScalar, connection: IntScalar, node_id: IntScalar, share: Scalar) -> Graph:
    """A node within a connection: the old one is disabled, of the new two the first weighs 1, the second as the old."""
    source, target, weight = graph.sources[connection], graph.targets[connection], graph.weights[connection]
    ends = positions_of(graph, jnp.stack([source, target]))
    low, high = graph.places[ends[0]], graph.places[ends[1]]
    place = low + share * (high - low)
    # A loop has one place for both ends, and after some twenty splits there is no number between two: those stay.
    happens &= (place > jnp.minimum(low, high)) & (place < jnp.maximum(low, high))
    here = happens & (jnp.arange(graph.ids.size) == graph.num_nodes)
    connections = jnp.arange(graph.weights.size)
    first = happens & (connections == graph.num_connections)
    second = happens & (connections == graph.num_connections + 1)
    graph = replace(
        graph,
        ids=jnp.where(here, node_id, graph.ids),
        places=jnp.where(here, place, graph.places),
        activations=jnp.where(here, graph.activations[ends[1]], graph.activations),
        is_node=graph.is_node | here,
        enabled=graph.enabled & ~(happens & (connections == connection)),
    )
    graph = _with_connection(graph, first, source, node_id, 1.0)
    return _with_connection(graph, second, node_id, target, weight)


def _named(source: IntScalar, target: IntScalar) -> tuple[IntScalar, Scalar]:
    """The id, at least 2^30, and the share of the node between two ends: the rounds of MurmurHash3 (Appleby 2011)."""
    mixed = source.astype(jnp.uint32) * jnp.uint32(0x9E3779B1) + target.astype(jnp.uint32)
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(factor)
    mixed ^= mixed >> 16
    share = 0.25 + 0.5 * (mixed & 0xFFFF).astype(float) / 2**16
    return ((mixed >> 2) | jnp.uint32(1 << 30)).astype(jnp.int32), share


def pick(chance: Scalar, allowed: Bool[Array, " any"]) -> tuple[IntScalar, BoolScalar]:
    """One of the allowed positions, all alike for a chance uniform in [0, 1), and whether there is any."""
    counts = jnp.cumsum(allowed, dtype=jnp.int32)
    rank = jnp.minimum(jnp.floor(chance * counts[-1].astype(chance.dtype)).astype(jnp.int32), counts[-1] - 1)
    return jnp.sum(counts <= rank, dtype=jnp.int32), counts[-1] > 0


def normal(chance: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Standard normal numbers from uniform ones."""
    return math.sqrt(2) * jax.lax.erf_inv(2 * chance - 1)


def _without(graph: Graph, columns: tuple[str, ...], row: IntScalar, happens: BoolScalar) -> Graph:
    """A row less in one of the tables: the last that exists takes its place, so that those that exist come first."""
    exists = getattr(graph, columns[-1])
    rows, last = jnp.arange(exists.size), jnp.sum(exists) - 1
    here, emptied = happens & (rows == row), happens & (rows == last)
    moved = {name: jnp.where(here, getattr(graph, name)[last], getattr(graph, name)) for name in columns}
    return replace(graph, **moved | {columns[-1]: exists & ~emptied})


def _with_connection(
    graph: Graph, here: Bool[Array, " connection"], source: IntScalar, target: IntScalar, weight: Scalar | float
) -> Graph:
    return replace(
        graph,
        sources=jnp.where(here, source, graph.sources),
        targets=jnp.where(here, target, graph.targets),
        weights=jnp.where(here, weight, graph.weights),
        enabled=graph.enabled | here,
        is_connection=graph.is_connection | here,
    )
