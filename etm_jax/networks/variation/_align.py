"""Which hidden units of two parents correspond, so that weights mix between units that do the same."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._distances import squared_distances
from etm_jax._typing import IntScalar, Mask, Params
from etm_jax.cells import Parameter
from etm_jax.cells._weights import map_table
from etm_jax.networks.genome._genes import Genome

UNIT = "unit"


def permute_units(genome: Genome, order: Int[Array, " unit"]) -> Genome:
    """The genome with its hidden units in another order; what it computes stays the same.

    All weights of a unit move together: those it gets from inputs, reads and units, its gates, and those it gives to
    units, heads, outputs and whatever else.

    Args:
        genome: one individual.
        order: `order[i]` is the unit that comes to place i; units that exist must stay in front.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.networks import Bounds, random_genome
        >>> from etm_jax.networks.variation._align import permute_units
        >>> bounds = Bounds(num_slots=(4, 4), slot_width=(4, 4), controller_size=(3, 3))
        >>> genome = random_genome(jax.random.key(0), bounds, 3, 2)
        >>> moved = permute_units(genome, jnp.array([2, 0, 1]))
        >>> bool((moved.params["controller"]["bias"][:, 0] == genome.params["controller"]["bias"][:, 2]).all())
        True
    """
    return replace(genome, params=_permuted(genome.params, order))


def _permuted(tree: Params | Mask, order: Int[Array, " unit"]) -> Params | Mask:
    """Of weights, or of their mask."""

    def permute(parameter: Parameter, array: Array) -> Array:
        for position, axis in enumerate(parameter.axes):
            if axis == UNIT:
                array = jnp.take(array, order, axis=position)
        return array

    return map_table(permute, tree)


def align_units(child: Genome, second: Genome, here: Mask, there: Mask) -> tuple[Params, Mask]:
    """The weights of a second parent with its hidden units in the child's order, and which of them exist.

    Units are matched greedily, the most alike first. The unlikeness of two units is the squared distance of all their
    weights that no order of units enters: from inputs and reads, of gates, to heads and outputs. A parent's order then
    makes no difference: in whatever order its units are, the same ones mix.

    Args:
        child: one individual; its units stay where they are.
        second: the other parent.
        here: which of the child's weights exist.
        there: which of the second parent's do.

    Returns:
        Weights and mask at the padded shape. Units without a counterpart stand where the child has none, or are
        missing where the second parent has fewer.

    Cost: as many passes over a `[unit, unit]` matrix as a unit has weights and as there are units.
    """
    # Units feed the output whatever the kinds, so this array says which exist.
    own, other = (jnp.any(mask["output"]["controller_kernel"], axis=1) for mask in (here, there))
    exists = own[:, None] & other[None]
    order = match(jnp.where(exists, _unlikeness(child.params, second.params, here, there), jnp.inf))
    return _permuted(second.params, order), _permuted(there, order)


def _unlikeness(one: Params, other: Params, here: Mask, there: Mask) -> Float[Array, "unit unit"]:
    """Squared distances of the units' weights, of entries that both networks have."""
    columns: list[tuple[Array, Array]] = []

    def add(parameter: Parameter, own: Array, theirs: Array, here: Array, there: Array) -> None:
        if parameter.axes.count(UNIT) != 1:
            return
        axis = parameter.axes.index(UNIT)
        both = jnp.any(here, axis, keepdims=True) & jnp.any(there, axis, keepdims=True)
        pair = jnp.where(both & here, own, 0), jnp.where(both & there, theirs, 0)
        first, second = (jnp.moveaxis(array, axis, 0) for array in pair)
        columns.append((first.reshape(first.shape[0], -1), second.reshape(second.shape[0], -1)))

    map_table(add, one, other, here, there)
    first, second = (jnp.concatenate(side, axis=1) for side in zip(*columns, strict=True))
    return squared_distances(first, second)


def match(unlikeness: Float[Array, "unit unit"]) -> Int[Array, " unit"]:
    """Match every row to a column of its own, greedily: the least entry first, then the least of what is left.

    Entries that are infinite or NaN come last.
    """
    size = unlikeness.shape[0]
    most = jnp.finfo(unlikeness.dtype).max  # beyond it only what is taken
    start = jnp.where(unlikeness < most, unlikeness, most), jnp.zeros(size, jnp.int32)

    def take(_: IntScalar, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        left, columns = carry
        row, column = jnp.divmod(jnp.argmin(left), size)
        left = left.at[row].set(jnp.inf).at[:, column].set(jnp.inf)
        return left, columns.at[row].set(column.astype(jnp.int32))

    return jax.lax.fori_loop(0, size, take, start)[1]
