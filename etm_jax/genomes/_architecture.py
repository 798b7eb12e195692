"""Architecture genes: the whole numbers that say how large each part of one network is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree
from etm_jax.cells import NTMActive
from etm_jax.genomes._bounds import ADDRESSING, CONTENT_AND_LOCATION, Bounds

RANGES = ("num_slots", "slot_width", "num_read_heads", "num_write_heads", "controller_size", "shift_range")
GENES = (*RANGES, "addressing")


@pytree
class Architecture:
    """The sizes of one network, or of a population with a leading axis on every field.

    `addressing` is an index into `ADDRESSING`; the other fields count what their names say.
    """

    num_slots: Int[Array, "*population"]
    slot_width: Int[Array, "*population"]
    num_read_heads: Int[Array, "*population"]
    num_write_heads: Int[Array, "*population"]
    controller_size: Int[Array, "*population"]
    shift_range: Int[Array, "*population"]
    addressing: Int[Array, "*population"]


def random_architecture(key: Key, bounds: Bounds) -> Architecture:
    """Draw every gene uniformly from its range. The key is consumed."""
    return architecture_at(jax.random.uniform(key, (len(GENES),)), bounds)


def architecture_at(position: Float[Array, " gene"], bounds: Bounds) -> Architecture:
    """The architecture at a position in the unit cube, one coordinate in [0, 1) a gene in the order of `GENES`."""
    genes = {}
    for index, (name, (low, high)) in enumerate(ranges(bounds)):
        genes[name] = low + jnp.floor(position[index] * (high - low + 1)).astype(int)
    allowed = jnp.array([ADDRESSING.index(kind) for kind in bounds.addressing])
    return Architecture(**genes, addressing=allowed[jnp.floor(position[-1] * allowed.size).astype(int)])


def ranges(bounds: Bounds) -> list[tuple[str, tuple[int, int]]]:
    """The numeric genes with their inclusive ranges."""
    return [(name, getattr(bounds, name)) for name in RANGES]


def smallest(bounds: Bounds) -> Architecture:
    """The cheapest architecture of the bounds."""
    return _corner(bounds, end=0)


def largest(bounds: Bounds) -> Architecture:
    """The dearest architecture of the bounds."""
    return _corner(bounds, end=1)


def _corner(bounds: Bounds, end: int) -> Architecture:
    genes = {name: jnp.asarray(interval[end]) for name, interval in ranges(bounds)}
    kinds = sorted(ADDRESSING.index(kind) for kind in bounds.addressing)
    return Architecture(**genes, addressing=jnp.asarray(kinds[-end]))


def active_axes(architecture: Architecture, bounds: Bounds) -> NTMActive:
    """Which entries of each padded axis exist in a network of this architecture."""
    located = architecture.addressing == ADDRESSING.index(CONTENT_AND_LOCATION)
    location = jnp.zeros((0,), bool)
    if CONTENT_AND_LOCATION in bounds.addressing:
        widest = bounds.shift_range[1]
        reachable = jnp.abs(jnp.arange(-widest, widest + 1)) <= architecture.shift_range
        location = jnp.concatenate([jnp.ones(2, bool), reachable]) & located
    return NTMActive(
        unit=_first(architecture.controller_size, bounds.controller_size[1]),
        slot=_first(architecture.num_slots, bounds.num_slots[1]),
        width=_first(architecture.slot_width, bounds.slot_width[1]),
        read=_first(architecture.num_read_heads, bounds.num_read_heads[1]),
        write=_first(architecture.num_write_heads, bounds.num_write_heads[1]),
        location=location,
    )


def _first(count: Int[Array, ""], size: int) -> Bool[Array, " size"]:
    return jnp.arange(size) < count


def describe(architecture: Architecture) -> dict[str, int | str]:
    """One architecture as plain numbers and words, for JSON and for people."""
    genes: dict[str, int | str] = {name: int(getattr(architecture, name)) for name in RANGES}
    return genes | {"addressing": ADDRESSING[int(architecture.addressing)]}


def architecture_from(genes: dict[str, int | str]) -> Architecture:
    """The inverse of `describe`.

    Raises:
        ValueError: a gene is missing or unknown, or the addressing is not one of `ADDRESSING`.
    """
    if set(genes) != set(GENES) or genes["addressing"] not in ADDRESSING:
        raise ValueError(f"an architecture needs exactly the genes {GENES}, addressing in {ADDRESSING}, got {genes}")
    numbers = {name: jnp.asarray(int(genes[name])) for name in RANGES}
    return Architecture(**numbers, addressing=jnp.asarray(ADDRESSING.index(str(genes["addressing"]))))
