"""A Neural Turing Machine over whole sequences: the scan, and the gradients of its weights after the scan.

Backpropagation through time would add to the weights' gradients at every step, and each time read and write arrays as
large as the weights. The cotangents of `NTMDrive` are those of the two products' results, so the loop keeps them, and
one product over all steps and sequences makes each gradient.
"""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Params
from etm_jax.cells._ntm import (
    NTMActive,
    NTMCarry,
    NTMDrive,
    NTMWeights,
    drive_of,
    initial_carry,
    join_weights,
    ntm_step,
    read_out,
)

Features = tuple[Float[Array, "batch time unit"], Float[Array, "batch time read width"]]


def ntm_unroll(
    params: Params,
    active: NTMActive,
    inputs: Float[Array, "*batch time input"],
    *,
    rematerialise: bool = False,
    at_once: int = 0,
    dtype: DTypeLike | None = None,
) -> tuple[Float[Array, "*batch time output"], Float[Array, "*batch time head slot"]]:
    """Run one sequence, or a batch of them, from the initial state.

    Give it a batch rather than `vmap` it: then the weights' gradients are sums over the batch from the start.

    Args:
        params: arrays laid out by `NTM_PARAMETERS`, zero where nothing exists.
        active: which entries of each axis exist.
        inputs: one row a step; one leading axis at most.
        rematerialise: cut the sequence into about sqrt(time) segments, store the state at their starts only, and
            compute a segment again when the backward pass comes to it. Memory then grows with the square root of the
            length, for the price of one more forward pass.
        at_once: sequences that run side by side, the others following in turn, so that their memories fit a cache; a
            divisor of the batch, or 0 for all.
        dtype: precision of the factors of a step's matrix products; None for the parameters' own. Addressing and
            sums keep the parameters' precision.

    Returns:
        The logits of every step, and the weightings of every head (read heads first) over the slots; no gradient
        flows through the weightings.

    Raises:
        ValueError: `at_once` does not divide the batch.
    """
    if inputs.ndim == 2:
        outputs = ntm_unroll(params, active, inputs[None], rematerialise=rematerialise, dtype=dtype)
        return jax.tree.map(lambda array: array[0], outputs)
    batch_size = inputs.shape[0]
    at_once = at_once or batch_size
    if batch_size % at_once:
        raise ValueError(f"at_once must divide the batch of {batch_size} sequences, got {at_once}; or 0 for all")
    weights = join_weights(params, dtype)

    def run(inputs: Float[Array, "batch time input"]) -> tuple[Array, Array]:
        (hidden, reads), weightings = features(rematerialise, weights, active, drive_of(params, inputs))
        return read_out(params, hidden, reads), weightings

    if at_once == batch_size:
        return run(inputs)
    parts = jax.lax.map(jax.checkpoint(run), inputs.reshape(-1, at_once, *inputs.shape[1:]))
    return jax.tree.map(lambda array: array.reshape(batch_size, *array.shape[2:]), parts)


def scan_batch(
    rematerialise: bool, weights: NTMWeights, active: NTMActive, drive: NTMDrive
) -> tuple[Features, Float[Array, "batch time head slot"]]:
    """The features of every step, and the weightings, of a batch of sequences."""

    def step(carry: NTMCarry, drive: NTMDrive):
        carry = ntm_step(weights, active, carry, drive)
        return carry, (carry.hidden, carry.reads, jax.lax.stop_gradient(carry.weightings))

    def one(drive: NTMDrive):
        start = initial_carry(active, drive.gates.dtype)
        return (in_segments if rematerialise else jax.lax.scan)(step, start, drive)[1]

    hidden, reads, weightings = jax.vmap(one)(drive)
    return (hidden, reads), weightings


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


features = jax.custom_vjp(scan_batch, nondiff_argnums=(0,))


def _features_forward(rematerialise: bool, weights: NTMWeights, active: NTMActive, drive: NTMDrive):
    run = lambda drive: scan_batch(rematerialise, weights, active, drive)  # noqa: E731
    (hidden, reads), back, weightings = jax.vjp(run, drive, has_aux=True)
    return ((hidden, reads), weightings), (weights, active, hidden, reads, back)


def _features_backward(rematerialise: bool, kept, cotangents):
    del rematerialise
    weights, active, hidden, reads, back = kept
    (drive,) = back(cotangents[0])
    start = initial_carry(active, hidden.dtype)
    sources = jnp.concatenate([before(start.reads, reads), before(start.hidden, hidden)], axis=-1)
    recurrent, interface = (
        jnp.tensordot(source, target, 2 * (((0, 1)),)).astype(kernel.dtype)
        for source, target, (kernel, _) in (
            (sources, drive.gates, weights.recurrent),
            (hidden, drive.interface, weights.interface),
        )
    )
    zeros = jax.tree.map(jnp.zeros_like, weights)
    gradient = replace(zeros, recurrent=(recurrent, zeros.recurrent[1]), interface=(interface, zeros.interface[1]))
    return gradient, None, drive


def before(start: Float[Array, "*feature"], rows: Float[Array, "batch time *feature"]) -> Float[Array, "batch time _"]:
    """The flat features of the step before each step."""
    first = jnp.broadcast_to(start, (rows.shape[0], 1, *start.shape))
    shifted = jnp.concatenate([first, rows[:, :-1]], axis=1)
    return shifted.reshape(*rows.shape[:2], -1)


features.defvjp(_features_forward, _features_backward)
