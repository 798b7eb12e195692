"""What a kind of controller or memory is: one record, from which masks, growth, export and cost are read.

A file of its own holds each kind, and `_registry.py` lists them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Params, pytree
from etm_jax.cells._spec import Active

HEAD_FAN_IN = (("unit",),)  # of what a controller emits
# A logit that makes a sigmoid or softmax 1 to float32 rounding: 1 - 1.1e-7. The gradient of what it closes is as much
# smaller; further still, and an Adam with an epsilon of 1e-8 would never open it.
OPEN = 16.0

Fields = dict[str, dict[str, Array]]  # what a controller emits, by block and name as in the parameter table
Units = Float[Array, " unit"]


Value = float | Callable[[dict[str, int]], Float[Array, "..."]]  # or from axis sizes


def value_of(value: Value, sizes: dict[str, int]) -> Float[Array, "..."]:
    """The value at these axis sizes."""
    return jnp.asarray(value(sizes) if callable(value) else value, float)


@dataclass(frozen=True)
class Parameter:
    """One weight array of a cell, described by the axes that genes can shorten.

    Attributes:
        axes: names of the array's axes, in order. A gene decides how many entries of an axis exist.
        fan_in: what feeds the same target, as a sum of products of axis sizes, `(("input",), ("unit",))` for
            `num_inputs + num_units`. Empty: not drawn, the array starts at `start`.
        start: a value that broadcasts to the array; used where `fan_in` is empty.
        closed_axes: positions in `axes`. An entry that is new along one of them starts at `closed` when an existing
            network grows, so that growth keeps the function.
        closed: a value that broadcasts to the array.
        after: by a kind without this array and one with it, a value that keeps the function of a network that changes
            from the one to the other.
        kinds: controllers or memories that have this array; empty for all. `PARAMETERS` sets it from the records.
    """

    axes: tuple[str, ...]
    fan_in: tuple[tuple[str, ...], ...] = ()
    start: Value = 0.0
    closed_axes: tuple[int, ...] = ()
    closed: Value = 0.0
    after: dict[tuple[str, str], Value] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()


@pytree
class Carry:
    """The state of a network from one step to the next.

    `cell` is that of an LSTM. `states` holds what a kind remembers beyond these arrays, by the kind's name.
    """

    hidden: Float[Array, "*batch unit"]
    cell: Float[Array, "*batch unit"]
    memory: Float[Array, "*batch width slot"]
    weightings: Float[Array, "*batch head slot"]
    reads: Float[Array, "*batch read width"]
    states: dict[str, Any] = field(default_factory=dict)


class MemoryStep(NamedTuple):
    """What a memory is after a step; `state` is what its kind remembers besides."""

    memory: Float[Array, "width slot"]
    weightings: Float[Array, "head slot"]
    reads: Float[Array, "read width"]
    state: Any


def carried(carry: Carry, kind: str, step: MemoryStep) -> Carry:
    """What a network carries after its memory's step, with the state of this kind."""
    after = {"memory": step.memory, "weightings": step.weightings, "reads": step.reads}
    return replace(carry, **after, states=carry.states | {kind: step.state})


class Sizes(NamedTuple):
    """The sizes that a step's cost depends on: floats of one network, or arrays of several."""

    num_slots: Any
    slot_width: Any
    num_read_heads: Any
    num_write_heads: Any
    controller_size: Any
    shift_range: Any
    ponder_steps: Any
    window_size: Any
    num_layers: Any
    attention_heads: Any
    attention_width: Any
    num_inputs: Any
    num_outputs: Any


def unprepared(params: Params, inputs: Array) -> Array:
    """The inputs as they are."""
    del params
    return inputs


@dataclass(frozen=True)
class Memory:
    """One kind of memory.

    Attributes:
        name: as in `Bounds.memories`; also the name of the block of its own arrays.
        step: the carry after a step, from masks, the carry and the fields that the controller emitted. Kinds that
            share a step share its branch. None for a network without a memory.
        shares: which of the fields of the blocks `heads` and `write` its controller emits.
        parameters: arrays of its own: `NAME_kernel` and `NAME_bias` for a field `NAME` that its controller emits.
        state: what it remembers beyond memory, weightings and reads before the first step; None for nothing.
        starts_on_first_slot: whether every head stands on slot 0 before the first step, else nowhere.
        cost: multiply-adds of a step beyond the shared fields, addressing, writing and reading; None for nothing.
        constant_axes: sizes of axes of its arrays that are the same for all networks.
    """

    name: str
    step: Callable[[Active, Carry, Fields], Carry] | None = None
    shares: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = field(default_factory=dict)
    state: Callable[[Active, jnp.dtype], Any] | None = None
    starts_on_first_slot: bool = True
    cost: Callable[[Sizes], Any] | None = None
    constant_axes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Controller:
    """One kind of controller: of gated sums, with `update`, or of arrays of its own, with `step`.

    A gated controller makes up to four numbers a unit from its inputs and from its units. Kinds use the same places for
    them, so that one product serves a population of several.

    Attributes:
        name: as in `Bounds.controllers`; also the name of the block of its own arrays.
        from_inputs: places of the gates that it makes from inputs and reads.
        from_units: places of the gates that it makes from its units.
        entering: of these, the places of what enters a unit, from inputs and from units; the others are gates.
        update: units and cells of the next step, from the sums at every gate and those of the step before.
        step: the carry after a step, from its own arrays by block, masks, the carry and what `prepare` made.
        prepare: what can be computed of the inputs of all steps together, from its own arrays and the inputs; else it
            gets the inputs.
        parameters: arrays of its own.
        state: what it remembers beyond units and cells before the first step; None for nothing.
        cost: multiply-adds of a step beyond gated sums and the fields of the memory; None for nothing.
        constant_axes: sizes of axes of its arrays that are the same for all networks.
    """

    name: str
    from_inputs: tuple[int, ...] = ()
    from_units: tuple[int, ...] = ()
    entering: tuple[int, ...] = ()
    update: Callable[[list[Units], Units, Units], tuple[Units, Units]] | None = None
    step: Callable[[Params, Active, Carry, Any], Carry] | None = None
    prepare: Callable[[Params, Array], Any] = unprepared
    parameters: dict[str, Parameter] = field(default_factory=dict)
    state: Callable[[Active, jnp.dtype], Any] | None = None
    cost: Callable[[Sizes], Any] | None = None
    constant_axes: dict[str, int] = field(default_factory=dict)

    @property
    def recurrent(self) -> bool:
        """Whether it has a state: a gated controller may have none."""
        return bool(self.from_units or self.step)
