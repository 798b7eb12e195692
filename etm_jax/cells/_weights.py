"""Masks and initial weights at padded shape, both read off the cell's parameter table."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from etm_jax._typing import Key, Mask, Params
from etm_jax.cells._layout import Parameter
from etm_jax.cells._ntm import NTMActive
from etm_jax.cells._ntm_parameters import NTM_PARAMETERS


def active_by_axis(active: NTMActive, num_inputs: int, num_outputs: int) -> dict[str, Bool[Array, "_"]]:
    """Which entries exist along every axis that the parameter table names."""
    return {
        "input": jnp.ones(num_inputs, bool),
        "output": jnp.ones(num_outputs, bool),
        "gate": jnp.ones(4, bool),
        "unit": active.unit,
        "width": active.width,
        "read": active.read,
        "write": active.write,
        "head": active.head,
        "location": active.location,
    }


def outer(masks: list[Bool[Array, "_"]]) -> Bool[Array, "..."]:
    """The mask of an array whose entry exists where it exists along every axis."""

    def along(axis: int, mask: Bool[Array, "_"]) -> Bool[Array, "..."]:
        return mask.reshape([-1 if position == axis else 1 for position in range(len(masks))])

    return functools.reduce(operator.and_, [along(axis, mask) for axis, mask in enumerate(masks)])


def weight_mask(axes: dict[str, Bool[Array, "_"]]) -> Mask:
    """Pytree of bool shaped like the padded parameters. True = the weight exists."""
    return map_table(lambda parameter: outer([axes[axis] for axis in parameter.axes]))


def map_table(function: Any, *trees: Any) -> Any:
    """Apply `function(parameter, *leaves)` to every array of the parameter table."""
    return jax.tree.map(function, NTM_PARAMETERS, *trees)


def axes_of(params: Params, active: NTMActive) -> dict[str, Bool[Array, "_"]]:
    """`active_by_axis` with the input and output sizes read off the parameters."""
    return active_by_axis(active, params["controller"]["input_kernel"].shape[0], params["output"]["bias"].shape[0])


def keep_active(params: Params, mask: Mask) -> Params:
    """Zero where no weight exists, whatever garbage stands there."""
    return jax.tree.map(lambda array, exists: jnp.where(exists, array, 0), params, mask)


def initial_params(key: Key, active: NTMActive, sizes: dict[str, int], dtype: jnp.dtype) -> Params:
    """Draw weights at padded shape, scaled by the fan-in that really exists, and zero elsewhere.

    Kernels are uniform with variance 1/fan_in. Drawn at padded shape, so a weight's draw does not depend on the genes.
    The key is consumed.
    """
    axes = active_by_axis(active, sizes["input"], sizes["output"])
    count = {name: jnp.sum(mask) for name, mask in axes.items()}
    exists = weight_mask(axes)

    def place(parameter: Parameter, draws: Array, exists: Bool[Array, "..."]) -> Array:
        if not parameter.fan_in:
            return jnp.where(exists, parameter.start(sizes), 0).astype(dtype)
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
