"""A compact network in a folder: its architecture as JSON, its weights as arrays any NumPy can read."""

import io
import json
import math
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from etm_jax._files import read_json, write_atomically
from etm_jax._require import require
from etm_jax.cells import CellSpec, MemoryCell, MemoryNetwork, table_of
from etm_jax.cells._registry import exact
from etm_jax.networks.genome._bounds import bounds_of
from etm_jax.networks.genome._compact import channels
from etm_jax.networks.genome._genes import RANGES, architecture_from

ARCHITECTURE, WEIGHTS = "architecture.json", "weights.npz"
FIXED = ("attention_width", "sparse_links")  # of a spec: no genes, but part of what a network computes
MOST_BYTES, MOST_SIZE = 2**16, 2**20  # of the file of an architecture; of any gene in it
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What reading a damaged file raises: RuntimeError of zip files that are encrypted or compressed in unknown ways.
DAMAGED = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def save_network(network: MemoryNetwork, folder: str | Path) -> None:
    """Write `architecture.json` and `weights.npz`; the folder is made if need be."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    params, _ = network.cell.arrays()
    arrays = {f"{block}.{name}": np.asarray(array) for block, part in params.items() for name, array in part.items()}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    write_atomically(folder / WEIGHTS, stream.getvalue())
    said = network.architecture | {name: getattr(network.cell.spec, name) for name in FIXED}
    write_atomically(folder / ARCHITECTURE, json.dumps(said, indent=2) + "\n")


def load_network(folder: str | Path) -> MemoryNetwork:
    """Read back what `save_network` wrote.

    Nothing is read that is larger than the architecture asks for, and no pickle.

    Raises:
        ValueError: a file is missing or damaged, weights and architecture do not belong together, or a weight is not
            finite.
    """
    try:
        return _read(Path(folder))
    except DAMAGED as error:
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"{folder} holds no network that can be read: {reason}") from None


def _read(folder: Path) -> MemoryNetwork:
    genes = read_json(folder / ARCHITECTURE, MOST_BYTES)
    if not isinstance(genes, dict):
        raise ValueError(f"{ARCHITECTURE} must hold an object, got {type(genes).__name__}")
    fixed = {name: genes.pop(name) for name in FIXED}
    for name, value in [*fixed.items(), *((name, genes.get(name)) for name in RANGES)]:
        rule = f"a whole number from 0 to {MOST_SIZE}"
        require(type(value) is int and 0 <= value <= MOST_SIZE, name, rule, value)
    architecture_from(genes)
    bounds = bounds_of(genes, replace(CellSpec(), **fixed))
    table = table_of(bounds.spec)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{WEIGHTS} is missing or no regular file")
    with zipfile.ZipFile(folder / WEIGHTS) as stored:
        named = {f"{block}.{name}.npy": (block, name) for block, part in table.items() for name in part}
        if sorted(stored.namelist()) != sorted(named):
            raise ValueError(f"{WEIGHTS} holds other arrays than the architecture needs")
        found: dict[str, dict[str, jax.ShapeDtypeStruct]] = {block: {} for block in table}
        for entry, (block, name) in named.items():
            found[block][name] = _declared(stored, entry)
        sizes = bounds.axis_sizes(*channels(found, bounds.spec))
        for block, part in table.items():
            for name, parameter in part.items():
                expected = tuple(sizes[axis] for axis in parameter.axes)
                if found[block][name].shape != expected:
                    raise ValueError(
                        f"{block}.{name} has shape {found[block][name].shape} but the architecture needs {expected}; "
                        "the two files come from different networks"
                    )
        params = {block: {name: _array(stored, f"{block}.{name}") for name in part} for block, part in table.items()}
    return MemoryNetwork(MemoryCell(params, exact(bounds.spec, sizes)), genes)


def _declared(stored: zipfile.ZipFile, entry: str) -> jax.ShapeDtypeStruct:
    """Shape and type of an array from its header; refused unless the entry has exactly the bytes that these take."""
    with stored.open(entry) as stream:
        read_header = HEADERS.get(np.lib.format.read_magic(stream))
        if read_header is None:
            raise ValueError(f"{entry} is of a later version of NumPy's format")
        shape, _, dtype = read_header(stream)
        start = stream.tell()
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise ValueError(f"{entry} must hold floating-point numbers, got {dtype}")
    size = stored.getinfo(entry).file_size
    if size != start + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{entry} has {size} bytes, which is not what {dtype}{list(shape)} takes")
    return jax.ShapeDtypeStruct(shape, dtype)


def _array(stored: zipfile.ZipFile, name: str) -> jax.Array:
    with stored.open(f"{name}.npy") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has numbers that are not finite")
    return jnp.asarray(array)
