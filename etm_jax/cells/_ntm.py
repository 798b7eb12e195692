"""The memory of the Neural Turing Machine (Graves et al. 2014, arXiv 1410.5401), and a tape with soft pointers.

The order within a step, which the paper leaves open: every head addresses the memory of the step before, the write
heads write (erase, then add), and the read heads read what has just been written.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._heads import (
    SHARPENING,
    SHIFT,
    circular_shift,
    content_weighting,
    masked_softmax,
    sharpen,
    write_then_read,
)
from etm_jax.cells._kinds import Carry, Fields, Memory
from etm_jax.cells._spec import Active

Weightings = Float[Array, "head slot"]


def address(fields: Fields, active: Active, memory: Float[Array, "width slot"], previous: Weightings) -> Weightings:
    """The weighting of every head over the slots, from the fields it emitted.

    A tape's pointers move from where they are, like those of a Neural Turing Machine whose gate between content and
    location is shut.
    """
    head_exists = active.head[:, None].astype(memory.dtype)
    heads, weighting, located = fields["heads"], previous, previous
    if "key" in heads:
        weighting = content_weighting(heads["key"], jax.nn.softplus(heads["strength"]), memory, active.slot)
        if active.gating.size:
            gate = jax.nn.sigmoid(heads["gate"])
            gate = gate * active.gating[None].astype(gate.dtype) if active.spec.has(("tape",)) else gate
            located = gate * weighting + (1 - gate) * previous  # Graves 2014, eq. 7
    if active.location.size == 0:
        return weighting * head_exists
    sharpening = 1 + jax.nn.softplus(heads["location"][:, SHARPENING])
    shift = masked_softmax(heads["location"][:, SHIFT:], active.location[SHIFT:])
    located = sharpen(circular_shift(located, shift, active.slot), sharpening, active.slot)
    return jnp.where(active.location[SHARPENING], located, weighting) * head_exists


def move_pointers(active: Active, carry: Carry, fields: Fields) -> Carry:
    """One step of the memory: address, write, read."""
    # Recomputing the addressing in the backward pass is cheaper than storing every intermediate weighting.
    weightings = jax.checkpoint(address)(fields, active, carry.memory, carry.weightings)
    read_weightings, write_weightings = jnp.split(weightings, [active.read.size])
    write = fields["write"]
    erase = jax.nn.sigmoid(write["erase"]) if "erase" in write else jnp.zeros_like(write["add"])
    if active.spec.has(("tape",)) and "erase" in write:
        # A tape's own logits are 0, and the sigmoid of that would erase half.
        erase = erase * (~active.has(("tape",))).astype(erase.dtype)
    memory, reads = write_then_read(carry.memory, write_weightings, read_weightings, erase, write["add"])
    return replace(carry, memory=memory, weightings=weightings, reads=reads)


NTM = Memory("ntm", move_pointers, shares=("key", "strength", "gate", "location", "erase", "add"))
TAPE = Memory("tape", move_pointers, shares=("location", "add"))
