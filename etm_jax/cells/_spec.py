"""What is static about networks of one padded shape, and which of its entries exist in one of them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from etm_jax._typing import BoolScalar, pytree

NO_MEMORY = "none"  # the kind of memory of a network that has none


@dataclass(frozen=True)
class CellSpec:
    """What is static about networks of one padded shape: the kinds that may occur, and sizes that no gene sets.

    Attributes:
        controllers: of `CONTROLLERS`.
        memories: of `MEMORIES`.
        ponder_steps: most steps that a network ponders over one input; 1 for none.
        attention_width: width of a key and a value of a window controller's attention head.
        sparse_links: largest entries of a weighting that enter a DNC's temporal links; 0 for all.
    """

    controllers: tuple[str, ...] = ("lstm",)
    memories: tuple[str, ...] = ("ntm",)
    ponder_steps: int = 1
    attention_width: int = 16
    sparse_links: int = 0

    def has(self, kinds: tuple[str, ...]) -> bool:
        """Whether one of these kinds may occur."""
        return any(kind in self.controllers + self.memories for kind in kinds)

    @property
    def remembers(self) -> bool:
        """Whether some network has a memory."""
        return self.memories != (NO_MEMORY,)


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
    spec: CellSpec = struct.field(pytree_node=False, default=CellSpec())

    @property
    def head(self) -> Bool[Array, " head"]:
        """The read heads, then the write heads."""
        return jnp.concatenate([self.read, self.write])

    def has(self, kinds: tuple[str, ...]) -> BoolScalar:
        """Whether the network's controller or memory is one of these kinds."""
        from etm_jax.cells._registry import CONTROLLERS, MEMORIES  # here, because the kinds' own files use masks

        own = [self.controller[list(CONTROLLERS).index(kind)] for kind in kinds if kind in CONTROLLERS]
        own += [self.memory[list(MEMORIES).index(kind)] for kind in kinds if kind in MEMORIES]
        return jnp.any(jnp.stack(own))


def existing(array: Float[Array, "..."], *exists: Bool[Array, "_"]) -> Float[Array, "..."]:
    """The array, 0 in every entry that does not exist along one of its first axes; gradients there are 0 too."""
    return jnp.where(outer(exists, array.ndim), array, 0)


def outer(masks: Sequence[Bool[Array, "_"]], ndim: int) -> Bool[Array, "..."]:
    """The mask of an array whose entry exists where it exists along each of its first axes."""

    def along(axis: int, mask: Bool[Array, "_"]) -> Bool[Array, "..."]:
        return mask.reshape([-1 if position == axis else 1 for position in range(ndim)])

    return functools.reduce(jnp.logical_and, [along(axis, mask) for axis, mask in enumerate(masks)])
