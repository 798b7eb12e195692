"""A network over whole sequences: the scan, and the gradients of its weights after the scan.

Backpropagation through time would add to the weights' gradients at every step, and each time read and write arrays as
large as the weights. The cotangents of `Drive` are those of the two products' results, so the loop keeps them, and one
product over all steps and sequences makes each gradient.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Params
from etm_jax.cells._cell import (
    Drive,
    Factors,
    Kernel,
    Step,
    Weights,
    cell_step,
    drive_of,
    join_weights,
    read_out,
    sources_of,
)
from etm_jax.cells._registry import initial_carry
from etm_jax.cells._spec import Active
from etm_jax.cells._weights import check_channels, num_channels_of


class HowToUnroll(TypedDict, total=False):
    """Settings of `cell_unroll` that change its costs, and results to rounding."""

    rematerialise: bool
    micro_batch: int
    dtype: DTypeLike | None


class Unrolled(NamedTuple):
    """What a network did over a sequence.

    Attributes:
        outputs: logits of every step.
        weightings: of every head, read heads first, over the slots; no gradient flows through them.
        ponder: the price of pondering of every step, `N + R`; 2 where a network does not ponder.
    """

    outputs: Float[Array, "*batch time output"]
    weightings: Float[Array, "*batch time head slot"]
    ponder: Float[Array, "*batch time"]


def cell_unroll(
    params: Params,
    active: Active,
    inputs: Float[Array, "*batch time input"],
    *,
    rematerialise: bool = False,
    micro_batch: int = 0,
    dtype: DTypeLike | None = None,
) -> Unrolled:
    """Run one sequence, or a batch of them, from the initial state.

    Every evaluation of whole sequences comes through here, of padded genomes and of compact networks alike: `params`
    and `active` say all about a network, and `active.spec` which kinds it may be of.

    Give it a batch rather than `vmap` it: then the weights' gradients are sums over the batch from the start.

    Args:
        params: arrays laid out by `PARAMETERS`, zero where nothing exists.
        active: which entries of each axis exist.
        inputs: one row a step; one leading axis at most.
        rematerialise: cut the sequence into about sqrt(time) segments, store the state at their starts only, and
            compute a segment again when the backward pass comes to it. Memory then grows with the square root of the
            length, for the price of one more forward pass.
        micro_batch: sequences that run side by side, the others following in turn, so that their memories fit a cache;
            a divisor of the batch, or 0 for all.
        dtype: precision of the factors of a step's matrix products; None for the parameters' own. Addressing and
            sums keep the parameters' precision.

    Returns:
        Outputs, weightings and the price of pondering, of every step.

    Raises:
        ValueError: the inputs have another number of channels than the network, or `micro_batch` does not divide the
            batch.
    """
    check_channels(inputs.shape, num_channels_of(params, active.spec))
    if inputs.ndim == 2:
        results = cell_unroll(params, active, inputs[None], rematerialise=rematerialise, dtype=dtype)
        return jax.tree.map(lambda array: array[0], results)
    batch_size = inputs.shape[0]
    micro_batch = micro_batch or batch_size
    if batch_size % micro_batch:
        raise ValueError(
            f"micro_batch must divide the batch of {batch_size} sequences, got {micro_batch}; or 0 for all"
        )
    weights = join_weights(params, active, dtype)
    # Controllers with arrays of their own use them in many places, so these gradients are summed up in the loop.
    steps_of = scan_batch if weights.own else run_steps

    def run(inputs: Float[Array, "batch time input"]) -> Unrolled:
        steps = steps_of(rematerialise, weights, active, drive_of(params, active, inputs))
        return Unrolled(read_out(params, steps.hidden, steps.reads), steps.weightings, steps.ponder)

    if micro_batch == batch_size:
        return run(inputs)
    parts = jax.lax.map(jax.checkpoint(run), inputs.reshape(-1, micro_batch, *inputs.shape[1:]))
    return jax.tree.map(lambda array: array.reshape(batch_size, *array.shape[2:]), parts)


def scan_batch(rematerialise: bool, weights: Weights, active: Active, drive: Drive) -> Step:
    """What every step of a batch of sequences leaves behind, with axes batch and time in front."""

    def one(drive: Drive) -> Step:
        start = initial_carry(active, drive.gates.dtype)
        scan = in_segments if rematerialise else jax.lax.scan
        return scan(lambda carry, row: cell_step(weights, active, carry, row), start, drive)[1]

    return jax.vmap(one)(drive)


def in_segments(step, start, rows):
    """`jax.lax.scan` that stores the carry of about sqrt(length) steps for the backward pass."""
    length = jax.tree.leaves(rows)[0].shape[0]
    size = max(math.isqrt(length), 1)
    count = -(-length // size)
    # Steps beyond the end: what they compute is cut off.
    rows = jax.tree.map(lambda row: jnp.pad(row, ((0, count * size - length), *[(0, 0)] * (row.ndim - 1))), rows)
    rows = jax.tree.map(lambda row: row.reshape(count, size, *row.shape[1:]), rows)
    segment = jax.checkpoint(lambda carry, rows: jax.lax.scan(step, carry, rows))
    carry, results = jax.lax.scan(segment, start, rows)
    return carry, jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:length], results)


run_steps = jax.custom_vjp(scan_batch, nondiff_argnums=(0,))


class Kept(NamedTuple):
    """What the backward pass needs."""

    weights: Weights
    active: Active
    hidden: Float[Array, "batch time unit"]
    reads: Float[Array, "batch time read width"]
    factors: Factors | None
    back: Callable[[Step], tuple[Drive]]


def _forward(rematerialise: bool, weights: Weights, active: Active, drive: Drive) -> tuple[Step, Kept]:
    steps, back = jax.vjp(lambda drive: scan_batch(rematerialise, weights, active, drive), drive)
    return steps, Kept(weights, active, steps.hidden, steps.reads, steps.factors, back)


def _backward(rematerialise: bool, kept: Kept, cotangents: Step) -> tuple[Weights, None, Drive]:
    del rematerialise
    (drive,) = kept.back(cotangents)
    factors, weights = kept.factors, kept.weights
    if factors is None:  # without pondering they can be had from what the steps left behind, and need no storing
        start = initial_carry(kept.active, kept.hidden.dtype)
        hidden, reads = before(start.hidden, kept.hidden), before(start.reads, kept.reads)
        factors = Factors(sources_of(kept.active, hidden, reads), kept.hidden)

    def gradient(source: Array, target: Array, kernel: Kernel) -> Kernel:
        steps = tuple(range(source.ndim - 1))
        summed = jnp.tensordot(source, target, (steps, steps)).astype(kernel.forward.dtype)
        return Kernel(summed, jnp.zeros_like(kernel.backward))

    by_weights = replace(
        jax.tree.map(jnp.zeros_like, weights),
        recurrent=gradient(factors.recurrent, drive.gates, weights.recurrent),
        interface=gradient(factors.interface, drive.interface, weights.interface),
    )
    return by_weights, None, drive


def before(
    start: Float[Array, "*feature"], rows: Float[Array, "batch time *feature"]
) -> Float[Array, "batch time *feature"]:
    """The features of the step before each step."""
    first = jnp.broadcast_to(start, (rows.shape[0], 1, *start.shape))
    return jnp.concatenate([first, rows[:, :-1]], axis=1)


run_steps.defvjp(_forward, _backward)
