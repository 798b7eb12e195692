"""One child of two graphs, or of one: crossover and every mutation, from uniform numbers drawn at once."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etm_jax._typing import BoolScalar, Key
from etm_jax.graphs._crossover import cross
from etm_jax.graphs._genome import Graph
from etm_jax.graphs._mutation import add_connection, add_node, change_activation, change_weights, remove_connection
from etm_jax.graphs._rates import GraphRates

HALF_STEP = 2.0**-24  # of uniform numbers, which are multiples of 2^-23


def uniform(key: Key, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Uniform numbers in the middles of their steps, so that none is 0. The key is consumed."""
    return jax.random.uniform(key, shape) + HALF_STEP


def num_chances(max_connections: int) -> int:
    """Uniform numbers that `vary` takes."""
    return sum(_sizes(max_connections))


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
        fitter: whose graph the child gets before it mutates.
        other: from whom come weights of connections that both have.
        mates: True = two parents; False = the other one does not matter.
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
    graph = remove_connection(of_loss, graph, rates)
    graph = add_connection(of_connection, graph, rates, recurrent)
    return add_node(of_node, graph, rates)


def _sizes(max_connections: int) -> list[int]:
    return [2 * max_connections, 2 * max_connections + 2, 3, 2, 3, 2]
