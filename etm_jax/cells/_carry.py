"""What a network remembers from one step to the next."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import pytree
from etm_jax.cells._active import Active
from etm_jax.cells._dnc import initial_dnc
from etm_jax.cells._hard_tape import initial_hard_tape
from etm_jax.cells._window import WindowActive, initial_window

INITIAL_MEMORY = 1e-6  # Collier & Beel 2018 (arXiv 1807.08518): a small constant learns fastest


@pytree
class Carry:
    """The state of a network; `DNCState`, `HardTapeState` and `WindowState`, or None where no network has that kind."""

    hidden: Float[Array, "*batch unit"]
    cell: Float[Array, "*batch unit"]
    memory: Float[Array, "*batch width slot"]
    weightings: Float[Array, "*batch head slot"]
    reads: Float[Array, "*batch read width"]
    dnc: Any = None
    hard_tape: Any = None
    window: Any = None


def initial_carry(active: Active, dtype: jnp.dtype) -> Carry:
    """The state before the first step: constant memory, nothing read, every head on slot 0, a DNC's nowhere."""
    family, num_slots, width = active.family, active.slot.size, active.width.size
    exists = active.width[:, None] & active.slot[None, :]
    stands = active.head
    if "dnc" in family.memories:
        stands = stands & ~active.has(("dnc",))
    first_slot = jnp.arange(num_slots) == 0
    return Carry(
        hidden=jnp.zeros(active.unit.size, dtype),
        cell=jnp.zeros(active.unit.size, dtype),
        memory=jnp.where(exists, INITIAL_MEMORY, 0.0).astype(dtype),
        weightings=(stands[:, None] & first_slot[None, :]).astype(dtype),
        reads=jnp.zeros((active.read.size, width), dtype),
        dnc=initial_dnc(active, dtype) if "dnc" in family.memories else None,
        hard_tape=initial_hard_tape() if "hard_tape" in family.memories else None,
        window=initial_window(window_of(active), dtype) if "window" in family.controllers else None,
    )


def window_of(active: Active) -> WindowActive:
    """What a window controller needs to know of what exists."""
    return WindowActive(
        unit=active.unit,
        read=active.read,
        width=active.width,
        attention_head=active.attention_head,
        key=jnp.ones(active.family.attention_width, bool),
        layer=active.layer,
        window=active.window,
    )
