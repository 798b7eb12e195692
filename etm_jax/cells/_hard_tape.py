"""The tape of evolved Turing machines (Greve, Jacobsen, Risi 2016, GECCO): heads that stand on exactly one slot.

Written for one sequence of one network at padded shape; the caller vmaps. A write head and the read head of the same
index are one head: it writes where it stands, may jump to the slot most like what it wrote, moves by one, and reads
there. The tape starts as one slot and grows where a head walks off its end, until it has every slot there is; then its
ends meet. Slots are taken from a ring, the first on slot 0, so that what lies before it is at the highest numbers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import BoolScalar, IntScalar, Scalar, pytree
from etm_jax.cells._heads import circular_shift
from etm_jax.cells._kinds import HEAD_FAN_IN, OPEN, Carry, Fields, Memory, MemoryStep, Parameter, Sizes, carried
from etm_jax.cells._spec import Active, existing

BACK, STAY, ON = 0, 1, 2  # the `move` axis
INITIAL_JUMP = -1.0  # heads jump only where an input tells them to; at 0 they would without any, in every step


@pytree
class HardTapeFields:
    """What the controller tells the tape, as raw outputs."""

    add: Float[Array, "*batch write width"]
    write_gate: Float[Array, "*batch write"]
    jump: Float[Array, "*batch write"]
    shift: Float[Array, "*batch write move"]


class HardTapeMasks(NamedTuple):
    """Which slots, columns and heads exist; `Active` holds the same masks among others."""

    slot: Bool[Array, " slot"]
    width: Bool[Array, " width"]
    read: Bool[Array, " read"]
    write: Bool[Array, " write"]


@pytree
class HardTapeState:
    """The ends of the tape, both on it, counted from where it began: `lowest` is at most 0, `highest` at least 0."""

    lowest: Int[Array, "*batch"]
    highest: Int[Array, "*batch"]


def initial_hard_tape() -> HardTapeState:
    """A tape of one slot."""
    return HardTapeState(lowest=jnp.zeros((), jnp.int32), highest=jnp.zeros((), jnp.int32))


def hard_tape_step(
    fields: HardTapeFields,
    active: Active | HardTapeMasks,
    memory: Float[Array, "width slot"],
    weightings: Float[Array, "head slot"],
    state: HardTapeState,
    *,
    min_similarity: float | Scalar = 0.0,
) -> MemoryStep:
    """Write, jump, move, then read; all heads write, in order, before any jumps, and all jump before any moves.

    With vector v = sigmoid(add) and gate z = sigmoid(write_gate), a head writes `z v + (1 - z) M` over M. A slot is
    like v by `1 - mean|v - M|`. Gradients go through what is written and read; jumps and moves are choices, which
    have none, so that such a network is evolved, or learns only what stands on the tape.

    Args:
        fields: of this step. A head jumps if sigmoid(jump) is at least 0.5; of equal moves it takes the first.
        active: which slots, columns and heads exist. A head without its partner does nothing.
        memory: before the step, in [0, 1]; slots that the tape has not reached hold what a new slot is to hold.
        weightings: of the step before, the read heads first: one-hot at where each head stands. At the start slot 0.
        state: after the step before.
        min_similarity: where no slot is this like v, a jump goes to the end of the tape instead (Lueders et al. 2017);
            at 0 every slot is.

    Returns:
        The memory, the weightings (read heads: where they read, and stand; write heads: where they wrote), what each
        read head reads, and the ends of the tape.
    """
    num_reads, num_writes = active.read.size, active.write.size
    num_heads = min(num_reads, num_writes)
    exists = active.read[:num_heads] & active.write[:num_heads]
    memory = existing(memory, active.width, active.slot)
    stood = existing(jax.lax.stop_gradient(weightings[:num_heads]), exists, active.slot)
    add = existing(fields.add[:num_heads], exists, active.width)
    vectors = existing(jax.nn.sigmoid(add), exists, active.width)
    gates = jax.nn.sigmoid(existing(fields.write_gate[:num_heads], exists))

    for vector, share in zip(vectors, gates[:, None] * stood, strict=True):
        memory = vector[:, None] * share[None, :] + (1 - share[None, :]) * memory

    jumps = (fields.jump[:num_heads] >= 0) & exists
    most_alike = nearest_slots(vectors, active, memory, state, min_similarity)
    stands = jnp.where(jumps[:, None], most_alike, stood)
    moves = jnp.where(exists, jnp.argmax(fields.shift[:num_heads], axis=1), STAY)
    for head in range(num_heads):
        state = grown(state, moves[head], jnp.argmax(stands[head]), active.slot)
    stands = circular_shift(stands, jax.nn.one_hot(moves, 3, dtype=stands.dtype), active.slot)

    read = jnp.pad(stands, ((0, num_reads - num_heads), (0, 0)))
    written = jnp.pad(stood, ((0, num_writes - num_heads), (0, 0)))
    return MemoryStep(memory, jnp.concatenate([read, written]), read @ memory.T, state)


def place_on_tape(state: HardTapeState, slot_active: Bool[Array, " slot"]) -> Int[Array, " slot"]:
    """Position of each slot, counted from the lowest of the tape."""
    return jnp.mod(jnp.arange(slot_active.size) - state.lowest, jnp.sum(slot_active))


def nearest_slots(
    vectors: Float[Array, "head width"],
    active: Active | HardTapeMasks,
    memory: Float[Array, "width slot"],
    state: HardTapeState,
    min_similarity: float | Scalar,
) -> Float[Array, "head slot"]:
    """One-hot at the slot of the tape most like each vector, the first of equal ones, or at the end if none is."""
    place, end = place_on_tape(state, active.slot), state.highest - state.lowest
    on_tape = active.slot & (place <= end)
    width = jnp.sum(active.width, dtype=memory.dtype)
    difference = jnp.sum(jnp.abs(vectors[:, :, None] - memory[None, :, :]), axis=1) / width
    similarity = jnp.where(on_tape[None, :], 1 - difference, -jnp.inf)
    best = jnp.max(similarity, axis=1, keepdims=True)
    first = jnp.min(jnp.where(similarity == best, place[None, :], place.size), axis=1)
    goal = jnp.where(best[:, 0] >= min_similarity, first, end)
    return jax.lax.stop_gradient((on_tape[None, :] & (place[None, :] == goal[:, None])).astype(memory.dtype))


def grown(
    state: HardTapeState, move: IntScalar, stands_on: IntScalar, slot_active: Bool[Array, " slot"]
) -> HardTapeState:
    """The tape, longer by a slot if a head on `stands_on` walks off its end and there is a slot left."""
    place, end = place_on_tape(state, slot_active)[stands_on], state.highest - state.lowest
    has_room: BoolScalar = end + 1 < jnp.sum(slot_active)
    return HardTapeState(
        lowest=state.lowest - (has_room & (move == BACK) & (place == 0)).astype(jnp.int32),
        highest=state.highest + (has_room & (move == ON) & (place == end)).astype(jnp.int32),
    )


def remember(active: Active, carry: Carry, fields: Fields) -> Carry:
    """`hard_tape_step` on what a network carries."""
    own = HardTapeFields(add=fields["write"]["add"], **fields["hard_tape"])
    return carried(
        carry,
        "hard_tape",
        hard_tape_step(own, active, carry.memory, carry.weightings, carry.states["hard_tape"]),
    )


def staying(sizes: dict[str, int]) -> Float[Array, " move"]:
    """A head that stays where it is: it lengthens no tape."""
    return jnp.where(jnp.arange(sizes["move"]) == STAY, OPEN, 0.0)


def cost(sizes: Sizes) -> Any:
    """Jumps, and the fields that no other memory has."""
    return sizes.num_write_heads * (sizes.num_slots * sizes.slot_width + 5 * sizes.controller_size)


# A new pair of heads writes nothing, and neither jumps nor moves: growth by pairs keeps the function. A new head whose
# partner was idle wakes it, and new columns, into which the sigmoid of 0 is written, change what a jump finds.
HARD_TAPE = Memory(
    "hard_tape",
    remember,
    shares=("add",),
    parameters={
        "write_gate_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "write_gate_bias": Parameter(("write",), closed_axes=(0,), closed=-OPEN),
        "jump_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "jump_bias": Parameter(("write",), start=INITIAL_JUMP, closed_axes=(0,), closed=-OPEN),
        "shift_kernel": Parameter(("unit", "write", "move"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "shift_bias": Parameter(("write", "move"), closed_axes=(0,), closed=staying),
    },
    state=lambda active, dtype: initial_hard_tape(),
    cost=cost,
    constant_axes={"move": 3},
)
