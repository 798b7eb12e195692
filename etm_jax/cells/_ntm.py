"""The Neural Turing Machine cell of Graves et al. 2014 (arXiv 1410.5401), with an LSTM controller.

Written for one sequence of one network at padded shape; the caller vmaps. The order within a step, which the paper
leaves open: every head addresses the memory of the step before, the write heads write (erase, then add), and the read
heads read what has just been written.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Params, pytree
from etm_jax.cells._addressing import circular_shift, content_weighting, masked_softmax, sharpen
from etm_jax.cells._layout import Parameter
from etm_jax.cells._memory import write_then_read

INITIAL_MEMORY = 1e-6  # Collier & Beel 2018 (arXiv 1807.08518): a small constant learns fastest
INTERFACE_LIMIT = 20.0  # bounds strength and sharpening, so that no exponential overflows
GATES = 4  # input, forget, cell candidate, output
GATE, SHARPENING, SHIFT = 0, 1, 2  # fields of the `location` axis; the shifts -S..S come last
INITIAL_SHARPENING = 2.0  # the logit; heads start by raising weightings to the power 1 + softplus(2) = 3.1
OPEN = 10.0  # a logit that makes a sigmoid or softmax all but 1

CONTROLLER_FAN_IN = (("input",), ("read", "width"), ("unit",))
HEAD_FAN_IN = (("unit",),)
OUTPUT_FAN_IN = (("unit",), ("read", "width"))


def forget_bias(sizes: dict[str, int]) -> Float[Array, "gate 1"]:
    """A forget gate that starts open."""
    return jnp.zeros((sizes["gate"], 1)).at[1].set(1.0)


def sharp_location(sizes: dict[str, int]) -> Float[Array, "1 location"]:
    """Location fields that start sharp; at a bias of 0 a focus blurs as it moves, and long sequences are lost."""
    return jnp.where(jnp.arange(sizes["location"]) == SHARPENING, INITIAL_SHARPENING, 0.0)[None]


def closed_location(sizes: dict[str, int]) -> Float[Array, " location"]:
    """Location fields that leave a content weighting as it is: gate 1, no sharpening, no shift."""
    bias = jnp.full(sizes["location"], -OPEN)
    return bias.at[GATE].set(OPEN).at[SHIFT + (sizes["location"] - SHIFT) // 2].set(OPEN)


def closed_erase(sizes: dict[str, int]) -> Float[Array, ""]:
    """A write head that erases nothing."""
    del sizes
    return jnp.full((), -OPEN)


# A new unit or read head starts with zero outgoing weights, a new write head writes nothing, and a new memory column
# is neither written nor compared: growing a network keeps its function.
NTM_PARAMETERS = {
    "controller": {
        "input_kernel": Parameter(("input", "gate", "unit"), CONTROLLER_FAN_IN),
        "read_kernel": Parameter(("read", "width", "gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,)),
        "recurrent_kernel": Parameter(("unit", "gate", "unit"), CONTROLLER_FAN_IN, closed_axes=(0,)),
        "bias": Parameter(("gate", "unit"), start=forget_bias),
    },
    "heads": {
        "key_kernel": Parameter(("unit", "head", "width"), HEAD_FAN_IN, closed_axes=(0, 2)),
        "key_bias": Parameter(("head", "width")),
        "strength_kernel": Parameter(("unit", "head"), HEAD_FAN_IN, closed_axes=(0,)),
        "strength_bias": Parameter(("head",)),
        "location_kernel": Parameter(("unit", "head", "location"), HEAD_FAN_IN, closed_axes=(0, 2)),
        "location_bias": Parameter(
            ("head", "location"), start=sharp_location, closed_axes=(1,), closed=closed_location
        ),
    },
    "write": {
        "erase_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "erase_bias": Parameter(("write", "width"), closed_axes=(0,), closed=closed_erase),
        "add_kernel": Parameter(("unit", "write", "width"), HEAD_FAN_IN, closed_axes=(0, 1, 2)),
        "add_bias": Parameter(("write", "width")),
    },
    "output": {
        "controller_kernel": Parameter(("unit", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "read_kernel": Parameter(("read", "width", "output"), OUTPUT_FAN_IN, closed_axes=(0,)),
        "bias": Parameter(("output",)),
    },
}


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
    memory: Float[Array, "*batch slot width"]
    weightings: Float[Array, "*batch head slot"]
    reads: Float[Array, "*batch read width"]


@pytree
class NTMWeights:
    """The weights of a step, joined so that a step makes two matrix products with them."""

    drive_kernel: Float[Array, "*batch input gate_unit"]
    drive_bias: Float[Array, "*batch gate_unit"]
    recurrent: Float[Array, "*batch read_width_and_unit gate_unit"]
    interface: Float[Array, "*batch unit interface"]
    interface_bias: Float[Array, "*batch interface"]


def join_weights(params: Params) -> NTMWeights:
    """Join the arrays that one product can use together; done once a sequence, outside its loop."""
    controller, heads, write = params["controller"], params["heads"], params["write"]
    num_inputs, _, num_units = controller["input_kernel"].shape
    parts = (heads["key_kernel"], heads["strength_kernel"], heads["location_kernel"])
    parts += (write["erase_kernel"], write["add_kernel"])
    biases = (heads["key_bias"], heads["strength_bias"], heads["location_bias"], write["erase_bias"], write["add_bias"])
    read_kernel = controller["read_kernel"]
    num_reads = read_kernel.shape[0] * read_kernel.shape[1]
    return NTMWeights(
        drive_kernel=controller["input_kernel"].reshape(num_inputs, GATES * num_units),
        drive_bias=controller["bias"].reshape(-1),
        recurrent=jnp.concatenate(
            [
                read_kernel.reshape(num_reads, GATES * num_units),
                controller["recurrent_kernel"].reshape(num_units, GATES * num_units),
            ]
        ),
        interface=jnp.concatenate([part.reshape(num_units, -1) for part in parts], axis=-1),
        interface_bias=jnp.concatenate([bias.reshape(-1) for bias in biases]),
    )


def initial_carry(active: NTMActive, dtype: jnp.dtype) -> NTMCarry:
    """The state before the first step: constant memory, every head on slot 0, nothing read."""
    num_slots, width = active.slot.size, active.width.size
    first_slot = jnp.arange(num_slots) == 0
    exists = active.slot[:, None] & active.width[None, :]
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
    memory: Float[Array, "slot width"],
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


def ntm_step(weights: NTMWeights, active: NTMActive, carry: NTMCarry, drive: Float[Array, " gate_unit"]) -> NTMCarry:
    """One step of the machine.

    Args:
        weights: from `join_weights`; zero wherever `active` says that nothing exists.
        active: which entries of each axis exist.
        carry: the state after the step before.
        drive: what the input adds to the controller's gates, `inputs @ drive_kernel + drive_bias`.

    Returns:
        The state after the step; its `hidden` and `reads` make the output.
    """
    num_heads, (num_writes,), width = active.head.size, active.write.shape, active.width.size
    gates = drive + jnp.concatenate([carry.reads.reshape(-1), carry.hidden]) @ weights.recurrent
    in_gate, forget_gate, candidate, out_gate = jnp.split(gates, GATES)
    cell = jax.nn.sigmoid(forget_gate) * carry.cell + jax.nn.sigmoid(in_gate) * jnp.tanh(candidate)
    hidden = jax.nn.sigmoid(out_gate) * jnp.tanh(cell)

    interface = hidden @ weights.interface + weights.interface_bias
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


def ntm_unroll(
    params: Params,
    active: NTMActive,
    inputs: Float[Array, "time input"],
    *,
    rematerialise: bool = False,
) -> tuple[Float[Array, "time output"], Float[Array, "time head slot"]]:
    """Run one sequence from the initial state.

    Args:
        params: arrays laid out by `NTM_PARAMETERS`, zero where nothing exists.
        active: which entries of each axis exist.
        inputs: one row a step.
        rematerialise: store the state of each step only and recompute the rest in the backward pass; for large
            memories that saves most of the space and costs one more forward pass.

    Returns:
        The logits of every step, and the weightings of every head (read heads first) over the slots.
    """
    weights = join_weights(params)
    drives = add_last(inputs @ weights.drive_kernel, weights.drive_bias)

    def step(carry: NTMCarry, drive: Float[Array, " gate_unit"]):
        carry = ntm_step(weights, active, carry, drive)
        return carry, (carry.hidden, carry.reads, carry.weightings)

    if rematerialise:
        step = jax.checkpoint(step)
    _, (hidden, reads, weightings) = jax.lax.scan(step, initial_carry(active, drives.dtype), drives)
    return read_out(params, hidden, reads), weightings
