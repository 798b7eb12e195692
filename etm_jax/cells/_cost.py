"""What a step of a network costs, from the records of its kinds."""

import functools
import operator
from typing import Any

from etm_jax.cells._kinds import Sizes
from etm_jax.cells._registry import CONTROLLERS, MEMORIES, sharing

ADDRESS_PASSES = 4  # passes over a weighting besides the key products: softmax, gate, sharpening, normalisation


def step_cost(sizes: Sizes, kinds: dict[str, Any], by_location: Any) -> Any:
    """Multiply-adds of a step, with numbers or with arrays of any library.

    Args:
        sizes: of one network or of several.
        kinds: whether a network is of each kind in `CONTROLLERS` and `MEMORIES`. With several at once the cost is that
            of the costliest parts among them.
        by_location: whether heads that have a gate choose between content and location.
    """
    gated = _any(kinds, sharing("gate")) & by_location
    moving = gated | _any(kinds, tuple(kind for kind in sharing("location") if kind not in sharing("gate")))
    remembers = _number(_any(kinds, tuple(name for name, kind in MEMORIES.items() if kind.step)))
    moving, gated = _number(moving), _number(gated)
    keys, erases = (_number(_any(kinds, sharing(field))) for field in ("key", "erase"))
    reads, writes = sizes.num_read_heads * remembers, sizes.num_write_heads * remembers
    sizes = sizes._replace(num_read_heads=reads, num_write_heads=writes)
    slots, width, units = sizes.num_slots, sizes.slot_width, sizes.controller_size
    heads = reads + writes
    shifts = moving * (2 * sizes.shift_range + 1)
    fields = moving * (1 + shifts) + gated
    from_inputs, from_units = (_num_gates(kinds, source) for source in ("from_inputs", "from_units"))
    controller = units * (from_inputs * (sizes.num_inputs + reads * width) + from_units * units)
    interface = units * (heads * (keys * (width + 1) + fields) + (1 + erases) * writes * width)
    addressing = heads * slots * (keys * width + shifts + ADDRESS_PASSES) + keys * slots * width
    memory = ((1 + 2 * erases) * writes + reads) * slots * width
    step = controller + interface + addressing + memory
    for name, kind in {**MEMORIES, **CONTROLLERS}.items():
        if kind.cost:
            step = step + _number(kinds[name]) * kind.cost(sizes)
    return sizes.ponder_steps * step + sizes.num_outputs * (units + reads * width)


def _num_gates(kinds: dict[str, Any], source: str) -> Any:
    """Number of gates that any of the kinds makes from this source."""
    places = {place for kind in CONTROLLERS.values() for place in getattr(kind, source)}
    owners = [tuple(name for name, kind in CONTROLLERS.items() if place in getattr(kind, source)) for place in places]
    return sum(_number(_any(kinds, own)) for own in owners)


def _any(kinds: dict[str, Any], names: tuple[str, ...]) -> Any:
    return functools.reduce(operator.or_, [kinds[name] for name in names])


def _number(holds: Any) -> Any:
    """1.0 where it holds, else 0.0, as a number or as an array of the same library."""
    return holds.astype(float) if hasattr(holds, "astype") else float(holds)
