"""Genomes of the cellular automata: rule tables and programmes, and the entries that never change."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from etm_jax._typing import Key
from etm_jax.automata._checks import at_least, whole_numbers

BLANK, BLACK, RED, BLUE = range(4)  # the states of a cell
# Three cells, left to right: what the middle one becomes, whatever a genome says. So blank tape stays blank, and a lone
# red marker and a lone pair of blue separators stay as they are.
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
        >>> from etm_jax.automata._genome import constrain_rule
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
        >>> from etm_jax.automata._genome import constrain_programme
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
        >>> from etm_jax.automata._genome import random_genome
        >>> rules, programmes = jax.vmap(lambda key: random_genome(key, 10))(jax.random.split(jax.random.key(0), 5))
        >>> rules.shape, programmes.shape
        ((5, 64), (5, 10))
    """
    at_least(1, programme_length=programme_length)
    return genome_from(jax.random.uniform(key, (NUM_ENTRIES + programme_length,)))


def genome_from(
    uniform: Float[Array, "draw"], num_states: int = 4
) -> tuple[UInt8[Array, "entry"], UInt8[Array, "cell"]]:
    """A genome from numbers between 0 and 1, one an entry: first the rule's, then the programme's cells.

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
