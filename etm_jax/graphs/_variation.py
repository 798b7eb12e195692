"""A child of two graphs, or of one: crossover, then every mutation. Graphs that split the same connection get the same
node.

All chances are drawn at once, independent and uniform in (0, 1): each further draw would cost half a second of
compilation.
"""

import math
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from etm_jax._require import is_number, require, require_not_negative, require_share
from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar, pytree
from etm_jax.graphs._genome import CONNECTION_COLUMNS, INPUT_PLACE, NODE_COLUMNS, OUTPUT_PLACE, Graph, positions_of

HALF_STEP = 2.0**-24  # of uniform numbers, which are multiples of 2^-23
# Fields of rates, NEAT's included, that are no probabilities or shares.
SIZES = "perturb_scale", "replace_scale", "weight_limit", "excess_weight", "difference_weight", "radius"
SIZES += "target_species", "patience"


@pytree
class GraphRates:
    """How often and how much a child's graph changes; plain numbers, or traced ones.

    The defaults are those of NEAT's benchmarks here, which solve XOR and parity: few structural changes, since species
    protect them, and no lost connections, as in the paper.

    Attributes:
        perturb_rate: probability that a weight gets noise.
        perturb_scale: standard deviation of that noise.
        replace_rate: probability that a weight is redrawn.
        replace_scale: standard deviation of new weights.
        weight_limit: largest absolute weight.
        toggle_rate: probability that one connection of a graph is switched on or off.
        add_connection_rate: probability that a graph gets a connection.
        remove_connection_rate: probability that a graph loses one; the paper's graphs never do.
        add_node_rate: probability that a graph's connection is split.
        activation_rate: probability that a node gets another function, where there are several.
        stays_disabled: probability that a connection is disabled in the child of two parents if it is in one of them.
        stays_disabled_in_both: the same if it is in both. NEAT's paper gives one probability, 0.75, "if it was disabled
            in either parent"; its program never switches on what is off in both, which is the default here.
    """

    perturb_rate: float = 0.8
    perturb_scale: float = 0.5
    replace_rate: float = 0.1
    replace_scale: float = 1.0
    weight_limit: float = 30.0
    toggle_rate: float = 0.02
    add_connection_rate: float = 0.2
    remove_connection_rate: float = 0.0
    add_node_rate: float = 0.05
    activation_rate: float = 0.0
    stays_disabled: float = 0.75
    stays_disabled_in_both: float = 1.0

    def check(self, prefix: str = "") -> None:
        """Refuse rates outside their ranges; traced ones are unknown, and pass.

        Args:
            prefix: of the names in messages.

        Raises:
            ValueError: a probability or share is outside [0, 1], or another number is negative.
        """
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if is_number(value):
                (require_not_negative if name in SIZES else require_share)(prefix + name, float(value))
            else:
                require(hasattr(value, "dtype"), prefix + name, "a number", value)


def uniform(key: Key, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Uniform numbers in the middles of their steps, so that none is 0. The key is consumed."""
    return jax.random.uniform(key, shape) + HALF_STEP


def num_chances(max_connections: int) -> int:
    """Uniform numbers that `vary` takes."""
    return sum(_sizes(max_connections))


def offspring(
    key: Key,
    fitter: Graph,
    other: Graph,
    mates: BoolScalar | bool,
    rates: GraphRates,
    num_functions: int,
    recurrent: bool,
) -> Graph:
    """`vary` with chances from a key, which is consumed."""
    chance = uniform(key, (num_chances(fitter.weights.size),))
    return vary(chance, fitter, other, mates, rates, num_functions, recurrent)


def vary(
    chance: Float[Array, " chance"],
    fitter: Graph,
    other: Graph,
    mates: BoolScalar | bool,
    rates: GraphRates,
    num_functions: int,
    recurrent: bool,
) -> Graph:
    """A child of two parents in tables of one length, or of the first alone.

    Args:
        chance: uniform in (0, 1), as many as `num_chances` says.
        fitter: the parent whose graph the child gets before it mutates.
        other: the parent that may give weights of connections that both have.
        mates: True = two parents; False = the other one is ignored.
        rates: of variation.
        num_functions: that nodes may have.
        recurrent: connections may lead to any node but the inputs.
    """
    of_cross, of_weights, of_activation, of_loss, of_connection, of_node = jnp.split(
        chance, np.cumsum(_sizes(fitter.weights.size))[:-1].tolist()
    )
    graph = cross(of_cross.reshape(2, -1), fitter, other, mates, rates)
    graph = change_weights(of_weights, graph, rates)
    if num_functions > 1:
        graph = change_activation(of_activation, graph, rates, num_functions)
    # A loss comes before an addition, so that a full table still has room for the new connection.
    graph = remove_connection(of_loss, graph, rates)
    graph = add_connection(of_connection, graph, rates, recurrent)
    return add_node(of_node, graph, rates)


def _sizes(max_connections: int) -> list[int]:
    """Chances of each step of `vary`, in its order."""
    return [2 * max_connections, 2 * max_connections + 2, 3, 2, 3, 2]


def cross(
    chance: Float[Array, "2 connection"], fitter: Graph, other: Graph, mates: BoolScalar | bool, rates: GraphRates
) -> Graph:
    """The graph of the fitter parent; weights of connections that both have from either (Stanley and Miikkulainen
    2002, section 3.2).

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


def change_weights(chance: Float[Array, " twice_connections_plus_two"], graph: Graph, rates: GraphRates) -> Graph:
    """Noise on most weights, some redrawn, and perhaps one connection switched on or off."""
    size = graph.weights.size
    kind, noise = chance[:size], normal(chance[size : 2 * size])
    redrawn = kind < rates.replace_rate
    moved = ~redrawn & (kind < rates.replace_rate + rates.perturb_rate)
    weights = graph.weights + jnp.where(moved, rates.perturb_scale * noise, 0)
    weights = jnp.where(redrawn, rates.replace_scale * noise, weights)
    weights = jnp.clip(weights, -rates.weight_limit, rates.weight_limit)
    which = jnp.floor(chance[-1] * graph.num_connections.astype(chance.dtype)).astype(jnp.int32)
    toggled = (chance[-2] < rates.toggle_rate) & (jnp.arange(size) == which)
    return replace(
        graph, weights=jnp.where(graph.is_connection, weights, graph.weights), enabled=graph.enabled ^ toggled
    )


def change_activation(chance: Float[Array, "3"], graph: Graph, rates: GraphRates, num_functions: int) -> Graph:
    """With its probability, another function for one node that is not an input."""
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
    """With its probability, one connection less; hidden nodes that this leaves without any go, too."""
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
    innovations and in whatever generation; a graph that already has that node gets none.
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
    """An allowed position, each as likely for a chance uniform in [0, 1), and whether there is any."""
    counts = jnp.cumsum(allowed, dtype=jnp.int32)
    rank = jnp.minimum(jnp.floor(chance * counts[-1].astype(chance.dtype)).astype(jnp.int32), counts[-1] - 1)
    return jnp.sum(counts <= rank, dtype=jnp.int32), counts[-1] > 0


def normal(chance: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Standard normal numbers from uniform ones."""
    return math.sqrt(2) * jax.lax.erf_inv(2 * chance - 1)


def _without(graph: Graph, columns: tuple[str, ...], row: IntScalar, happens: BoolScalar) -> Graph:
    """One row less in one of the tables: the last existing row takes its place, so that existing rows stay in front."""
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
