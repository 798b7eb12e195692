"""Whether the kernel or XLA computes networks: decided once, when a model or a training is made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Int

from etm_jax.cells import CONTROLLERS, MEMORIES, CellSpec
from etm_jax.networks.native._layout import SERVED_CONTROLLERS, SERVED_MEMORIES, unserved, why_not

NativeSetting = Literal["auto", "on", "off"]
STEP_BY_STEP = "in environments it would be called for each step"


@dataclass(frozen=True)
class Backend:
    """What computes networks.

    Attributes:
        why_xla: why XLA does, in one line; empty where the native kernel does.
        others: kinds that XLA computes nevertheless, since the kernel does not know them.
    """

    why_xla: str = ""
    others: tuple[str, ...] = ()

    @property
    def native(self) -> bool:
        """Whether the native kernel does."""
        return not self.why_xla

    def described(self, live: str = "", padded: str = "") -> str:
        """In words for the user, with what is said of the sizes that each of the two computes."""
        if not self.native:
            return f"XLA{padded}, not the native kernel: {self.why_xla}"
        others = f"; {', '.join(self.others)} by XLA{padded}, since the kernel does not know them"
        return f"the native kernel{live}" + (others if self.others else "")


def choose_backend(
    setting: NativeSetting,
    spec: CellSpec,
    *dtypes: DTypeLike | None,
    step_by_step: bool = False,
    any_process: Callable[[bool], bool] = bool,
) -> Backend:
    """What computes networks of these kinds here. Builds the kernel where it may be used and has not been built yet.

    Args:
        setting: auto: the kernel where it can be used; on: the kernel or an error; off: XLA.
        spec: what is static about the networks; individuals of kinds that the kernel does not know are left to XLA.
        *dtypes: of the weights and of the factors of matrix products; None for the weights' own.
        step_by_step: whether each step's inputs depend on the outputs before it.
        any_process: whether a condition holds in any process of the run; all of them must decide alike.

    Raises:
        ValueError: the setting is on, and the kernel cannot be used.
    """
    if setting == "off":
        return Backend("native is off")
    reason = STEP_BY_STEP if step_by_step else why_not(spec, *dtypes)
    if any_process(bool(reason)) and not reason:
        reason = "another process of the run cannot use it"
    if setting == "on" and reason:
        raise ValueError(f"native must be auto or off here, since the kernel cannot be used: {reason}")
    return Backend(reason) if reason else Backend(others=tuple(unserved(spec)))


def as_served(architecture: Any, spec: CellSpec) -> Any:
    """An individual as it is, or with kinds that the kernel knows in place of those that it does not.

    A `vmap` of `where_served` computes every individual in both ways. The kernel must then take those that are not
    its own, and what it makes of them is thrown away.
    """
    if not unserved(spec):
        return architecture
    controller = _known(architecture.controller, spec.controllers, SERVED_CONTROLLERS, CONTROLLERS)
    memory = _known(architecture.memory, spec.memories, SERVED_MEMORIES, MEMORIES)
    return replace(architecture, controller=controller, memory=memory)


def _known(
    gene: Int[Array, ""], kinds: Sequence[str], served: Sequence[str], registry: Mapping[str, Any]
) -> Int[Array, ""]:
    known = np.asarray([list(registry).index(kind) for kind in kinds if kind in served], gene.dtype)
    return jnp.where(jnp.isin(gene, known), gene, known[0])
