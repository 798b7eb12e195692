"""Masks and initial weights at padded shape, both read off the cell's parameter table."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from etm_jax._typing import Key, Mask, Params
from etm_jax.cells._heads import SHIFT
from etm_jax.cells._kinds import Parameter, value_of
from etm_jax.cells._parameters import PARAMETERS, table_of
from etm_jax.cells._registry import CONTROLLERS, constant_axes, gates_of
from etm_jax.cells._spec import Active, CellSpec, outer


def axis_sizes(
    spec: CellSpec,
    *,
    num_inputs: int,
    num_outputs: int,
    num_slots: int,
    slot_width: int,
    num_read_heads: int,
    num_write_heads: int,
    controller_size: int,
    shift_range: int,
    gated: bool,
    window_size: int,
    num_layers: int,
    attention_heads: int,
) -> dict[str, int]:
    """Size of every axis that the parameter table names, and of `slot`.

    A `shift_range` of 0 is that of heads that cannot move; `gated` says whether some choose between content and
    location. Where no network has a memory there are no heads, slots or widths; where networks may ponder there is
    one more input, which says that a step is the first over its input.
    """
    reads, writes = (count * spec.remembers for count in (num_read_heads, num_write_heads))
    pondering, gates = int(spec.ponder_steps > 1), gates_of(spec)
    return {
        "input": num_inputs + pondering,
        "output": num_outputs,
        "input_gate": len(gates.from_inputs),
        "unit_gate": len(gates.from_units),
        "gate": len(gates.all),
        "recurrence": 1,
        "unit": controller_size,
        "slot": num_slots * spec.remembers,
        "width": slot_width * spec.remembers,
        "read": reads,
        "write": writes,
        "head": reads + writes,
        "location": SHIFT + 2 * shift_range + 1 if shift_range else 0,
        "gating": int(gated),
        "pondering": pondering,
        "window": window_size,
        "layer": num_layers,
        "attention_head": attention_heads,
        "key": spec.attention_width,
        **constant_axes(),
    }


def active_by_axis(active: Active, num_inputs: int, num_outputs: int) -> dict[str, Bool[Array, "_"]]:
    """Which entries exist along every axis that the parameter table names.

    `num_inputs` is the size of that axis: with pondering, the flag of the first step is among them.
    """
    gates, pondering = gates_of(active.spec), active.ponder[1:2]  # ponders at all
    return {
        "input": jnp.concatenate([jnp.ones(num_inputs - pondering.size, bool), pondering]),
        "output": jnp.ones(num_outputs, bool),
        "input_gate": _gates(active, gates.from_inputs, "from_inputs"),
        "unit_gate": _gates(active, gates.from_units, "from_units"),
        "gate": _gates(active, gates.all, "from_inputs") | _gates(active, gates.all, "from_units"),
        "recurrence": ~active.has(tuple(name for name, kind in CONTROLLERS.items() if not kind.recurrent))[None],
        "unit": active.unit,
        "width": active.width,
        "read": active.read,
        "write": active.write,
        "head": active.head,
        "location": active.location,
        "gating": active.gating,
        "pondering": pondering,
        "window": active.window,
        "layer": active.layer,
        "attention_head": active.attention_head,
        "key": jnp.ones(active.spec.attention_width, bool),
        **{name: jnp.ones(size, bool) for name, size in constant_axes().items()},
    }


def _gates(active: Active, places: tuple[int, ...], source: str) -> Bool[Array, " gate"]:
    """Which of these places the controller of an individual makes from this source."""
    owners = [tuple(name for name, kind in CONTROLLERS.items() if place in getattr(kind, source)) for place in places]
    return jnp.stack([active.has(kinds) for kinds in owners]) if places else jnp.zeros(0, bool)


def weight_mask(active: Active, axes: dict[str, Bool[Array, "_"]]) -> Mask:
    """Pytree of bool shaped like the padded parameters. True = the weight exists."""

    def exists(parameter: Parameter) -> Bool[Array, "..."]:
        mask = outer([axes[axis] for axis in parameter.axes], len(parameter.axes))
        return mask & active.has(parameter.kinds) if parameter.kinds else mask

    return jax.tree.map(exists, table_of(active.spec))


def map_table(function: Any, first: Any, *others: Any) -> Any:
    """Apply `function(parameter, *leaves)` to every array of trees that are shaped like params."""
    table = {block: {name: PARAMETERS[block][name] for name in part} for block, part in first.items()}
    return jax.tree.map(function, table, first, *others)


def axes_of(params: Params, active: Active) -> dict[str, Bool[Array, "_"]]:
    """`active_by_axis` with the input and output sizes read off the parameters."""
    lengths = lengths_of(params)
    return active_by_axis(active, lengths["input"], lengths["output"])


def lengths_of(params: Params) -> dict[str, int]:
    """The length of every axis of these arrays."""
    lengths: dict[str, int] = {}
    map_table(lambda parameter, array: lengths.update(zip(parameter.axes, array.shape, strict=True)), params)
    return lengths


def num_channels_of(params: Params, spec: CellSpec) -> int:
    """Channels of the inputs; where networks may ponder, the cell adds one that marks the first step."""
    return lengths_of(params)["input"] - int(spec.ponder_steps > 1)


def keep_active(params: Params, mask: Mask) -> Params:
    """Set weights that do not exist to zero, NaN included."""
    return jax.tree.map(lambda array, exists: jnp.where(exists, array, 0), params, mask)


def initial_params(key: Key, active: Active, num_inputs: int, num_outputs: int, dtype: jnp.dtype) -> Params:
    """Draw weights at padded shape, scaled by the actual fan-in, and zero elsewhere.

    `num_inputs` is the size of the `input` axis.

    Kernels are uniform with variance 1/fan_in. Drawn at padded shape, so a weight's draw does not depend on the genes.
    The key is consumed.
    """
    axes = active_by_axis(active, num_inputs, num_outputs)
    count = {name: jnp.sum(mask) for name, mask in axes.items()}
    sizes = {name: mask.size for name, mask in axes.items()}
    exists = weight_mask(active, axes)

    def place(parameter: Parameter, draws: Array, exists: Bool[Array, "..."]) -> Array:
        if not parameter.fan_in:
            return jnp.where(exists, value_of(parameter.start, sizes), 0).astype(dtype)
        fan_in = sum(math.prod(count[axis] for axis in term) for term in parameter.fan_in)
        return jnp.where(exists, draws * jnp.sqrt(3 / jnp.maximum(fan_in, 1)).astype(dtype), 0)

    draws = draw_like(exists, lambda size: jax.random.uniform(key, (size,), dtype, -1, 1))
    return map_table(place, draws, exists)


def draw_like(tree: Any, sample: Callable[[int], Array]) -> Any:
    """A pytree shaped like `tree`, cut from one long draw: a draw for each array takes far longer to compile."""
    leaves, structure = jax.tree.flatten(tree)
    ends = [int(end) for end in np.cumsum([leaf.size for leaf in leaves])]
    parts = jnp.split(sample(ends[-1]), ends[:-1])
    shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def check_channels(shape: tuple[int, ...], num_channels: int, lead: tuple[str, ...] = ()) -> None:
    """Check the inputs' width, and their rank where the leading axes are named.

    Raises:
        ValueError: the shape does not fit.
    """
    if shape[-1:] != (num_channels,) or (lead and len(shape) != len(lead) + 1):
        expected = ", ".join([*(lead or ("...",)), str(num_channels)])
        raise ValueError(f"inputs must have shape [{expected}], got {list(shape)}")
