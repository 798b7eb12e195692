"""A tiny network, against what XLA computed of it when the library was built."""

import contextlib
import ctypes
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from etm_jax._files import read_json, write_atomically
from etm_jax.cells import CellSpec, cell_unroll, table_of
from etm_jax.cells._registry import CONTROLLERS, MEMORIES, exact
from etm_jax.cells._weights import axis_sizes
from etm_jax.networks.native._build import NoKernelError
from etm_jax.networks.native._call import gathered, live_unroll
from etm_jax.networks.native._layout import layout_of

TOLERANCE = 1e-4  # of outputs and gradients of order 1
MOST_BYTES = 2**20
BATCH_SIZE, NUM_STEPS, NUM_INPUTS, NUM_OUTPUTS = 9, 5, 3, 2  # a block of two halves, the second with one episode
SPEC = CellSpec()  # LSTM and NTM
SIZES = {
    "num_slots": 5,
    "slot_width": 3,
    "num_read_heads": 2,
    "num_write_heads": 1,
    "controller_size": 4,
    "shift_range": 1,
}


def check(functions: ctypes.CDLL, reference: Path) -> None:
    """Compare outputs and gradients with those in the file, which XLA makes where there is none, or where they differ.

    Raises:
        NoKernelError: they differ.
    """
    # In a thread of its own, because this one may be tracing.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_check, functions, reference).result()


def _check(functions: ctypes.CDLL, reference: Path) -> None:
    sizes = axis_sizes(
        SPEC,
        **SIZES,
        num_inputs=NUM_INPUTS,
        num_outputs=NUM_OUTPUTS,
        gated=True,
        window_size=1,
        num_layers=1,
        attention_heads=1,
    )
    draws = np.random.default_rng(0)

    def draw(parameter: Any) -> np.ndarray:
        return draws.normal(size=[sizes[axis] for axis in parameter.axes]).astype(np.float32) / 2

    params = jax.tree.map(draw, table_of(SPEC))
    inputs = draws.normal(size=(BATCH_SIZE, NUM_STEPS, NUM_INPUTS)).astype(np.float32)
    probe = draws.normal(size=(BATCH_SIZE, NUM_STEPS, NUM_OUTPUTS)).astype(np.float32)
    kinds = {"addressing": 1, "controller": [*CONTROLLERS].index("lstm"), "memory": [*MEMORIES].index("ntm")}
    architecture = SimpleNamespace(**SIZES, **kinds)
    layout = layout_of(functions, SPEC, sizes)

    def by_kernel(params: Any) -> jax.Array:
        return live_unroll(architecture, gathered(layout, architecture, params), jnp.asarray(inputs)).outputs

    def by_xla(params: Any) -> jax.Array:
        return cell_unroll(params, exact(SPEC, sizes), jnp.asarray(inputs)).outputs

    def results(outputs_of: Any) -> np.ndarray:
        def probed(params: Any) -> tuple[jax.Array, jax.Array]:
            outputs = outputs_of(params)
            return jnp.sum(outputs * probe), outputs

        (_, outputs), gradients = jax.jit(jax.value_and_grad(probed, has_aux=True))(params)
        return np.concatenate([np.ravel(array) for array in (outputs, *jax.tree.leaves(gradients))])

    def worst_of(expected: np.ndarray) -> float:
        return float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))

    found = results(by_kernel)
    kept = _read(reference)
    if kept is not None and kept.shape == found.shape and worst_of(kept) <= TOLERANCE:
        return
    expected = results(by_xla)
    with contextlib.suppress(OSError):  # a folder that can only be read, for example
        write_atomically(reference, json.dumps([float(number) for number in expected]))
    worst = worst_of(expected)
    if not worst <= TOLERANCE:
        raise NoKernelError(f"in its self-check it differs from XLA by {worst:.2g}, more than {TOLERANCE}")


def _read(reference: Path) -> np.ndarray | None:
    try:
        return np.asarray(read_json(reference, MOST_BYTES), float)
    except (ValueError, OSError, TypeError):
        return None
