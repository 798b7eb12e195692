"""The memory of the Neural Turing Machine (Graves et al. 2014, arXiv 1410.5401), and of a tape with soft pointers.

The order within a step, which the paper leaves open: every head addresses the memory of the step before, the write
heads write (erase, then add), and the read heads read what has just been written.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._active import Active
from etm_jax.cells._addressing import circular_shift, content_weighting, masked_softmax, sharpen
from etm_jax.cells._family import WITH_KEYS
from etm_jax.cells._memory import write_then_read
from etm_jax.cells._parameters import SHARPENING, SHIFT

Fields = dict[str, dict[str, Array]]  # by block and name, as in the parameter table
Memory = Float[Array, "width slot"]
Weightings = Float[Array, "head slot"]


def address(fields: Fields, active: Active, memory: Memory, previous: Weightings) -> Weightings:
    """The weighting of every head over the slots, from the fields it emitted.

    A tape's pointers go from where they are: a Neural Turing Machine's with the gate between content and location shut.
    """
    head_exists = active.head[:, None].astype(memory.dtype)
    heads, weighting, located = fields["heads"], previous, previous
    if active.family.has(WITH_KEYS):
        weighting = content_weighting(heads["key"], jax.nn.softplus(heads["strength"]), memory, active.slot)
        if active.gating.size:
            gate = jax.nn.sigmoid(heads["gate"])
            gate = gate * active.gating[None].astype(gate.dtype) if "tape" in active.family.memories else gate
            located = gate * weighting + (1 - gate) * previous  # Graves 2014, eq. 7
    if active.location.size == 0:
        return weighting * head_exists
    sharpening = 1 + jax.nn.softplus(heads["location"][:, SHARPENING])
    shift = masked_softmax(heads["location"][:, SHIFT:], active.location[SHIFT:])
    located = sharpen(circular_shift(located, shift, active.slot), sharpening, active.slot)
    return jnp.where(active.location[SHARPENING], located, weighting) * head_exists


def move_pointers(
    fields: Fields, active: Active, memory: Memory, weightings: Weightings
) -> tuple[Memory, Weightings, Float[Array, "read width"]]:
    """One step of the memory: address, write, read.

    Args:
        fields: what the controller emitted.
        active: which entries of each axis exist.
        memory: before the step.
        weightings: of every head over the slots, before the step.

    Returns:
        Memory and weightings after the step, and what each read head reads.
    """
    # Recomputing the addressing in the backward pass is cheaper than storing every intermediate weighting.
    weightings = jax.checkpoint(address)(fields, active, memory, weightings)
    read_weightings, write_weightings = jnp.split(weightings, [active.read.size])
    write = fields["write"]
    erase = jax.nn.sigmoid(write["erase"]) if "erase" in write else jnp.zeros_like(write["add"])
    if "tape" in active.family.memories and "erase" in write:
        erase = erase * active.has(WITH_KEYS).astype(erase.dtype)
    memory, reads = write_then_read(memory, write_weightings, read_weightings, erase, write["add"])
    return memory, weightings, reads
