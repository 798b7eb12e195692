"""What a graph computes: layers as products of dense matrices, or one step after another with its state kept."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._require import require
from etm_jax.graphs._genome import BIAS, Graph, positions_of


def steep_sigmoid(x: Array) -> Array:
    """The sigmoid of 4.9 x (Stanley and Miikkulainen 2002, section 4.1)."""
    return jax.nn.sigmoid(4.9 * x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": steep_sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "identity": lambda x: x,
    "sine": lambda x: jnp.sin(jnp.pi * x),
    "gaussian": lambda x: jnp.exp(-jnp.square(jnp.clip(x, -9, 9))),
    "absolute": jnp.abs,
}
DEFAULT_ACTIVATIONS = ("sigmoid",)  # the paper's


def check_activations(names: tuple[str, ...]) -> None:
    """Refuse unknown names, and none at all.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    known = bool(names) and all(name in ACTIVATIONS for name in names)
    require(known, "activations", f"some of {', '.join(ACTIVATIONS)}", names)


def activate(
    sums: Float[Array, "node *batch"], kinds: Int[Array, " node"], names: tuple[str, ...]
) -> Float[Array, "node *batch"]:
    """Each node's own function of its sums; `kinds` are indices into `names`."""
    kinds = kinds.reshape(-1, *(1,) * (sums.ndim - 1))
    found = ACTIVATIONS[names[0]](sums)
    for index, name in enumerate(names[1:], start=1):
        found = jnp.where(kinds == index, ACTIVATIONS[name](sums), found)
    return found


def weight_matrix(graph: Graph) -> Float[Array, "node node"]:
    """Weights by the positions of target and source; 0 where there is no enabled connection."""
    carries = graph.is_connection & graph.enabled
    size = graph.ids.size
    where = positions_of(graph, graph.targets) * size + positions_of(graph, graph.sources)
    flat = jnp.zeros(size * size).at[where].add(jnp.where(carries, graph.weights, 0))
    return flat.reshape(size, size)


def apply_graph(
    graph: Graph,
    inputs: Float[Array, "batch input"],
    num_outputs: int,
    activations: tuple[str, ...] = DEFAULT_ACTIVATIONS,
) -> Float[Array, "batch output"]:
    """Outputs of one feed-forward graph.

    All nodes are computed at once from all others until nothing changes: after as many passes as the graph has layers,
    since it has no cycles. A `vmap` over graphs takes as many passes as the deepest of them needs.

    Args:
        graph: one, with connections to higher places only; NaN among its weights would give NaN after as many
            passes as it has nodes.
        inputs: without the bias.
        num_outputs: of the graph.
        activations: the functions that `graph.activations` indexes, names of `ACTIVATIONS`.

    Raises:
        ValueError: inputs, bias and outputs are more than the graph has room for.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs import apply_graph, minimal_graph
        >>> graph = minimal_graph(jax.random.key(0), num_inputs=2, num_outputs=1, max_nodes=6, max_connections=8)
        >>> apply_graph(graph, jnp.ones((5, 2)), num_outputs=1).shape
        (5, 1)
    """
    seen = inputs.shape[1] + BIAS
    weights, size = weight_matrix(graph), graph.ids.size
    if seen + num_outputs > size:
        raise ValueError(
            f"inputs of {inputs.shape[1]} channels, the bias and {num_outputs} outputs are more than the {size} nodes "
            "that the graph has room for"
        )
    given = jnp.concatenate([inputs.T, jnp.ones((BIAS, inputs.shape[0]))])

    def layer(values: Array) -> Array:
        computed = activate(weights[seen:] @ values, graph.activations[seen:], activations)
        return jnp.concatenate([given, jnp.where(graph.is_node[seen:, None], computed, 0)])

    def changes(carry: tuple[Array, Array, Array]) -> Array:
        before, values, passes = carry
        return jnp.any(before != values) & (passes < size)

    start = jnp.concatenate([given, jnp.zeros((size - seen, inputs.shape[0]))])
    first = (start, layer(start), jnp.array(1))
    _, values, _ = jax.lax.while_loop(changes, lambda carry: (carry[1], layer(carry[1]), carry[2] + 1), first)
    return values[seen : seen + num_outputs].T


Step = Callable[[Array, Array], tuple[Array, Array]]


def graph_stepper(
    graph: Graph, num_inputs: int, num_outputs: int, activations: tuple[str, ...] = DEFAULT_ACTIVATIONS
) -> tuple[Float[Array, " node"], Step]:
    """One graph that may have cycles, as a recurrent cell: one pass a time step, and every node keeps its value.

    A signal takes as many steps to an output as its path has connections.

    Args:
        graph: one.
        num_inputs: without the bias.
        num_outputs: of the graph.
        activations: as for `apply_graph`.

    Returns:
        The values before the first step, all 0, and `step(values, inputs [input]) -> (values, outputs [output])`.
    """
    seen = num_inputs + BIAS
    weights = weight_matrix(graph)[seen:]

    def step(values: Array, row: Array) -> tuple[Array, Array]:
        if row.shape != (num_inputs,):
            raise ValueError(f"inputs must have shape [{num_inputs}], got {list(row.shape)}; vmap over further axes")
        given = jnp.concatenate([row, jnp.ones(BIAS)])
        sums = weights @ jnp.concatenate([given, values[seen:]])
        computed = activate(sums, graph.activations[seen:], activations)
        after = jnp.concatenate([given, jnp.where(graph.is_node[seen:], computed, 0)])
        return after, after[seen : seen + num_outputs]

    return jnp.zeros(graph.ids.size), step


def unroll_graph(
    graph: Graph,
    inputs: Float[Array, "time input"],
    num_outputs: int,
    activations: tuple[str, ...] = DEFAULT_ACTIVATIONS,
) -> Float[Array, "time output"]:
    """Outputs of one graph as a recurrent cell, `graph_stepper`, over a sequence.

    Args:
        graph: one.
        inputs: without the bias.
        num_outputs: of the graph.
        activations: as for `apply_graph`.
    """
    start, step = graph_stepper(graph, inputs.shape[1], num_outputs, activations)
    return jax.lax.scan(step, start, inputs)[1]
