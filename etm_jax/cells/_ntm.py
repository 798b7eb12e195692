"""The Neural Turing Machine cell of Graves et al. 2014 (arXiv 1410.5401), with an LSTM controller.

Written for one sequence of one network at padded shape; the caller vmaps. The order within a step, which the paper
leaves open: every head addresses the memory of the step before, the write heads write (erase, then add), and the read
heads read what has just been written.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Params, pytree
from etm_jax.cells._addressing import circular_shift, content_weighting, masked_softmax, sharpen
from etm_jax.cells._memory import write_then_read
from etm_jax.cells._ntm_parameters import GATE, GATES, SHARPENING, SHIFT

INITIAL_MEMORY = 1e-6  # Collier & Beel 2018 (arXiv 1807.08518): a small constant learns fastest
CANDIDATE = 2  # its place among the gates
INTERFACE_LIMIT = 20.0  # bounds strength and sharpening, so that no exponential overflows


@pytree
class NTMActive:
    """Which entries of each axis exist. True = exists; the existing entries of `slot` come first."""

    unit: Bool[Array, "*batch unit"]
    slot: Bool[Array, "*batch slot"]
    width: Bool[Array, "*batch width"]
    read: Bool[Array, "*batch read"]
    write: Bool[Array, "*batch write"]
    location: Bool[Array, "*batch location"]

    @property
    def head(self) -> Bool[Array, " head"]:
        """The read heads, then the write heads."""
        return jnp.concatenate([self.read, self.write])


@pytree
class NTMCarry:
    """What a Neural Turing Machine remembers from one step to the next."""

    hidden: Float[Array, "*batch unit"]
    cell: Float[Array, "*batch unit"]
    memory: Float[Array, "*batch width slot"]
    weightings: Float[Array, "*batch head slot"]
    reads: Float[Array, "*batch read width"]


@pytree
class NTMWeights:
    """The weights of a step, joined so that a step makes two matrix products with them.

    Each kernel comes with its transpose, made once a sequence: the backward pass multiplies by it at every step.
    """

    recurrent: tuple[Float[Array, "*batch read_width_and_unit gate_unit"], Float[Array, "*batch gate_unit _"]]
    interface: tuple[Float[Array, "*batch unit interface"], Float[Array, "*batch interface unit"]]


@pytree
class NTMDrive:
    """What is added to a step's two products: the inputs' part of the gates, and the biases."""

    gates: Float[Array, "*batch gate_unit"]
    interface: Float[Array, "*batch interface"]


def join_weights(params: Params, dtype: DTypeLike | None = None) -> NTMWeights:
    """Join the arrays that one product can use together; done once a sequence, outside its loop.

    With a `dtype`, such as bfloat16, the products of a step read their factors at that precision and add up at the
    parameters' own.
    """
    controller, heads, write = params["controller"], params["heads"], params["write"]
    num_units = controller["bias"].shape[-1]
    read_kernel, recurrent = controller["read_kernel"], controller["recurrent_kernel"]
    joined = jnp.concatenate([kernel.reshape(-1, GATES * num_units) for kernel in (read_kernel, recurrent)])
    parts = (heads["key_kernel"], heads["strength_kernel"], heads["location_kernel"])
    parts += (write["erase_kernel"], write["add_kernel"])
    interface = jnp.concatenate([part.reshape(num_units, -1) for part in parts], axis=-1)
    joined, interface = (kernel.astype(dtype or kernel.dtype) for kernel in (joined, interface))
    return NTMWeights(recurrent=(joined, joined.T), interface=(interface, interface.T))


def drive_of(params: Params, inputs: Float[Array, "*lead input"]) -> NTMDrive:
    """The drive of one step or of many, from their inputs."""
    controller, heads, write = params["controller"], params["heads"], params["write"]
    kernel = controller["input_kernel"].reshape(inputs.shape[-1], -1)
    biases = (heads["key_bias"], heads["strength_bias"], heads["location_bias"], write["erase_bias"], write["add_bias"])
    interface = jnp.concatenate([bias.reshape(-1) for bias in biases])
    return NTMDrive(
        gates=add_last(inputs @ kernel, controller["bias"].reshape(-1)),
        interface=jnp.broadcast_to(interface, (*inputs.shape[:-1], interface.size)),
    )


@jax.custom_vjp
def product(
    row: Float[Array, " source"], kernel: Float[Array, "source target"], transposed: Float[Array, "target source"]
) -> Float[Array, " target"]:
    """`row @ kernel` at the kernel's precision, summed at the row's; its gradient multiplies by `transposed`.

    A product with a kernel that lies the other way in memory takes twice as long, so the turning is not left to it.
    """
    del transposed
    return jnp.dot(row.astype(kernel.dtype), kernel, preferred_element_type=row.dtype)


def _product_forward(row: Array, kernel: Array, transposed: Array) -> tuple[Array, tuple[Array, ...]]:
    return product(row, kernel, transposed), (row, kernel, transposed)


def _product_backward(factors: tuple[Array, ...], cotangent: Array) -> tuple[Array, Array, None]:
    row, kernel, transposed = factors
    return product(cotangent, transposed, kernel), jnp.outer(row, cotangent).astype(kernel.dtype), None


product.defvjp(_product_forward, _product_backward)


def initial_carry(active: NTMActive, dtype: jnp.dtype) -> NTMCarry:
    """The state before the first step: constant memory, every head on slot 0, nothing read."""
    num_slots, width = active.slot.size, active.width.size
    first_slot = jnp.arange(num_slots) == 0
    exists = active.width[:, None] & active.slot[None, :]
    return NTMCarry(
        hidden=jnp.zeros(active.unit.size, dtype),
        cell=jnp.zeros(active.unit.size, dtype),
        memory=jnp.where(exists, INITIAL_MEMORY, 0.0).astype(dtype),
        weightings=(active.head[:, None] & first_slot[None, :]).astype(dtype),
        reads=jnp.zeros((active.read.size, width), dtype),
    )


def address(
    interface: tuple[Float[Array, "head width"], Float[Array, " head"], Float[Array, "head location"]],
    active: NTMActive,
    memory: Float[Array, "width slot"],
    previous: Float[Array, "head slot"],
) -> Float[Array, "head slot"]:
    """The weighting of every head over the slots, from the key, strength and location fields it emitted."""
    key, strength, location = interface
    head_exists = active.head[:, None]
    weighting = content_weighting(key, jax.nn.softplus(strength), memory, active.slot)
    if location.shape[-1] == 0:
        return weighting * head_exists
    gate = jax.nn.sigmoid(location[:, GATE, None])
    sharpening = 1 + jax.nn.softplus(location[:, SHARPENING])
    shift = masked_softmax(location[:, SHIFT:], active.location[SHIFT:])
    located = gate * weighting + (1 - gate) * previous  # Graves 2014, eq. 7
    located = sharpen(circular_shift(located, shift, active.slot), sharpening, active.slot)
    return jnp.where(active.location[GATE], located, weighting) * head_exists


def ntm_step(weights: NTMWeights, active: NTMActive, carry: NTMCarry, drive: NTMDrive) -> NTMCarry:
    """One step of the machine.

    Args:
        weights: from `join_weights`; zero wherever `active` says that nothing exists.
        active: which entries of each axis exist.
        carry: the state after the step before.
        drive: the step's own, from `drive_of`.

    Returns:
        The state after the step; its `hidden` and `reads` make the output.
    """
    num_heads, (num_writes,), width = active.head.size, active.write.shape, active.width.size
    gates = drive.gates + product(jnp.concatenate([carry.reads.reshape(-1), carry.hidden]), *weights.recurrent)
    # One sigmoid over all, the candidate too, is one vectorised loop; one a gate takes XLA's CPU code twice the time.
    in_gate, forget_gate, _, out_gate = jnp.split(jax.nn.sigmoid(gates), GATES)
    cell = forget_gate * carry.cell + in_gate * jnp.tanh(jnp.split(gates, GATES)[CANDIDATE])
    hidden = out_gate * jnp.tanh(cell)

    interface = drive.interface + product(hidden, *weights.interface)
    interface = jnp.clip(interface, -INTERFACE_LIMIT, INTERFACE_LIMIT)
    num_fields = active.location.size
    ends, end = [], 0
    for size in (num_heads * width, num_heads, num_heads * num_fields, num_writes * width):
        end += size
        ends.append(end)
    key, strength, location, erase, add = jnp.split(interface, ends)
    fields = (key.reshape(num_heads, width), strength, location.reshape(num_heads, num_fields))
    # Recomputing the addressing in the backward pass is cheaper than storing every intermediate weighting.
    weightings = jax.checkpoint(address)(fields, active, carry.memory, carry.weightings)

    read_weightings, write_weightings = jnp.split(weightings, [active.read.size])
    erase = jax.nn.sigmoid(erase).reshape(num_writes, width)
    add = add.reshape(num_writes, width)
    memory, reads = write_then_read(carry.memory, write_weightings, read_weightings, erase, add)
    return NTMCarry(hidden=hidden, cell=cell, memory=memory, weightings=weightings, reads=reads)


def read_out(
    params: Params, hidden: Float[Array, "*time unit"], reads: Float[Array, "*time read width"]
) -> Float[Array, "*time output"]:
    """The output of a step or of many: `W_y [h ; r] + b`, as logits."""
    output = params["output"]
    from_reads = reads.reshape(*reads.shape[:-2], -1) @ output["read_kernel"].reshape(-1, output["bias"].size)
    return add_last(hidden @ output["controller_kernel"] + from_reads, output["bias"])


def add_last(array: Float[Array, "*lead channel"], bias: Float[Array, " channel"]) -> Float[Array, "*lead channel"]:
    """Add a bias along the last axis."""
    return array + bias.reshape((1,) * (array.ndim - 1) + (-1,))
