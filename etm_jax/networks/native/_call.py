"""The kernel as a differentiable JAX function of one individual, in place of `cell_unroll`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.struct import field
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Params, pytree
from etm_jax.cells import CellSpec, Unrolled
from etm_jax.cells._cell import NO_PONDERING
from etm_jax.cells._weights import check_channels
from etm_jax.networks.native._layout import Layout, Passes, genes_of, layout_for, passes_of

MOST_LENGTHS = 3  # of vectors for live weights: that of the largest individual, a half and a quarter
LEAST_LENGTH = 2**12  # below which a shorter one saves nothing


@pytree
class LiveWeights:
    """The weights of one individual that exist, as one vector in the kernel's order (`live_of` in layout.h).

    Attributes:
        vector: behind the weights, and where a GRU has none, it is 0, and so is its gradient.
        layout: of the networks that the individual is one of.
    """

    vector: Float[Array, " live"]
    layout: Layout = field(pytree_node=False)


def native_unroll(
    architecture: Any,
    params: Params,
    inputs: Float[Array, "*batch time input"],
    spec: CellSpec,
    sizes: Mapping[str, int],
    *,
    rematerialise: bool = False,
) -> Unrolled:
    """`cell_unroll` of one individual at its live sizes.

    Under `vmap` individuals run one after the other. There is no forward-mode derivative.

    Args:
        architecture: the genes of one individual, an attribute each of `GENES`.
        params: its weights at padded shape, float32; what does not exist is not read, and its gradient is 0.
        inputs: one row a step, float32; one leading axis at most.
        spec: the kinds that may occur, of which the individual's must be served.
        sizes: padded length of every axis, from `axis_sizes`.
        rematerialise: keep the state of about sqrt(time) steps for the backward pass, and run the others again. Done
            anyway where more than `MOST_TRACE_BYTES` would be kept.

    Returns:
        As `cell_unroll`. The weightings cost one more forward pass where they are used.

    Raises:
        ValueError: there is no kernel for this, or an array has another number of channels or another dtype.
    """
    check_channels(inputs.shape, sizes["input"])
    require_float32(params)
    return live_unroll(
        architecture, live_weights(architecture, params, spec, sizes), inputs, rematerialise=rematerialise
    )


def live_weights(architecture: Any, params: Params, spec: CellSpec, sizes: Mapping[str, int]) -> LiveWeights:
    """The weights that exist, of one individual at padded shape; arguments and errors as of `native_unroll`."""
    return gathered(layout_for(spec, sizes), architecture, params)


def at_live_size(
    function: Callable[[LiveWeights, Bool[Array, " live"]], tuple[LiveWeights, Any]],
    architecture: Any,
    params: Params,
    spec: CellSpec,
    sizes: Mapping[str, int],
) -> tuple[Params, Any]:
    """Apply a function to one individual's live weights, in a vector at most about twice as long as there are weights.

    Args:
        function: from live weights, and which places hold one, to others in the same places, and anything. It is
            compiled for each of a few lengths, so it must not be under `vmap`, which would run all of them.
        architecture: the genes of one individual, an attribute each of `GENES`.
        params: weights at padded shape, float32.
        spec: the kinds that may occur, of which the individual's must be served.
        sizes: padded length of every axis, from `axis_sizes`.

    Returns:
        Weights at padded shape, 0 where none exists, arrays of kinds not served as they were; and the rest of what the
        function returns.
    """
    whole = live_weights(architecture, params, spec, sizes).vector
    layout, genes = layout_for(spec, sizes), genes_of(architecture)
    exists, used = _call("etm_places", [_of((layout.live,), bool), _of((1,), jnp.int32)], layout, (genes,))

    def at(length: int) -> tuple[Array, Any]:
        live, rest = function(LiveWeights(whole[:length], layout), exists[:length])
        return jnp.pad(live.vector, (0, layout.live - length)), rest

    lengths = live_lengths(layout.live)
    least = jnp.searchsorted(np.asarray(lengths, np.int32), used[0])
    vector, rest = jax.lax.switch(least, [functools.partial(at, length) for length in lengths])
    arrays = _scattered(layout, genes, vector)
    blocks = {block: dict(part) for block, part in params.items()}
    for (block, name), array in zip(layout.arrays, arrays, strict=True):
        blocks[block][name] = array
    return blocks, rest


def live_lengths(most: int) -> list[int]:
    """Lengths of vectors for live weights, each half the next; few, since each is compiled for."""
    lengths = [most]
    while len(lengths) < MOST_LENGTHS and lengths[0] >= 2 * LEAST_LENGTH:
        lengths.insert(0, -(-lengths[0] // 2))
    return lengths


def live_unroll(
    architecture: Any, live: LiveWeights, inputs: Float[Array, "*batch time input"], *, rematerialise: bool = False
) -> Unrolled:
    """`native_unroll` from live weights."""
    require_float32(inputs)
    if inputs.ndim == 2:
        found = live_unroll(architecture, live, inputs[None], rematerialise=rematerialise)
        return jax.tree.map(lambda array: array[0], found)
    layout, genes = live.layout, genes_of(architecture)
    passes = passes_of(layout, *inputs.shape[:2], rematerialise=rematerialise)
    shape = (*inputs.shape[:2], *layout.heads_and_slots)
    # A call of its own, which XLA drops where no weighting is used.
    read = jax.lax.stop_gradient((live.vector, inputs))
    (weightings,) = _call("etm_weightings", [_of(shape)], layout, (genes, *read), passes)
    return Unrolled(
        outputs=_outputs(layout, passes, genes, live.vector, inputs),
        weightings=weightings,
        ponder=jnp.full(inputs.shape[:2], NO_PONDERING, jnp.float32),
    )


def require_float32(tree: Any) -> None:
    """Raise ValueError unless all arrays are float32."""
    wrong = {str(array.dtype) for array in jax.tree.leaves(tree)} - {"float32"}
    if wrong:
        raise ValueError(f"the native kernel takes float32 arrays, got {', '.join(sorted(wrong))}; convert them")


def _of(shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _call(
    target: str,
    results: Sequence[jax.ShapeDtypeStruct],
    layout: Layout,
    arguments: Sequence[Array],
    passes: Passes | None = None,
) -> Sequence[Array]:
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    segment = {"segment": np.int64(passes.segment)} if passes else {}
    return call(*arguments, space=np.asarray(layout.space, np.int64), **segment)


# ---- live weights from padded arrays, and back: each is the other's transpose ------------------------------------


def gathered(layout: Layout, architecture: Any, params: Params) -> LiveWeights:
    """`live_weights` with everything static worked out."""
    arrays = tuple(params[block][name] for block, name in layout.arrays)
    return LiveWeights(_gathered(layout, genes_of(architecture), arrays), layout)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gathered(layout: Layout, genes: Int[Array, " gene"], arrays: tuple[Array, ...]) -> Float[Array, " live"]:
    (vector,) = _call("etm_gather", [_of((layout.live,))], layout, (genes, *arrays))
    return vector


def _scattered(layout: Layout, genes: Int[Array, " gene"], vector: Float[Array, " live"]) -> tuple[Array, ...]:
    return tuple(_call("etm_scatter", [_of(shape) for shape in layout.shapes], layout, (genes, vector)))


_gathered.defvjp(
    lambda layout, genes, arrays: (_gathered(layout, genes, arrays), genes),
    lambda layout, genes, cotangent: (None, _scattered(layout, genes, cotangent)),
)


# ---- outputs and their gradients ----------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _outputs(
    layout: Layout,
    passes: Passes,
    genes: Int[Array, " gene"],
    vector: Float[Array, " live"],
    inputs: Float[Array, "batch time input"],
) -> Float[Array, "batch time output"]:
    (outputs,) = _call("etm_forward", [_output(layout, inputs)], layout, (genes, vector, inputs), passes)
    return outputs


def _output(layout: Layout, inputs: Array) -> jax.ShapeDtypeStruct:
    return _of((*inputs.shape[:2], layout.shapes[-1][-1]))  # the last array is the output's bias


def _forward(layout: Layout, passes: Passes, *arguments: Array) -> tuple[Array, Any]:
    results = [_output(layout, arguments[-1]), _of((passes.kept,))]
    outputs, kept = _call("etm_forward", results, layout, arguments, passes)
    return outputs, (*arguments, kept)


def _backward(layout: Layout, passes: Passes, saved: Any, cotangent: Array) -> tuple[None, Array, Array]:
    _, vector, inputs, _ = saved
    results = [_of(inputs.shape), _of(vector.shape)]
    by_inputs, by_vector = _call("etm_backward", results, layout, (*saved, cotangent), passes)
    return None, by_vector, by_inputs


_outputs.defvjp(_forward, _backward)
