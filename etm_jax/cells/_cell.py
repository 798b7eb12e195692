"""One step of a memory-augmented network: a controller, the fields it emits, and a memory.

Written for one sequence of one network at padded shape; the caller vmaps.
"""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Params, Scalar, pytree
from etm_jax.cells._active import Active
from etm_jax.cells._carry import Carry, window_of
from etm_jax.cells._controllers import control
from etm_jax.cells._memories import one_of, remember
from etm_jax.cells._parameters import PARAMETERS, interface_of
from etm_jax.cells._pointers import Fields
from etm_jax.cells._window import embed, window_step

INTERFACE_LIMIT = 20.0  # bounds strength and sharpening, so that no exponential overflows
Factor = tuple[Float[Array, "*batch source target"], Float[Array, "*batch target source"]]


@pytree
class Weights:
    """The weights of a step, joined so that a step makes two matrix products with them.

    Each kernel comes with its transpose, made once a sequence: the backward pass multiplies by it at every step.
    """

    recurrent: Factor  # from reads and units to gates
    interface: Factor  # from units to the fields
    window: Params  # of window controllers, as they are; else None


@pytree
class Drive:
    """What is added to a step's two products: the inputs' part of the gates, and the biases."""

    gates: Float[Array, "*batch gate_unit"]
    interface: Float[Array, "*batch interface"]
    embedded: Any  # [*batch unit], the inputs' tokens for window controllers; else None


def join_weights(params: Params, active: Active, dtype: DTypeLike | None = None) -> Weights:
    """Join the arrays that one product can use together; done once a sequence, outside its loop.

    With a `dtype`, such as bfloat16, the products of a step read their factors at that precision and add up at the
    parameters' own.
    """
    family, num_units = active.family, active.unit.size
    recurrent = jnp.zeros((0, 0), params["output"]["bias"].dtype)
    if family.is_gated:
        controller = params["controller"]
        parts = [_at_gates(controller["read_kernel"], family.from_inputs, family.gates)]
        if "recurrent_kernel" in controller:
            parts.append(_at_gates(controller["recurrent_kernel"], family.from_units, family.gates))
        recurrent = jnp.concatenate([part.reshape(-1, len(family.gates) * num_units) for part in parts])
    fields = [params[block][f"{name}_kernel"].reshape(num_units, -1) for block, name in interface_of(family)]
    interface = jnp.concatenate(fields, axis=-1) if fields else jnp.zeros((num_units, 0), recurrent.dtype)
    recurrent, interface = (kernel.astype(dtype or kernel.dtype) for kernel in (recurrent, interface))
    window = {"window": params["window"]} if "window" in params else None
    return Weights(recurrent=(recurrent, recurrent.T), interface=(interface, interface.T), window=window)


def _at_gates(
    kernel: Float[Array, "*source gate unit"], places: tuple[int, ...], gates: tuple[int, ...]
) -> Float[Array, "*source every_gate unit"]:
    """A kernel of some of the gates, zero at the others."""
    if places == gates:
        return kernel
    absent = jnp.zeros_like(kernel[..., :1, :])
    parts = [kernel[..., places.index(gate), None, :] if gate in places else absent for gate in gates]
    return jnp.concatenate(parts, axis=-2)


def drive_of(params: Params, active: Active, inputs: Float[Array, "*lead input"]) -> Drive:
    """The drive of one step or of many, from their inputs.

    Where networks may ponder, an axis of the ponder steps comes before the last; the first has the flag up.
    """
    family = active.family
    if family.ponder_steps > 1:
        first = (jnp.arange(family.ponder_steps) == 0).astype(inputs.dtype)[:, None]
        lead = (*inputs.shape[:-1], family.ponder_steps)
        parts = (jnp.broadcast_to(inputs[..., None, :], (*lead, inputs.shape[-1])), jnp.broadcast_to(first, (*lead, 1)))
        inputs = jnp.concatenate(parts, axis=-1)
    biases = [params[block][f"{name}_bias"].reshape(-1) for block, name in interface_of(family)]
    interface = jnp.concatenate(biases) if biases else jnp.zeros(0, params["output"]["bias"].dtype)
    gates = jnp.zeros((*inputs.shape[:-1], 0), jnp.result_type(inputs, interface))
    if family.is_gated:
        controller = params["controller"]
        kernel = _at_gates(controller["input_kernel"], family.from_inputs, family.gates)
        gates = add_last(inputs @ kernel.reshape(inputs.shape[-1], -1), controller["bias"].reshape(-1))
    return Drive(
        gates=gates,
        interface=jnp.broadcast_to(interface, (*inputs.shape[:-1], interface.size)),
        embedded=embed(params, inputs) if "window" in params else None,
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


def sources_of(active: Active, hidden: Float[Array, "*lead unit"], reads: Float[Array, "*lead read width"]) -> Array:
    """What the recurrent product multiplies: the reads and, unless no controller is recurrent, the units."""
    flat = reads.reshape(*reads.shape[:-2], -1)
    return jnp.concatenate([flat, hidden], axis=-1) if active.family.from_units else flat


def transition(weights: Weights, active: Active, carry: Carry, drive: Drive) -> tuple[Carry, Scalar]:
    """One step of a network, or one of the ponder steps over an input.

    Args:
        weights: from `join_weights`; zero wherever `active` says that nothing exists.
        active: which entries of each axis exist.
        carry: the state after the step before.
        drive: the step's own, from `drive_of`, without an axis of ponder steps.

    Returns:
        The state after the step, of which `hidden` and `reads` make the output, and the logit of halting after it,
        0 where no network ponders.
    """
    carry = think(weights, active, carry, drive)
    interface = drive.interface + product(carry.hidden, *weights.interface)
    fields = split_fields(active, jnp.clip(interface, -INTERFACE_LIMIT, INTERFACE_LIMIT))
    halt = fields["ponder"]["halt"][0] if "ponder" in fields else jnp.zeros((), carry.hidden.dtype)
    return remember(active, carry, fields), halt


def think(weights: Weights, active: Active, carry: Carry, drive: Drive) -> Carry:
    """The carry after the controller's step, of whichever kind it is."""

    def gated(carry: Carry) -> Carry:
        source = sources_of(active, carry.hidden, carry.reads)
        hidden, cell = control(active, drive.gates + product(source, *weights.recurrent), carry.hidden, carry.cell)
        return replace(carry, hidden=hidden, cell=cell)

    def windowed(carry: Carry) -> Carry:
        window, hidden = window_step(weights.window, window_of(active), carry.window, drive.embedded, carry.reads)
        return replace(carry, hidden=hidden, window=window)

    kinds = [gated] * active.family.is_gated + [windowed] * (weights.window is not None)
    return one_of(kinds, active.has(("window",)).astype(jnp.int32), carry)


def split_fields(active: Active, interface: Float[Array, " interface"]) -> Fields:
    """The fields that a controller emitted."""
    axes = ("read", "write", "head", "width", "location", "gating")
    sizes = {axis: getattr(active, axis).size for axis in axes} | {"pondering": 1, "direction": 2, "move": 3}
    fields: Fields = {}
    end = 0
    for block, name in interface_of(active.family):
        shape = [sizes[axis] for axis in PARAMETERS[block][f"{name}_bias"].axes]
        start, end = end, end + math.prod(shape)
        fields.setdefault(block, {})[name] = interface[start:end].reshape(shape)
    return fields


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
