"""What nodes do with their sums."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._require import require


def steep_sigmoid(x: Array) -> Array:
    """The sigmoid of 4.9 x (Stanley and Miikkulainen 2002, section 4.1)."""
    return jax.nn.sigmoid(4.9 * x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": steep_sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "identity": lambda x: x,
    "sine": lambda x: jnp.sin(jnp.pi * x),
    "gaussian": lambda x: jnp.exp(-jnp.square(jnp.clip(x, -9, 9))),
    "absolute": jnp.abs,
}


def check_activations(names: tuple[str, ...]) -> None:
    """Refuse names of functions that there are not.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    known = bool(names) and all(name in ACTIVATIONS for name in names)
    require(known, "activations", f"some of {', '.join(ACTIVATIONS)}", names)


def activate(
    sums: Float[Array, "node *batch"], kinds: Int[Array, " node"], names: tuple[str, ...]
) -> Float[Array, "node *batch"]:
    """Each node's own function of its sums; `kinds` counts in `names`."""
    kinds = kinds.reshape(-1, *(1,) * (sums.ndim - 1))
    found = ACTIVATIONS[names[0]](sums)
    for index, name in enumerate(names[1:], start=1):
        found = jnp.where(kinds == index, ACTIVATIONS[name](sums), found)
    return found
