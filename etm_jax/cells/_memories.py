"""One step of a network's memory, of whichever kind it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import jax
import jax.numpy as jnp

from etm_jax.cells._active import Active
from etm_jax.cells._carry import Carry
from etm_jax.cells._dnc import DNCFields, dnc_step
from etm_jax.cells._hard_tape import HardTapeFields, hard_tape_step
from etm_jax.cells._pointers import Fields, move_pointers

T = TypeVar("T")


def remember(active: Active, carry: Carry, fields: Fields) -> Carry:
    """The carry after the memory's step; of several kinds only the network's own runs, unless networks are vmapped."""
    family = active.family
    kinds = [kind for kind in ("pointers", "dnc", "hard_tape") if kind in family.memories]
    if family.has(("ntm", "tape")):
        kinds.insert(0, "pointers")
    if not kinds:
        return carry
    which = sum(position * active.has((kind,)).astype(jnp.int32) for position, kind in enumerate(kinds) if position)
    return one_of([STEPS[kind] for kind in kinds], which, active, carry, fields)


def one_of(functions: list[Callable[..., T]], which: jax.typing.ArrayLike, *arguments: object) -> T:
    """The result of one of these functions."""
    if len(functions) == 1:
        return functions[0](*arguments)
    return jax.lax.switch(which, functions, *arguments)


def by_pointers(active: Active, carry: Carry, fields: Fields) -> Carry:
    """A Neural Turing Machine or a tape with soft pointers, or nothing, which has no heads."""
    memory, weightings, reads = move_pointers(fields, active, carry.memory, carry.weightings)
    return replace(carry, memory=memory, weightings=weightings, reads=reads)


def by_dnc(active: Active, carry: Carry, fields: Fields) -> Carry:
    """A Differentiable Neural Computer."""
    own = DNCFields(**{name: (fields["heads"] | fields["write"] | fields["dnc"])[name] for name in DNC_FIELDS})
    memory, weightings, reads, state = dnc_step(
        own, active, carry.memory, carry.weightings, carry.dnc, sparse_links=active.family.sparse_links
    )
    return replace(carry, memory=memory, weightings=weightings, reads=reads, dnc=state)


def by_hard_tape(active: Active, carry: Carry, fields: Fields) -> Carry:
    """A tape with hard heads."""
    own = HardTapeFields(add=fields["write"]["add"], **fields["hard_tape"])
    memory, weightings, reads, state = hard_tape_step(own, active, carry.memory, carry.weightings, carry.hard_tape)
    return replace(carry, memory=memory, weightings=weightings, reads=reads, hard_tape=state)


DNC_FIELDS = tuple(DNCFields.__dataclass_fields__)
STEPS = {"pointers": by_pointers, "dnc": by_dnc, "hard_tape": by_hard_tape}
