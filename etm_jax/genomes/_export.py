"""A compact network in a folder: its architecture as JSON, its weights as arrays any NumPy can read."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from etm_jax._files import write_atomically
from etm_jax.cells import NTM, Family, MemoryCell, exact, num_channels_of, table_of
from etm_jax.genomes._architecture import architecture_from, bounds_of

ARCHITECTURE, WEIGHTS = "architecture.json", "weights.npz"
FIXED = ("attention_width", "sparse_links")  # of a family: no genes, but part of what a network computes


def save_network(network: NTM, folder: Path) -> None:
    """Write `architecture.json` and `weights.npz`; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    params, _ = network.cell.arrays()
    arrays = {f"{block}.{name}": np.asarray(array) for block, part in params.items() for name, array in part.items()}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    write_atomically(folder / WEIGHTS, stream.getvalue())
    said = network.architecture | {name: getattr(network.cell.family, name) for name in FIXED}
    write_atomically(folder / ARCHITECTURE, json.dumps(said, indent=2) + "\n")


def load_network(folder: Path) -> NTM:
    """Read back what `save_network` wrote.

    Raises:
        ValueError: a file is missing or damaged, or weights and architecture do not belong together.
    """
    try:
        genes = json.loads((folder / ARCHITECTURE).read_text())
        fixed = {name: int(genes.pop(name)) for name in FIXED}
        architecture_from(genes)
        bounds = bounds_of(genes, replace(Family(), **fixed))
        with np.load(io.BytesIO((folder / WEIGHTS).read_bytes()), allow_pickle=False) as stored:
            params = {
                block: {name: jnp.asarray(stored[f"{block}.{name}"]) for name in part}
                for block, part in table_of(bounds.family).items()
            }
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{folder} holds no network that can be read: {error}") from None
    num_inputs = num_channels_of(params, bounds.family)
    sizes = bounds.axis_sizes(num_inputs, params["output"]["bias"].shape[0])
    for block, part in table_of(bounds.family).items():
        for name, parameter in part.items():
            expected = tuple(sizes[axis] for axis in parameter.axes)
            if params[block][name].shape != expected:
                raise ValueError(
                    f"{folder}: {block}.{name} has shape {params[block][name].shape} but the architecture needs "
                    f"{expected}; the two files come from different networks"
                )
    return NTM(MemoryCell(params, exact(bounds.family, sizes)), genes)
