"""One step of a memory-augmented network: a controller, the fields it emits, and a memory.

Written for one sequence of one network at padded shape; the caller vmaps. Under adaptive computation time (Graves 2016,
arXiv 1603.08983) the network thinks over an input until it halts.

At each input the network makes up to M steps; after step n it halts with probability `h_n = sigmoid(halt)`. With N the
first step at which their sum reaches 1 - 0.01, or the last allowed, the steps count by `p_n = h_n` for n < N and by the
rest `R = 1 - sum h_n` at N. State, memory and output after the input are the means of those of its steps under p. The
price of the pondering is `N + R`.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from etm_jax._typing import Params, Scalar, pytree
from etm_jax.cells._kinds import Carry, Fields, Units
from etm_jax.cells._parameters import PARAMETERS, interface_of
from etm_jax.cells._registry import CONTROLLERS, MEMORIES, by_kind, constant_axes, gates_of
from etm_jax.cells._spec import Active

HALTED = 0.99  # a sum of halting probabilities that ends the pondering
NO_PONDERING = 2.0  # N + R of a single step
INTERFACE_LIMIT = 20.0  # bounds strength and sharpening, so that no exponential overflows


class Kernel(NamedTuple):
    """A kernel and its transpose, made once a sequence: the backward pass multiplies by it at every step."""

    forward: Float[Array, "*batch source target"]
    backward: Float[Array, "*batch target source"]


class Factors(NamedTuple):
    """What a step's two products multiplied by their kernels."""

    recurrent: Float[Array, "*batch source"]
    interface: Float[Array, "*batch unit"]


@pytree
class Weights:
    """The weights of a step, joined so that a step makes two matrix products with them."""

    recurrent: Kernel  # from reads and units to gates
    interface: Kernel  # from units to the fields
    own: Params  # blocks of the controllers that are not gated sums, as they are


@pytree
class Drive:
    """What is added to a step's two products: the inputs' part of the gates, and the biases."""

    gates: Float[Array, "*batch gate_unit"]
    interface: Float[Array, "*batch interface"]
    prepared: dict[str, Any]  # what each controller that is no gated sum makes of the inputs


def join_weights(params: Params, active: Active, dtype: DTypeLike | None = None) -> Weights:
    """Join the arrays that one product can use together; done once a sequence, outside its loop.

    With a `dtype`, such as bfloat16, the products of a step read their factors at that precision and add up at the
    parameters' own.
    """
    spec, num_units, gates = active.spec, active.unit.size, gates_of(active.spec)
    recurrent = jnp.zeros((0, 0), params["output"]["bias"].dtype)
    if gates.all:
        controller = params["controller"]
        parts = [_at_gates(controller["read_kernel"], gates.from_inputs, gates.all)]
        if "recurrent_kernel" in controller:
            parts.append(_at_gates(controller["recurrent_kernel"], gates.from_units, gates.all))
        recurrent = jnp.concatenate([part.reshape(-1, len(gates.all) * num_units) for part in parts])
    fields = [params[block][f"{name}_kernel"].reshape(num_units, -1) for block, name in interface_of(spec)]
    interface = jnp.concatenate(fields, axis=-1) if fields else jnp.zeros((num_units, 0), recurrent.dtype)
    recurrent, interface = (kernel.astype(dtype or kernel.dtype) for kernel in (recurrent, interface))
    own = {kind: params[kind] for kind in CONTROLLERS if kind in params}
    return Weights(Kernel(recurrent, recurrent.T), Kernel(interface, interface.T), own)


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
    spec, places = active.spec, gates_of(active.spec)
    if spec.ponder_steps > 1:
        first = (jnp.arange(spec.ponder_steps) == 0).astype(inputs.dtype)[:, None]
        lead = (*inputs.shape[:-1], spec.ponder_steps)
        parts = (jnp.broadcast_to(inputs[..., None, :], (*lead, inputs.shape[-1])), jnp.broadcast_to(first, (*lead, 1)))
        inputs = jnp.concatenate(parts, axis=-1)
    biases = [params[block][f"{name}_bias"].reshape(-1) for block, name in interface_of(spec)]
    interface = jnp.concatenate(biases) if biases else jnp.zeros(0, params["output"]["bias"].dtype)
    gates = jnp.zeros((*inputs.shape[:-1], 0), jnp.result_type(inputs, interface))
    if places.all:
        controller = params["controller"]
        kernel = _at_gates(controller["input_kernel"], places.from_inputs, places.all)
        gates = add_last(inputs @ kernel.reshape(inputs.shape[-1], -1), controller["bias"].reshape(-1))
    return Drive(
        gates=gates,
        interface=jnp.broadcast_to(interface, (*inputs.shape[:-1], interface.size)),
        prepared={
            name: kind.prepare(params, inputs) for name, kind in CONTROLLERS.items() if name in params and kind.prepare
        },
    )


