"""Which parts of a padded network exist."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool

from etm_jax._typing import BoolScalar, pytree
from etm_jax.cells._family import CONTROLLERS, MEMORIES, Family


@pytree
class Active:
    """Which entries of each axis exist, and of which kind a network is. True = exists.

    The existing entries of `slot` come first. A network without a memory has no heads. `controller` and `memory` are
    one-hot over `CONTROLLERS` and `MEMORIES`; `ponder` has an entry for each step that a network may ponder. The
    existing entries of `window`, which are ages, come first.
    """

    unit: Bool[Array, "*batch unit"]
    slot: Bool[Array, "*batch slot"]
    width: Bool[Array, "*batch width"]
    read: Bool[Array, "*batch read"]
    write: Bool[Array, "*batch write"]
    location: Bool[Array, "*batch location"]
    gating: Bool[Array, "*batch gating"]
    controller: Bool[Array, "*batch controller"]
    memory: Bool[Array, "*batch memory"]
    ponder: Bool[Array, "*batch ponder"]
    window: Bool[Array, "*batch window"]
    layer: Bool[Array, "*batch layer"]
    attention_head: Bool[Array, "*batch attention_head"]
    family: Family = struct.field(pytree_node=False, default=Family())

    @property
    def head(self) -> Bool[Array, " head"]:
        """The read heads, then the write heads."""
        return jnp.concatenate([self.read, self.write])

    def has(self, kinds: tuple[str, ...]) -> BoolScalar:
        """Whether the network's controller or memory is one of these kinds."""
        own = [self.controller[CONTROLLERS.index(kind)] for kind in kinds if kind in CONTROLLERS]
        own += [self.memory[MEMORIES.index(kind)] for kind in kinds if kind in MEMORIES]
        return jnp.any(jnp.stack(own))


def exact(family: Family, sizes: dict[str, int]) -> Active:
    """The masks of a network of one kind at its exact sizes: all True."""
    (controller,), (memory,) = family.controllers, family.memories
    axes = ("unit", "slot", "width", "read", "write", "location", "gating", "window", "layer", "attention_head")
    return Active(
        **{axis: jnp.ones(sizes[axis], bool) for axis in axes},
        controller=jnp.arange(len(CONTROLLERS)) == CONTROLLERS.index(controller),
        memory=jnp.arange(len(MEMORIES)) == MEMORIES.index(memory),
        ponder=jnp.ones(family.ponder_steps, bool),
        family=family,
    )
