"""Size buckets: smaller padded shapes for the smaller networks of a population.

A bucket is a `Bounds` with lower upper ends. A genome that fits it computes there what it computes at full padding,
with less padding.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from etm_jax._typing import Params
from etm_jax.cells import Parameter
from etm_jax.cells._weights import lengths_of, map_table
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Architecture, Genome

# The genes that a bucket shortens, and the multiples its sizes are rounded up to: whole vectors of a processor, and few
# different shapes.
ROUNDED = {"num_slots": 16, "slot_width": 4, "num_read_heads": 1, "num_write_heads": 1, "controller_size": 16}
BUCKET_GENES = tuple(ROUNDED)
Part = tuple[int, int]  # how long a run of an axis is, and how long it is to be


def crop(genome: Genome, bucket: Bounds) -> Genome:
    """One genome at the padded shape of a bucket that it fits into."""

    def shorten(array: Array, axis: int, parts: Sequence[Part]) -> Array:
        starts = np.cumsum([0, *(have for have, _ in parts)])
        pieces = [
            jax.lax.slice_in_dim(array, start, start + want, axis=axis)
            for start, (_, want) in zip(starts, parts, strict=False)
        ]
        return jnp.concatenate(pieces, axis=axis)

    return replace(genome, params=_along_axes(shorten, genome.params, bucket))


def uncrop(genome: Genome, bounds: Bounds) -> Genome:
    """The inverse of `crop`: the genome at the padded shape of the bounds, zeros where the bucket has no place."""

    def lengthen(array: Array, axis: int, parts: Sequence[Part]) -> Array:
        pieces = jnp.split(array, np.cumsum([have for have, _ in parts])[:-1], axis=axis)
        padded = [
            jnp.pad(piece, [(0, want - have if position == axis else 0) for position in range(array.ndim)])
            for piece, (have, want) in zip(pieces, parts, strict=True)
        ]
        return jnp.concatenate(padded, axis=axis)

    return replace(genome, params=_along_axes(lengthen, genome.params, bounds))


def _along_axes(change: Callable[[Array, int, Sequence[Part]], Array], params: Params, shape: Bounds) -> Params:
    """Apply `change` along every axis that has another length in the padded shape of `shape`."""
    want, have = shape.axis_sizes(1, 1), lengths_of(params)
    # A memory may have no array along `write`, or none along `head`, and a network without a memory has neither.
    have["write"] = have["head"] - have["read"] if "head" in have else have.get("write", 0)
    parts = {axis: [(have[axis], want[axis])] for axis in ("unit", "width", "read", "write")}
    parts["head"] = parts["read"] + parts["write"]  # the read heads come first, and end earlier in a smaller shape

    def change_all(parameter: Parameter, array: Array) -> Array:
        for position, axis in enumerate(parameter.axes):
            if any(old != new for old, new in parts.get(axis, ())):
                array = change(array, position, parts[axis])
        return array

    return map_table(change_all, params)


def fitting(architectures: Architecture, buckets: Sequence[Bounds]) -> Bool[Array, "*population bucket"]:
    """Whether each architecture fits into each bucket."""
    return jnp.stack(
        [
            jnp.all(jnp.stack([getattr(architectures, gene) <= getattr(bucket, gene)[1] for gene in ROUNDED]), axis=0)
            for bucket in buckets
        ],
        axis=-1,
    )


def bucket_costs(buckets: Sequence[Bounds], input_size: int, output_size: int) -> Float[Array, " bucket"]:
    """Multiply-adds of a step at each bucket's padded shape."""
    return jnp.asarray([bucket.padded_multiply_adds(input_size, output_size) for bucket in buckets])


def choose_buckets(
    architectures: Architecture, bounds: Bounds, input_size: int, output_size: int, *, most: int, enough: float
) -> tuple[Bounds, ...]:
    """Few shapes in which these networks compute with little padding.

    Starts from a shape of its own for every network, rounded up to multiples of `ROUNDED`, and merges the two whose
    union costs least more, again and again, until at most `most` are left; then on, while the share of useful
    multiply-adds stays at `enough`.

    Args:
        architectures: a population, or a sample of those to come.
        bounds: the search space; always the last bucket, so that every genome of it fits one.
        input_size: channels in.
        output_size: channels out.
        most: buckets at most, at least 1.
        enough: padding efficiency beyond which more buckets are not worth their compile time.

    Returns:
        The buckets, cheapest first.
    """
    genes = np.stack([np.asarray(getattr(architectures, gene)) for gene in ROUNDED], axis=-1)
    steps, limits = np.array(list(ROUNDED.values())), np.array([getattr(bounds, gene)[1] for gene in ROUNDED])

    def bucket(sizes: list[int]) -> Bounds:
        return bounds.up_to(**dict(zip(ROUNDED, sizes, strict=True)))

    def cost(boxes: np.ndarray) -> np.ndarray:
        return np.array([bucket(box).padded_multiply_adds(input_size, output_size) for box in boxes.tolist()])

    # Without padding: what perfect buckets would cost.
    useful = cost(genes).sum()
    rounded = np.minimum(-(-genes // steps) * steps, limits)
    # Networks of one rounded shape always share a bucket, so they are merged as one box, counted.
    boxes, counts = np.unique(rounded, axis=0, return_counts=True)
    paid = counts * cost(boxes)

    def added_cost(index: int) -> np.ndarray:
        """What merging each box with one of them would add to the whole."""
        together = cost(np.maximum(boxes, boxes[index])) * (counts + counts[index]) - paid - paid[index]
        return np.where(np.arange(len(boxes)) == index, np.inf, together)

    # All pairs are costed once; a merge changes one row and one column, so each further merge costs one row only.
    added = np.stack([added_cost(index) for index in range(len(boxes))])
    # The bounds themselves are a bucket too, so one box fewer than `most`.
    while len(boxes) > 1 and (len(boxes) >= most or useful / (paid.sum() + added.min()) >= enough):
        kept, gone = sorted(divmod(int(np.argmin(added)), len(boxes)))
        boxes[kept], counts[kept] = np.maximum(boxes[kept], boxes[gone]), counts[kept] + counts[gone]
        paid[kept] = counts[kept] * cost(boxes[kept][None])[0]
        boxes, counts, paid = (np.delete(array, gone, axis=0) for array in (boxes, counts, paid))
        added = np.delete(np.delete(added, gone, axis=0), gone, axis=1)
        added[kept] = added[:, kept] = added_cost(kept)
    if most == 1:
        return (bounds,)
    chosen = np.unique([*boxes, limits], axis=0)
    # Cheapest first, because a network takes the first bucket that holds it; a stable sort keeps ties in one order.
    return tuple(bucket(sizes) for sizes in chosen[np.argsort(cost(chosen), kind="stable")].tolist())
