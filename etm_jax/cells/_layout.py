"""What a cell says of each of its weight arrays, so that masks, initialisation, growth and export need no cell code."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array, Float

HEAD_FAN_IN = (("unit",),)  # of what a controller emits
OPEN = 10.0  # a logit that makes a sigmoid or softmax all but 1


def zeros(sizes: dict[str, int]) -> Float[Array, ""]:
    """Start at zero."""
    del sizes
    return jnp.zeros(())


@dataclass(frozen=True)
class Parameter:
    """One weight array of a cell, described by the axes that genes can shorten.

    Attributes:
        axes: names of the array's axes, in order. A gene decides how many entries of an axis exist.
        fan_in: what feeds the same target, as a sum of products of axis sizes, `(("input",), ("unit",))` for
            `num_inputs + num_units`. Empty: not drawn, the array starts at `start`.
        start: from axis sizes to a value that broadcasts to the array; used where `fan_in` is empty.
        closed_axes: positions in `axes`. An entry that is new along one of them starts at `closed` when an existing
            network grows, so that growth keeps the function.
        closed: from axis sizes to a value that broadcasts to the array.
        kinds: controllers or memories that have this array; empty for all.
    """

    axes: tuple[str, ...]
    fan_in: tuple[tuple[str, ...], ...] = ()
    start: Callable[[dict[str, int]], Float[Array, "..."]] = zeros
    closed_axes: tuple[int, ...] = ()
    closed: Callable[[dict[str, int]], Float[Array, "..."]] = zeros
    kinds: tuple[str, ...] = ()


def only_for(kind: str, table: dict[str, Parameter]) -> dict[str, dict[str, Parameter]]:
    """A block, named after the one kind of controller or memory that has it."""
    return {kind: {name: replace(parameter, kinds=(kind,)) for name, parameter in table.items()}}
