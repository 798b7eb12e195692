"""Graphs as patterns over space: pictures (CPPN) and the weights of another network (HyperNEAT)."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etm_jax.graphs._forward import apply_graph
from etm_jax.graphs._genome import Graph

PICTURE_INPUTS = 3  # across, down, distance from the middle


def paint(
    graph: Graph, height: int, width: int, activations: tuple[str, ...], num_channels: int = 1
) -> Float[Array, "height width channel"]:
    """The picture of a compositional pattern-producing network (Stanley 2007): the outputs at every pixel.

    Args:
        graph: feed-forward, of `PICTURE_INPUTS` inputs: across and down from -1 to 1, and the distance from the middle.
        height: pixels.
        width: pixels.
        activations: as for `apply_graph`.
        num_channels: outputs of the graph, such as 3 for colours.

    Example:
        >>> import jax
        >>> from etm_jax.graphs import minimal_graph, paint
        >>> graph = minimal_graph(jax.random.key(0), num_inputs=3, num_outputs=1, max_nodes=8, max_connections=16)
        >>> paint(graph, 4, 6, ("sine", "gaussian")).shape
        (4, 6, 1)
    """
    down, across = jnp.meshgrid(jnp.linspace(-1, 1, height), jnp.linspace(-1, 1, width), indexing="ij")
    pixels = jnp.stack([across, down, jnp.hypot(across, down)], axis=-1).reshape(-1, PICTURE_INPUTS)
    return apply_graph(graph, pixels, num_channels, activations).reshape(height, width, num_channels)


def pattern_weights(
    graph: Graph,
    sources: Float[Array, "source dimension"],
    targets: Float[Array, "target dimension"],
    activations: tuple[str, ...],
    *,
    num_patterns: int = 1,
    reach: float = 0.1,
    least: float = 0.2,
    greatest: float = 5.0,
) -> Float[Array, "pattern target source"]:
    """Weights between nodes that have places, by a graph of these places: HyperNEAT (Stanley, D'Ambrosio, Gauci 2009).

    The graph is shown the place of the source, that of the target, and their nearness, `exp(-(distance / reach)^2)`:
    neighbours are what patterns most often join (Verbancsics and Stanley 2011), and no linear sum of places tells
    them. An output of size up to `least` makes no connection; the rest up to 1 is stretched to weights up to
    `greatest`.

    Args:
        graph: feed-forward, of `2 * dimension + 1` inputs.
        sources: places, best within -1 to 1.
        targets: places.
        activations: as for `apply_graph`.
        num_patterns: outputs of the graph, each a pattern of its own over the same places: for the connections
            between different pairs of layers.
        reach: distance at which the nearness has fallen to 0.37.
        least: output from which on there is a connection.
        greatest: size of a weight.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs import minimal_graph, pattern_weights
        >>> graph = minimal_graph(jax.random.key(0), num_inputs=3, num_outputs=1, max_nodes=8, max_connections=16)
        >>> pattern_weights(graph, jnp.zeros((4, 1)), jnp.ones((2, 1)), ("tanh",)).shape
        (1, 2, 4)
    """
    pairs = jnp.broadcast_arrays(sources[None], targets[:, None])
    apart = jnp.sum(jnp.square(pairs[0] - pairs[1]), axis=-1, keepdims=True)
    asked = jnp.concatenate([*pairs, jnp.exp(-apart / reach**2)], axis=-1)
    told = apply_graph(graph, asked.reshape(-1, asked.shape[-1]), num_patterns, activations)
    size = jnp.clip((jnp.abs(told) - least) / (1 - least), 0, 1) * greatest
    return (jnp.sign(told) * size).T.reshape(num_patterns, targets.shape[0], sources.shape[0])


def substrate_weights(
    graph: Graph,
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    activations: tuple[str, ...],
    *,
    reach: float = 0.1,
    least: float = 0.2,
    greatest: float = 5.0,
) -> Float[Array, "targets sources"]:
    """The weights of one layer between groups of nodes, each pair of groups by a pattern of its own.

    A substrate of several planes (Pugh and Stanley 2013): groups are told apart by which output of the graph is asked,
    nodes of a group by their places. A graph that has one connection, from the nearness to one output, joins two
    groups node by node, however many nodes they have.

    Args:
        graph: feed-forward, of `2 * dimension + 1` inputs and `len(sources) * len(targets)` outputs, those of the
            first group of sources first.
        sources: groups of places, `[node, dimension]` each; known when the program is traced.
        targets: groups of places.
        activations: as for `apply_graph`.
        reach: as for `pattern_weights`; about a third of the distance of neighbours tells them apart.
        least: as for `pattern_weights`.
        greatest: as for `pattern_weights`.

    Raises:
        ValueError: there is no group, or places are not of one dimension.

    Example:
        >>> import jax, numpy as np
        >>> from etm_jax.graphs import minimal_graph, substrate_weights
        >>> line, point = np.linspace(-1, 1, 4)[:, None], np.zeros((1, 1))
        >>> graph = minimal_graph(jax.random.key(0), num_inputs=3, num_outputs=4, max_nodes=8, max_connections=16)
        >>> substrate_weights(graph, [line, point], [line, point], ("tanh",)).shape
        (5, 5)
    """
    dimensions = {np.shape(places)[1:] for places in (*sources, *targets)}
    if not sources or not targets or len(dimensions) != 1:
        raise ValueError(f"sources and targets must be groups of places of one dimension, got {dimensions}")
    # Groups share places, so each place is asked about once.
    (seen, source_at), (told, target_at) = (
        np.unique(np.concatenate(groups), axis=0, return_inverse=True) for groups in (sources, targets)
    )
    source_group, target_group = (np.repeat(np.arange(len(each)), list(map(len, each))) for each in (sources, targets))
    patterns = pattern_weights(
        graph,
        jnp.asarray(seen, float),
        jnp.asarray(told, float),
        activations,
        num_patterns=len(sources) * len(targets),
        reach=reach,
        least=least,
        greatest=greatest,
    )
    which = source_group[None] * len(targets) + target_group[:, None]
    return patterns[which, target_at.reshape(-1, 1), source_at.reshape(1, -1)]
