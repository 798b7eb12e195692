"""Checks of what a caller hands in, before anything is traced."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def at_least(least: int, **sizes: int) -> None:
    """Refuse sizes that are no whole numbers, as True is none, or below the least one.

    Raises:
        ValueError: one is.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {size!r}")


def whole_numbers(name: str, values: Any, shape: Sequence[int | None]) -> jax.Array:
    """An array of whole numbers, refused where its shape or its type does not fit.

    Args:
        name: of the parameter.
        values: an array.
        shape: what is asked for; None stands for any size.

    Raises:
        ValueError: another number of axes or another size.
        TypeError: not whole numbers.
    """
    array = jnp.asarray(values)
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must be whole numbers, got {array.dtype}; convert with .astype(int)")
    return array


def in_range(name: str, values: jax.Array, least: int, greatest: int, way_out: str = "") -> None:
    """Refuse values outside `least` to `greatest`. Within a trace values are unknown, and nothing is refused.

    Raises:
        ValueError: a value is outside.
    """
    try:
        known = np.asarray(values)
    except jax.errors.TracerArrayConversionError:
        return
    wrong = known[(known < least) | (known > greatest)]
    if wrong.size:
        hint = f"; {way_out}" if way_out else ""
        raise ValueError(f"{name} must be {least} to {greatest}, got {wrong[0]}{hint}")


def check_digits(name: str, text: str, states: int, count: int | None = None) -> None:
    """Refuse what is no text of so many digits below `states`; None for any number of them but 0.

    Raises:
        ValueError: it is none.
    """
    fits = isinstance(text, str) and set(text) <= set("0123456789"[:states]) and len(text) == (count or len(text) or 1)
    if not fits:
        many = "digits" if count is None else f"{count} digits"
        raise ValueError(f"{name} must be {many} from 0 to {states - 1}, got {text!r:.80}")
