"""What a network costs: multiply-adds a step, and numbers of weights."""

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax.cells import CONTROLLERS, FROM_INPUTS, FROM_UNITS, MEMORIES
from etm_jax.networks.genome._architecture import RANGES, Architecture, ranges
from etm_jax.networks.genome._bounds import ADDRESSING, CONTENT_AND_LOCATION, Bounds
from etm_jax.networks.genome._genome import Genome, mask_of

GATES = 4  # of the controller that has most
ADDRESS_PASSES = 4  # passes over a weighting besides the key products: softmax, gate, sharpening, normalisation


def multiply_adds(
    architecture: Architecture, input_size: int, output_size: int, attention_width: int = 16
) -> Float[Array, "*population"]:
    """Multiply-adds that one step of a network needs at its real sizes.

    Of a Neural Turing Machine with an LSTM, the sum of the controller `4H(D + RW + H)`, the interface
    `H(heads(W + 1 + fields) + 2 writes W)`, addressing `heads N (W + shifts + 4) + N W`, writing `3 writes N W`,
    reading `R N W` and the output `O(H + RW)`; fields and shifts are 0 with content addressing only. Other kinds lack
    what they do not have. Times the most ponder steps, but for the output.

    Args:
        architecture: genes, of one network or of a population.
        input_size: channels in, D.
        output_size: channels out, O.
        attention_width: of a window controller's heads, as in the bounds.
    """
    sizes = [getattr(architecture, name).astype(float) for name in RANGES]
    kinds = {name: architecture.controller == index for index, name in enumerate(CONTROLLERS)}
    kinds |= {name: architecture.memory == index for index, name in enumerate(MEMORIES)}
    located = architecture.addressing == ADDRESSING.index(CONTENT_AND_LOCATION)
    return count_multiply_adds(sizes, located, kinds, input_size, output_size, attention_width)


def count_multiply_adds(
    sizes: Sequence[Any],
    located: Any,
    kinds: dict[str, Any],
    input_size: int,
    output_size: int,
    attention_width: int,
) -> Any:
    """The arithmetic of `multiply_adds`, on numbers or on arrays of any library; sizes in the order of `RANGES`.

    With several `kinds` at once, it is that of the dearest parts among them.
    """
    slots, width, reads, writes, units, shift_range, ponder_steps, window, layers, attention_heads = sizes
    from_inputs, from_units = (gates_of(table, kinds) for table in (FROM_INPUTS, FROM_UNITS))
    by_content = kinds["ntm"] | kinds["dnc"]
    moving = (kinds["ntm"] & located) | kinds["tape"]
    gated = kinds["ntm"] & located
    remembers = by_content | kinds["tape"] | kinds["hard_tape"]
    by_content, moving, remembers, gated = map(_number, (by_content, moving, remembers, gated))
    dnc, hard_tape, has_window = (_number(kinds[name]) for name in ("dnc", "hard_tape", "window"))
    reads, writes = reads * remembers, writes * remembers
    heads = reads + writes
    shifts = moving * (2 * shift_range + 1)
    fields = moving * (1 + shifts) + gated
    controller = units * (from_inputs * (input_size + reads * width) + from_units * units)
    interface = units * (heads * (by_content * (width + 1) + fields) + (1 + by_content) * writes * width)
    addressing = heads * slots * (by_content * width + shifts + ADDRESS_PASSES) + by_content * slots * width
    memory = ((1 + 2 * by_content) * writes + reads) * slots * width
    links = dnc * (writes * slots * slots * (3 + 2 * reads) + units * (2 * reads + 2 * (reads + 1) * writes))
    jumps = hard_tape * writes * (slots * width + 5 * units)
    tokens, inner = window + reads, attention_heads * attention_width
    whole_layer = tokens * (4 * units * inner + 2 * tokens * inner + 8 * units * units)
    last_layer = 2 * tokens * inner * (units + 1) + 2 * units * inner + 8 * units * units
    encoder = (layers - 1) * whole_layer + last_layer + units * (input_size + reads * width + 2 * units)
    step = controller + interface + addressing + memory + links + jumps + has_window * encoder
    return ponder_steps * step + output_size * (units + reads * width)


def gates_of(table: dict[str, tuple[int, ...]], kinds: dict[str, Any]) -> Any:
    """How many gates there are among those of a table that some of the kinds has."""
    owners = [[kinds[kind] for kind, places in table.items() if place in places] for place in range(GATES)]
    return sum(_number(functools.reduce(operator.or_, own)) for own in owners)


def _number(holds: Any) -> Any:
    """1.0 where it holds, else 0.0, as a number or as an array of the same library."""
    return holds.astype(float) if hasattr(holds, "astype") else float(holds)


def efficiency(
    architecture: Architecture, bounds: Bounds, input_size: int, output_size: int
) -> Float[Array, "*population"]:
    """How cheap a network is: 1 for the cheapest architecture of the bounds, 0 for the dearest.

    Falls linearly with the logarithm of `multiply_adds`; 1 where the bounds allow just one cost.
    """
    low = math.log(least_multiply_adds(bounds, input_size, output_size))
    high = math.log(padded_multiply_adds(bounds, input_size, output_size))
    cost = jnp.log(multiply_adds(architecture, input_size, output_size, bounds.attention_width))
    return jnp.clip((high - cost) / (high - low), 0.0, 1.0) if high > low else jnp.ones_like(cost)


def padded_multiply_adds(bounds: Bounds, input_size: int, output_size: int) -> float:
    """Multiply-adds that one step takes at the padded sizes of the bounds."""
    sizes = [float(high) for _, (_, high) in ranges(bounds)]
    kinds = {name: name in bounds.controllers + bounds.memories for name in CONTROLLERS + MEMORIES}
    return float(count_multiply_adds(sizes, bounds.gated, kinds, input_size, output_size, bounds.attention_width))


def least_multiply_adds(bounds: Bounds, input_size: int, output_size: int) -> float:
    """Multiply-adds of a step of the cheapest architecture of the bounds."""
    sizes = [float(low) for _, (low, _) in ranges(bounds)]
    costs = []
    for controller, memory, addressing in itertools.product(bounds.controllers, bounds.memories, bounds.addressing):
        kinds = {name: name in (controller, memory) for name in CONTROLLERS + MEMORIES}
        located = addressing == CONTENT_AND_LOCATION
        cost = count_multiply_adds(sizes, located, kinds, input_size, output_size, bounds.attention_width)
        costs.append(float(cost))
    return min(costs)


def padding_efficiency(population: Architecture, bounds: Bounds, input_size: int, output_size: int) -> Float[Array, ""]:
    """Useful over executed multiply-adds when a population is evaluated at the padded sizes of the bounds."""
    useful = multiply_adds(population, input_size, output_size, bounds.attention_width)
    return jnp.mean(useful) / padded_multiply_adds(bounds, input_size, output_size)


@functools.partial(jax.jit, static_argnums=1)
def num_parameters(genome: Genome, bounds: Bounds) -> Int[Array, ""]:
    """How many weights of a genome exist. Jitted, since op by op this is some eighty compiles."""
    return jnp.sum(jnp.stack([jnp.sum(mask) for mask in jax.tree.leaves(mask_of(genome, bounds))]))
