"""The memory of the Differentiable Neural Computer of Graves et al. 2016 (Nature 538:471, Methods).

Written for one sequence of one network at padded shape; the caller vmaps. The paper has one write head. With several,
each has temporal links of its own, a read head may follow any of them, and the heads allocate in turn, each taking the
slots that those before it are about to use as used.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import pytree
from etm_jax.cells._heads import content_weighting, masked_softmax, write_then_read
from etm_jax.cells._kinds import HEAD_FAN_IN, OPEN, Carry, Fields, Memory, MemoryStep, Parameter, Sizes, carried
from etm_jax.cells._spec import Active, existing
from etm_jax.cells._temporal_links import keep_largest, link_then_follow

LEAST_USAGE = 1e-30  # under the logarithm; usages below it count as equal, and no gradient reaches them
BACKWARD, FORWARD = 0, 1  # the `direction` axis


@pytree
class DNCFields:
    """What the controller tells the memory, as raw outputs; the caller clips them so that no exponential overflows."""

    key: Float[Array, "*batch head width"]
    strength: Float[Array, "*batch head"]
    erase: Float[Array, "*batch write width"]
    add: Float[Array, "*batch write width"]
    free: Float[Array, "*batch read"]
    allocation: Float[Array, "*batch write"]
    write_gate: Float[Array, "*batch write"]
    content_mode: Float[Array, "*batch read"]
    link_mode: Float[Array, "*batch read write direction"]


@pytree
class DNCState:
    """What the memory remembers besides its content and the weightings."""

    usage: Float[Array, "*batch slot"]
    precedence: Float[Array, "*batch write slot"]
    link: Float[Array, "*batch write slot slot"]


def initial_dnc(active: Active, dtype: jnp.dtype) -> DNCState:
    """The state before the first step: nothing used, nothing linked. The weightings start at zero too."""
    num_writes, num_slots = active.write.size, active.slot.size
    return DNCState(
        usage=jnp.zeros(num_slots, dtype),
        precedence=jnp.zeros((num_writes, num_slots), dtype),
        link=jnp.zeros((num_writes, num_slots, num_slots), dtype),
    )


def dnc_step(
    fields: DNCFields,
    active: Active,
    memory: Float[Array, "width slot"],
    weightings: Float[Array, "head slot"],
    state: DNCState,
    *,
    sparse_links: int = 0,
) -> MemoryStep:
    """Free and allocate, write, link, then read.

    Entries that do not exist change nothing, whatever they hold. Gradients go through the usage, as in the paper (its
    authors' published code cuts them there), and past the jumps of its order. The backward pass computes the step
    again from its arguments: a sequence then stores one set of links a step, and takes less time too.

    Args:
        fields: of this step.
        active: which slots, columns and heads exist.
        memory: before the step.
        weightings: of the step before, the read heads first; zero before the first step.
        state: after the step before.
        sparse_links: let only so many of the largest entries of what is written and of the precedence into the links;
            0 for all. The paper finds 8 enough. Unlike there they are not scaled up to a sum of 1, which would make a
            closed write gate count as a whole write, and small links stay. It saves no time: the links are dense.

    Returns:
        The memory, the weightings, what each read head reads, and the state, all after the step.

    Raises:
        ValueError: `sparse_links` is negative.
    """
    if sparse_links < 0:
        raise ValueError(f"sparse_links must be at least 0, got {sparse_links}; 0 keeps every link")
    advance = functools.partial(_advance, sparse_links=sparse_links)
    return jax.checkpoint(advance)(fields, active, memory, weightings, state)


def _advance(
    fields: DNCFields,
    active: Active,
    memory: Float[Array, "width slot"],
    weightings: Float[Array, "head slot"],
    state: DNCState,
    sparse_links: int,
) -> MemoryStep:
    num_reads = active.read.size
    fields, state = existing_fields(fields, active), existing_state(state, active)
    memory = existing(memory, active.width, active.slot)
    previous = existing(weightings, active.head, active.slot)
    previous_read, previous_written = previous[:num_reads], previous[num_reads:]
    strength = 1 + jax.nn.softplus(fields.strength)

    usage = usage_after(state.usage, previous_written, jax.nn.sigmoid(fields.free), previous_read)
    content = content_weighting(fields.key[num_reads:], strength[num_reads:], memory, active.slot)
    written = write_weightings(fields, active, usage, content)
    no_reads = written[:0]
    memory, _ = write_then_read(memory, written, no_reads, jax.nn.sigmoid(fields.erase), fields.add)

    links, modes = [], read_modes(fields, active)
    read = modes[:, :1] * content_weighting(fields.key[:num_reads], strength[:num_reads], memory, active.slot)
    for head, mode in enumerate(jnp.split(modes[:, 1:], active.write.size, axis=1)):
        linked, linked_to = written[head], state.precedence[head]
        if sparse_links:
            linked, linked_to = keep_largest(linked, sparse_links), keep_largest(linked_to, sparse_links)
        link, backward, forward = link_then_follow(state.link[head], linked_to, linked, previous_read)
        links.append(link)
        read = read + mode[:, BACKWARD, None] * backward + mode[:, FORWARD, None] * forward
    read = existing(read, active.read)
    precedence = (1 - jnp.sum(written, axis=1, keepdims=True)) * state.precedence + written
    state = DNCState(usage=usage, precedence=precedence, link=jnp.stack(links))
    return MemoryStep(memory, jnp.concatenate([read, written]), read @ memory.T, state)


def existing_fields(fields: DNCFields, active: Active) -> DNCFields:
    """The fields, zero for heads and columns that do not exist."""
    return DNCFields(
        key=existing(fields.key, active.head, active.width),
        strength=existing(fields.strength, active.head),
        erase=existing(fields.erase, active.write, active.width),
        add=existing(fields.add, active.write, active.width),
        free=existing(fields.free, active.read),
        allocation=existing(fields.allocation, active.write),
        write_gate=existing(fields.write_gate, active.write),
        content_mode=existing(fields.content_mode, active.read),
        link_mode=existing(fields.link_mode, active.read, active.write),
    )


def existing_state(state: DNCState, active: Active) -> DNCState:
    """The state, zero for slots and heads that do not exist."""
    return DNCState(
        usage=existing(state.usage, active.slot),
        precedence=existing(state.precedence, active.write, active.slot),
        link=existing(state.link, active.write, active.slot, active.slot),
    )


def usage_after(
    usage: Float[Array, " slot"],
    written: Float[Array, "write slot"],
    free: Float[Array, " read"],
    read: Float[Array, "read slot"],
) -> Float[Array, " slot"]:
    """How much of each slot is in use, after the writes and after what the read heads freed."""
    for weighting in written:
        usage = usage + (1 - usage) * weighting  # u + w - u w, which never rounds to more than 1
    for gate, weighting in zip(free, read, strict=True):
        usage = usage * (1 - gate * weighting)  # the retention psi
    return usage


def allocation_weighting(usage: Float[Array, " slot"], slot_active: Array) -> Float[Array, " slot"]:
    """Focus on the least used slot, and on the next ones as far as it is in use; ties go to the first.

    `a_i = (1 - u_i) prod_j u_j` over the slots j that come before i in the order of usage. A sum of logarithms over a
    matrix of comparisons: forward, recomputed and backward, it takes a CPU a fifth (64 slots) to three fifths (256) of
    the time of a sort and its gathers.
    """
    usage = jnp.where(slot_active, usage, 1)  # never free
    logs = jnp.log(jnp.maximum(usage, LEAST_USAGE))
    place = jnp.arange(usage.size)
    # By the logarithms, whose order is the same: XLA's CPU code would compute the usage again for every pair.
    own, other = logs[:, None], logs[None, :]
    comes_before = (other < own) | ((other == own) & (place[None, :] < place[:, None]))
    return (1 - usage) * jnp.exp(jnp.sum(jnp.where(comes_before, other, 0), axis=1))


def write_weightings(
    fields: DNCFields, active: Active, usage: Float[Array, " slot"], content: Float[Array, "write slot"]
) -> Float[Array, "write slot"]:
    """Where each write head writes: to free slots, to content like its key, or nowhere."""
    allocation_gate = jax.nn.sigmoid(fields.allocation)
    write_gate = existing(jax.nn.sigmoid(fields.write_gate), active.write)
    written = []
    for head in range(active.write.size):
        allocated = allocation_weighting(usage, active.slot)
        to_free, to_content = allocation_gate[head] * allocated, (1 - allocation_gate[head]) * content[head]
        written.append(write_gate[head] * (to_free + to_content))
        usage = usage + (1 - usage) * write_gate[head] * to_free  # as the next head finds it
    return jnp.stack(written)


def read_modes(fields: DNCFields, active: Active) -> Float[Array, "read mode"]:
    """The shares of content, and of going back and on along the links of each write head."""
    num_reads = active.read.size
    logits = jnp.concatenate([fields.content_mode[:, None], fields.link_mode.reshape(num_reads, -1)], axis=1)
    return masked_softmax(logits, jnp.concatenate([jnp.ones(1, bool), jnp.repeat(active.write, 2)]))


def remember(active: Active, carry: Carry, fields: Fields) -> Carry:
    """`dnc_step` on what a network carries."""
    emitted = fields["heads"] | fields["write"] | fields["dnc"]
    own = DNCFields(**{name: emitted[name] for name in DNCFields.__dataclass_fields__})
    after = dnc_step(
        own, active, carry.memory, carry.weightings, carry.states["dnc"], sparse_links=active.spec.sparse_links
    )
    return carried(carry, "dnc", after)


def cost(sizes: Sizes) -> Any:
    """Links, and the fields that no other memory has."""
    slots, units, reads, writes = sizes.num_slots, sizes.controller_size, sizes.num_read_heads, sizes.num_write_heads
    return writes * slots * slots * (3 + 2 * reads) + units * (2 * reads + 2 * (reads + 1) * writes)


# A new read head frees nothing, a new write head writes nothing, and its links are not followed: growing a network
# keeps its function. Everything starts undecided, at a bias of 0.
DNC = Memory(
    "dnc",
    remember,
    shares=("key", "strength", "erase", "add"),
    parameters={
        "free_kernel": Parameter(("unit", "read"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "free_bias": Parameter(("read",), closed_axes=(0,), closed=-OPEN),
        "allocation_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0,)),
        "allocation_bias": Parameter(("write",)),
        "write_gate_kernel": Parameter(("unit", "write"), HEAD_FAN_IN, closed_axes=(0, 1)),
        "write_gate_bias": Parameter(("write",), closed_axes=(0,), closed=-OPEN),
        "content_mode_kernel": Parameter(("unit", "read"), HEAD_FAN_IN, closed_axes=(0,)),
        "content_mode_bias": Parameter(("read",)),
        "link_mode_kernel": Parameter(("unit", "read", "write", "direction"), HEAD_FAN_IN, closed_axes=(0, 2)),
        "link_mode_bias": Parameter(("read", "write", "direction"), closed_axes=(1,), closed=-OPEN),
    },
    state=initial_dnc,
    starts_on_first_slot=False,
    cost=cost,
    constant_axes={"direction": 2},
)
