"""Architecture genes: the whole numbers that say how large each part of one network is."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._typing import Key, pytree
from etm_jax.cells import CONTROLLERS, MEMORIES, Active, Family
from etm_jax.networks.genome._bounds import ADDRESSING, CHOICES, CONTENT_AND_LOCATION, Bounds

RANGES = (
    "num_slots",
    "slot_width",
    "num_read_heads",
    "num_write_heads",
    "controller_size",
    "shift_range",
    "ponder_steps",
    "window_size",
    "num_layers",
    "attention_heads",
)
GENES = (*RANGES, *CHOICES)


@pytree
class Architecture:
    """The sizes of one network, or of a population with a leading axis on every field.

    `addressing`, `controller` and `memory` are indices into `ADDRESSING`, `CONTROLLERS` and `MEMORIES`; the other
    fields count what their names say.
    """

    num_slots: Int[Array, "*population"]
    slot_width: Int[Array, "*population"]
    num_read_heads: Int[Array, "*population"]
    num_write_heads: Int[Array, "*population"]
    controller_size: Int[Array, "*population"]
    shift_range: Int[Array, "*population"]
    ponder_steps: Int[Array, "*population"]
    window_size: Int[Array, "*population"]
    num_layers: Int[Array, "*population"]
    attention_heads: Int[Array, "*population"]
    addressing: Int[Array, "*population"]
    controller: Int[Array, "*population"]
    memory: Int[Array, "*population"]


def random_architecture(key: Key, bounds: Bounds) -> Architecture:
    """Draw every gene uniformly from its range. The key is consumed."""
    return architecture_at(jax.random.uniform(key, (len(GENES),)), bounds)


def architecture_at(position: Float[Array, " gene"], bounds: Bounds) -> Architecture:
    """The architecture at a position in the unit cube, one coordinate in [0, 1) a gene in the order of `GENES`."""
    genes = {}
    for index, (name, (low, high)) in enumerate(ranges(bounds)):
        genes[name] = low + jnp.floor(position[index] * (high - low + 1)).astype(jnp.int32)
    for index, (name, kinds) in enumerate(choices(bounds), len(RANGES)):
        allowed = jnp.asarray(kinds, jnp.int32)
        genes[name] = allowed[jnp.floor(position[index] * allowed.size).astype(jnp.int32)]
    return Architecture(**genes)


def ranges(bounds: Bounds) -> list[tuple[str, tuple[int, int]]]:
    """The numeric genes with their inclusive ranges."""
    return [(name, getattr(bounds, name)) for name in RANGES]


def choices(bounds: Bounds) -> list[tuple[str, tuple[int, ...]]]:
    """The genes that choose a kind, each with the indices of the kinds that may occur."""
    return [
        (gene, tuple(kinds.index(kind) for kind in getattr(bounds, name))) for gene, (name, kinds) in CHOICES.items()
    ]


def smallest(bounds: Bounds) -> Architecture:
    """The cheapest architecture of the bounds."""
    return _corner(bounds, end=0)


def largest(bounds: Bounds) -> Architecture:
    """The dearest architecture of the bounds."""
    return _corner(bounds, end=1)


def _corner(bounds: Bounds, end: int) -> Architecture:
    genes = {name: jnp.asarray(interval[end]) for name, interval in ranges(bounds)}
    genes |= {name: jnp.asarray(sorted(kinds)[-end]) for name, kinds in choices(bounds)}
    return Architecture(**genes)


def active_axes(architecture: Architecture, bounds: Bounds) -> Active:
    """Which entries of each padded axis exist in a network of this architecture."""
    family, sizes = bounds.family, bounds.axis_sizes(1, 1)
    memory = jnp.arange(len(MEMORIES)) == architecture.memory
    is_tape, is_ntm, remembers = memory[MEMORIES.index("tape")], memory[MEMORIES.index("ntm")], ~memory[0]
    gating = is_ntm & (architecture.addressing == ADDRESSING.index(CONTENT_AND_LOCATION))
    moves = gating | is_tape
    location = jnp.zeros((0,), bool)
    if bounds.located:
        widest = bounds.shift_range[1]
        reachable = jnp.abs(jnp.arange(-widest, widest + 1)) <= architecture.shift_range
        location = jnp.concatenate([jnp.ones(1, bool), reachable]) & moves
    return Active(
        unit=_first(architecture.controller_size, sizes["unit"]),
        slot=_first(architecture.num_slots, sizes["slot"]) & remembers,
        width=_first(architecture.slot_width, sizes["width"]) & remembers,
        read=_first(architecture.num_read_heads, sizes["read"]) & remembers,
        write=_first(architecture.num_write_heads, sizes["write"]) & remembers,
        location=location,
        gating=gating[None][: sizes["gating"]],
        controller=jnp.arange(len(CONTROLLERS)) == architecture.controller,
        memory=memory,
        ponder=_first(architecture.ponder_steps, family.ponder_steps),
        window=_first(architecture.window_size, sizes["window"]),
        layer=_first(architecture.num_layers, sizes["layer"]),
        attention_head=_first(architecture.attention_heads, sizes["attention_head"]),
        family=family,
    )


def _first(count: Int[Array, ""], size: int) -> Bool[Array, " size"]:
    return jnp.arange(size) < count


def describe(architecture: Architecture) -> dict[str, int | str]:
    """One architecture as plain numbers and words, for JSON and for people."""
    genes: dict[str, int | str] = {name: int(getattr(architecture, name)) for name in RANGES}
    return genes | {name: kinds[int(getattr(architecture, name))] for name, (_, kinds) in CHOICES.items()}


def architecture_from(genes: dict[str, int | str]) -> Architecture:
    """The inverse of `describe`.

    Raises:
        ValueError: a gene is missing or unknown, or a kind is unknown.
    """
    if set(genes) != set(GENES):
        raise ValueError(f"an architecture needs exactly the genes {GENES}, got {genes}")
    for name, (_, kinds) in CHOICES.items():
        if genes[name] not in kinds:
            raise ValueError(f"{name} must be one of {kinds}, got {genes[name]!r}")
    numbers = {name: jnp.asarray(int(genes[name])) for name in RANGES}
    kinds = {name: jnp.asarray(kinds.index(str(genes[name]))) for name, (_, kinds) in CHOICES.items()}
    return Architecture(**numbers, **kinds)


def bounds_of(genes: dict[str, int | str], family: Family | None = None) -> Bounds:
    """The bounds that hold just this architecture, as `describe` gives it; what no gene says is that of a family."""
    only: dict[str, Any] = {name: (int(genes[name]), int(genes[name])) for name in RANGES}
    only |= {name: (str(genes[gene]),) for gene, (name, _) in CHOICES.items()}
    if family is not None:
        only |= {"attention_width": family.attention_width, "sparse_links": family.sparse_links}
    return Bounds(**only)
