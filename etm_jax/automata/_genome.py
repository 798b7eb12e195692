"""Genomes of the cellular automata: rule tables, programmes, entries that never change; and the checks of both."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from etm_jax._typing import Key

BLANK, BLACK, RED, BLUE = range(4)  # the states of a cell
# Three cells, left to right: what the middle one becomes, whatever the genome. Blank tape stays blank, and a red marker
# and a pair of blue separators stay as they are while no other cell is near.
FIXED_EM43 = {
    (BLANK, BLANK, BLANK): BLANK,
    (BLANK, RED, BLANK): RED,
    (BLANK, BLANK, RED): BLANK,
    (RED, BLANK, BLANK): BLANK,
    (BLANK, BLUE, BLUE): BLUE,
    (BLUE, BLUE, BLANK): BLUE,
    (BLANK, BLANK, BLUE): BLANK,
    (BLUE, BLANK, BLANK): BLANK,
}
FIXED_EM33 = {(BLANK, BLANK, BLANK): BLANK}
STATES = {64: 4, 27: 3}  # size of a rule table: states of a cell
NUM_ENTRIES = 64  # of a rule of `EM43`
PROGRAMME_CHANCES = (0.7, 0.2, 0.1)  # of blank, black and red in a random programme


def constrain_rule(rule: Any) -> UInt8[Array, "entry"]:
    """A rule table with its fixed entries restored; apply it after every change of a rule.

    Entry `s^2 left + s centre + right` of the table is what a cell becomes, for s states: 64 entries for the four
    states of `EM43`, 27 for the three of `EM33`.

    Args:
        rule: `[64]` or `[27]`, states.

    Raises:
        ValueError: the table has another size.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax.automata import constrain_rule
        >>> constrain_rule(jnp.full(27, 2))[:3].tolist()
        [0, 2, 2]
    """
    rule = whole_numbers("rule", rule, (None,))
    if rule.size not in STATES:
        raise ValueError(f"rule must have 64 entries (EM43) or 27 (EM33), got {rule.size}")
    states = STATES[rule.size]
    fixed = FIXED_EM43 if rule.size == 64 else FIXED_EM33
    entries = jnp.asarray([states**2 * left + states * centre + right for left, centre, right in fixed])
    return rule.astype(jnp.uint8).at[entries].set(jnp.asarray(list(fixed.values()), jnp.uint8))


def constrain_programme(programme: Any) -> UInt8[Array, "cell"]:
    """A programme without blue cells, which only separate it from the input; they become blank.

    Args:
        programme: `[cell]`, states.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax.automata import constrain_programme
        >>> constrain_programme(jnp.asarray([1, 3, 2])).tolist()
        [1, 0, 2]
    """
    programme = whole_numbers("programme", programme, (None,)).astype(jnp.uint8)
    return jnp.where(programme == BLUE, jnp.uint8(BLANK), programme)


def random_genome(key: Key, programme_length: int = 32) -> tuple[UInt8[Array, "64"], UInt8[Array, "cell"]]:
    """A rule of uniform states and a sparse programme for `EM43`, both constrained.

    Args:
        key: consumed.
        programme_length: cells of the programme.

    Returns:
        The rule `[64]` and the programme `[cell]`.

    Raises:
        ValueError: the programme would have no cell.

    Example:
        >>> import jax
        >>> from etm_jax.automata import random_genome
        >>> rules, programmes = jax.vmap(lambda key: random_genome(key, 10))(jax.random.split(jax.random.key(0), 5))
        >>> rules.shape, programmes.shape
        ((5, 64), (5, 10))
    """
    at_least(1, programme_length=programme_length)
    return genome_from(jax.random.uniform(key, (NUM_ENTRIES + programme_length,)))


def genome_from(
    uniform: Float[Array, "draw"], num_states: int = 4
) -> tuple[UInt8[Array, "entry"], UInt8[Array, "cell"]]:
    """A genome from one number between 0 and 1 for each entry of the rule, then for each cell of the programme.

    A cell of the programme is blank below 0.7, black below 0.9, else red.

    Args:
        uniform: as many as entries and cells together.
        num_states: of a cell.
    """
    size = num_states**3
    rule = jnp.floor(num_states * uniform[:size]).astype(jnp.int32)
    bounds = jnp.cumsum(jnp.asarray(PROGRAMME_CHANCES))[:-1]
    programme = jnp.sum(uniform[size:, None] >= bounds[None], axis=1)
    return constrain_rule(rule), programme.astype(jnp.uint8)


def at_least(least: int, **sizes: int) -> None:
    """Refuse sizes that are not whole numbers of at least the least one; True is no number.

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
    """Refuse values outside `least` to `greatest`; traced values are unknown, and pass.

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
    """Refuse text that is not `count` digits below `states`, or at least one where `count` is None.

    Raises:
        ValueError: another character, or another number of them.
    """
    fits = isinstance(text, str) and set(text) <= set("0123456789"[:states]) and len(text) == (count or len(text) or 1)
    if not fits:
        many = "digits" if count is None else f"{count} digits"
        raise ValueError(f"{name} must be {many} from 0 to {states - 1}, got {text!r:.80}")