@jax.custom_vjp
def product(
    row: Float[Array, " source"], kernel: Float[Array, "source target"], transposed: Float[Array, "target source"]
) -> Float[Array, " target"]:
    """`row @ kernel` at the kernel's precision, summed at the row's; its gradient multiplies by `transposed`.

    A product with a kernel stored the other way round takes twice as long, so the transpose is made beforehand.
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
    return jnp.concatenate([flat, hidden], axis=-1) if gates_of(active.spec).from_units else flat


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
    # One product makes the fields of all heads. They are clipped here, so that no memory has to guard its exponentials.
    interface = drive.interface + product(carry.hidden, *weights.interface)
    fields = split_fields(active, jnp.clip(interface, -INTERFACE_LIMIT, INTERFACE_LIMIT))
    halt = fields["ponder"]["halt"][0] if "ponder" in fields else jnp.zeros((), carry.hidden.dtype)
    return remember(active, carry, fields), halt


def think(weights: Weights, active: Active, carry: Carry, drive: Drive) -> Carry:
    """The carry after the controller's step."""

    def gated(carry: Carry) -> Carry:
        source = sources_of(active, carry.hidden, carry.reads)
        hidden, cell = update_units(active, drive.gates + product(source, *weights.recurrent), carry.hidden, carry.cell)
        return replace(carry, hidden=hidden, cell=cell)

    def with_own_arrays(name: str, step: Callable[..., Carry]) -> Callable[[Carry], Carry]:
        return lambda carry: step(weights.own, active, carry, drive.prepared[name])

    kinds = [CONTROLLERS[name] for name in active.spec.controllers]
    branches = {gated: tuple(kind.name for kind in kinds if kind.update)} if gates_of(active.spec).all else {}
    branches |= {with_own_arrays(kind.name, kind.step): (kind.name,) for kind in kinds if kind.step}
    return by_kind(active, branches, carry)


def update_units(active: Active, gates: Float[Array, " gate_unit"], hidden: Units, cell: Units) -> tuple[Units, Units]:
    """The units and the LSTM's cells of the next step, from the sums that arrived at every gate.

    Where several kinds may occur all are computed, and the network's own is taken: they share the sums, which are the
    costly part.
    """
    kinds = [CONTROLLERS[name] for name in active.spec.controllers]
    sums = jnp.split(gates, len(gates_of(active.spec).all))
    results = [(kind.name, kind.update(sums, hidden, cell)) for kind in kinds if kind.update]
    (_, (new_hidden, new_cell)), *others = results
    for name, (own_hidden, own_cell) in others:
        new_hidden = jnp.where(active.has((name,)), own_hidden, new_hidden)
        new_cell = jnp.where(active.has((name,)), own_cell, new_cell)
    return new_hidden, new_cell


def remember(active: Active, carry: Carry, fields: Fields) -> Carry:
    """The carry after the memory's step. A network without a memory takes the first branch, where it has no heads."""
    branches: dict[Callable[..., Carry], tuple[str, ...]] = {}
    for name, kind in MEMORIES.items():
        if kind.step and active.spec.has((name,)):
            branches[kind.step] = (*branches.get(kind.step, ()), name)
    return by_kind(active, branches, active, carry, fields) if branches else carry


def split_fields(active: Active, interface: Float[Array, " interface"]) -> Fields:
    """The fields that a controller emitted."""
    axes = ("read", "write", "head", "width", "location", "gating")
    sizes = {axis: getattr(active, axis).size for axis in axes} | {"pondering": 1, **constant_axes()}
    fields: Fields = {}
    end = 0
    for block, name in interface_of(active.spec):
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


@pytree
class Step:
    """What a step leaves for the output and for the gradient.

    Attributes:
        hidden: units after it, for the output.
        reads: what was read, for the output.
        weightings: of every head over the slots; no gradient flows through them.
        ponder: N + R.
        factors: with pondering, what each ponder step's two products multiplied, for the gradient.
    """

    hidden: Float[Array, " unit"]
    reads: Float[Array, "read width"]
    weightings: Float[Array, "head slot"]
    ponder: Scalar
    factors: Factors | None


class Pondering(NamedTuple):
    """Where pondering stands: the carry, the mean so far, the share that is left, and the price so far."""

    carry: Carry
    mean: Carry
    left: Scalar
    price: Scalar


def cell_step(weights: Weights, active: Active, carry: Carry, drive: Drive) -> tuple[Carry, Step]:
    """One step of a network: one transition, or up to `ponder_steps` of them and their mean."""
    if active.spec.ponder_steps == 1:
        carry, _ = transition(weights, active, carry, drive)
        return carry, _step(carry, jnp.asarray(NO_PONDERING, carry.hidden.dtype), None)

    # The steps that halting cuts off are computed too, with a share of 0: their number must not depend on the data.
    def ponder(pondering: Pondering, row: tuple[Drive, Array, Array]) -> tuple[Pondering, Factors]:
        state, mean, left, price = pondering
        drive, allowed, last = row
        source = sources_of(active, state.hidden, state.reads)
        state, halt = transition(weights, active, state, drive)
        chance = jax.nn.sigmoid(halt)
        running = (left > 0) & allowed
        halts = running & (last | (1 - left + chance >= HALTED))
        share = jnp.where(running, jnp.where(halts, left, chance), 0)
        mean = jax.tree.map(lambda total, own: counted(total, own, share, running), mean, state)
        price = price + running.astype(price.dtype) + jnp.where(halts, left, 0)
        return Pondering(state, mean, jnp.where(halts, 0, left - share), price), Factors(source, state.hidden)

    ponder_index = jnp.arange(active.ponder.size)
    last = ponder_index == jnp.sum(active.ponder) - 1
    one, zero = jnp.ones((), carry.hidden.dtype), jnp.zeros((), carry.hidden.dtype)
    start = Pondering(carry, jax.tree.map(jnp.zeros_like, carry), one, zero)
    after, factors = jax.lax.scan(ponder, start, (drive, active.ponder, last))
    return after.mean, _step(after.mean, after.price, factors)


def counted(total: Array, own: Array, share: Scalar, running: Array) -> Array:
    """Add one step to a mean. Integers, such as positions, take the value of the last step instead."""
    if jnp.issubdtype(own.dtype, jnp.floating):
        return total + share * own
    return jnp.where(running, own, total)


def _step(carry: Carry, ponder: Scalar, factors: Factors | None) -> Step:
    return Step(carry.hidden, carry.reads, jax.lax.stop_gradient(carry.weightings), ponder, factors)
