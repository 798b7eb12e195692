"""All kinds of controllers and memories. A genome holds the index into them, so new kinds go to the end."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from etm_jax.cells._dnc import DNC
from etm_jax.cells._gated import FEEDFORWARD, GRU, LSTM, RNN
from etm_jax.cells._hard_tape import HARD_TAPE
from etm_jax.cells._kinds import Carry, Controller, Memory
from etm_jax.cells._ntm import NTM, TAPE
from etm_jax.cells._spec import NO_MEMORY, Active, CellSpec
from etm_jax.cells._window import WINDOW

CONTROLLERS: dict[str, Controller] = {kind.name: kind for kind in (LSTM, GRU, RNN, FEEDFORWARD, WINDOW)}
MEMORIES: dict[str, Memory] = {kind.name: kind for kind in (Memory(NO_MEMORY), TAPE, HARD_TAPE, NTM, DNC)}

INITIAL_MEMORY = 1e-6  # Collier & Beel 2018 (arXiv 1807.08518): a small constant learns fastest

KINDS = (*CONTROLLERS.values(), *MEMORIES.values())
T = TypeVar("T")


def constant_axes() -> dict[str, int]:
    """Axes that have the same size in every network, of all kinds."""
    return {axis: size for kind in KINDS for axis, size in kind.constant_axes.items()}


def sharing(field: str) -> tuple[str, ...]:
    """The memories whose controllers emit this shared field."""
    return tuple(name for name, kind in MEMORIES.items() if field in kind.shares)


class Gates(NamedTuple):
    """Places of the gates that some controller has: made from inputs and reads, from units, and all of them."""

    from_inputs: tuple[int, ...]
    from_units: tuple[int, ...]
    all: tuple[int, ...]


@functools.cache
def gates_of(spec: CellSpec) -> Gates:
    """The gates of the controllers that may occur; none if no controller is made of gated sums."""
    kinds = [CONTROLLERS[name] for name in spec.controllers]
    from_inputs = {place for kind in kinds for place in kind.from_inputs}
    from_units = {place for kind in kinds for place in kind.from_units}
    return Gates(*(tuple(sorted(places)) for places in (from_inputs, from_units, from_inputs | from_units)))


def by_kind(active: Active, branches: dict[Callable[..., T], tuple[str, ...]], *arguments: Any) -> T:
    """The result of the branch that a network's kind takes, the first one for kinds that no branch names.

    Of several branches only the network's own runs, unless networks are vmapped.
    """
    if len(branches) == 1:
        return next(iter(branches))(*arguments)
    which = sum(index * active.has(kinds).astype(jnp.int32) for index, kinds in enumerate(branches.values()) if index)
    return jax.lax.switch(which, list(branches), *arguments)


def exact(spec: CellSpec, sizes: dict[str, int]) -> Active:
    """The masks of a network of one kind at its exact sizes: all True."""
    (controller,), (memory,) = spec.controllers, spec.memories
    axes = ("unit", "slot", "width", "read", "write", "location", "gating", "window", "layer", "attention_head")
    return Active(
        **{axis: jnp.ones(sizes[axis], bool) for axis in axes},
        controller=jnp.array([name == controller for name in CONTROLLERS]),
        memory=jnp.array([name == memory for name in MEMORIES]),
        ponder=jnp.ones(spec.ponder_steps, bool),
        spec=spec,
    )


def initial_carry(active: Active, dtype: jnp.dtype) -> Carry:
    """The state before the first step: constant memory, nothing read, heads on slot 0 or, of some kinds, nowhere."""
    spec, num_slots, width = active.spec, active.slot.size, active.width.size
    exists = active.width[:, None] & active.slot[None, :]
    stands = active.head
    nowhere = tuple(name for name in spec.memories if not MEMORIES[name].starts_on_first_slot)
    if nowhere:
        stands = stands & ~active.has(nowhere)
    first_slot = jnp.arange(num_slots) == 0
    return Carry(
        hidden=jnp.zeros(active.unit.size, dtype),
        cell=jnp.zeros(active.unit.size, dtype),
        memory=jnp.where(exists, INITIAL_MEMORY, 0.0).astype(dtype),
        weightings=(stands[:, None] & first_slot[None, :]).astype(dtype),
        reads=jnp.zeros((active.read.size, width), dtype),
        states={kind.name: kind.state(active, dtype) for kind in KINDS if kind.state and spec.has((kind.name,))},
    )
