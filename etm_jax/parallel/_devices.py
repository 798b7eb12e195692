"""Spread a population over devices and batches, on one host or several."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

AXIS = "population"


def device_mesh(population_size: int, num_devices: int = 0, num_islands: int = 1) -> Mesh:
    """A mesh with one axis over as many devices as divide the islands, or the members of one, evenly.

    Args:
        population_size: individuals on all islands together.
        num_devices: devices to use at most; 0 for all there are.
        num_islands: islands of equal size; 1 for an undivided population.

    Raises:
        ValueError: more devices were asked for than there are, or several processes cannot take equal shares.
    """
    available = len(jax.devices())
    if num_devices > available:
        raise ValueError(f"devices must be at most {available}, the devices there are, got {num_devices}")
    processes = range(jax.process_count())
    theirs = [[device for device in jax.devices() if device.process_index == process] for process in processes]
    if len({len(own) for own in theirs}) > 1:
        raise ValueError(f"every process must have as many devices as the others, got {[len(own) for own in theirs]}")
    most = num_devices or available
    parts = (num_islands, population_size // num_islands)
    fitting = [count for count in range(len(theirs), most + 1, len(theirs)) if any(part % count == 0 for part in parts)]
    if not fitting:
        raise ValueError(
            f"islands.count or the members of an island must be a multiple of the {len(theirs)} processes, and devices "
            f"at least as many, got {parts[0]} x {parts[1]} members and devices={num_devices}"
        )
    devices = [device for own in theirs for device in own[: fitting[-1] // len(theirs)]]
    return jax.make_mesh((fitting[-1],), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def default_batch_size() -> int:
    """Individuals in one vmap: one on CPU, where its memory should stay in cache, all elsewhere (0)."""
    return 1 if jax.default_backend() == "cpu" else 0


def map_in_batches(function: Callable[[Any], Any], individuals: Any, batch_size: int) -> Any:
    """Apply `function` over the leading axis, `batch_size` individuals in a vmap, 0 for all; batches follow in turn.

    With one individual per batch there is no vmap, so `cond` evaluates only one branch.
    """
    size = jax.tree.leaves(individuals)[0].shape[0]
    if batch_size in (0, size):
        return jax.vmap(function)(individuals)
    if batch_size == 1:
        return jax.lax.map(function, individuals)
    rows = in_rows(size, batch_size)
    found = jax.lax.map(lambda row: jax.vmap(function)(jax.tree.map(lambda leaf: leaf[row], individuals)), rows)
    return flat(found, size)


def in_rows(size: int, batch_size: int) -> Int[Array, "row place"]:
    """Indices from 0 on in rows; those beyond the end repeat the last one, so that one program serves every row."""
    return jnp.minimum(jnp.arange(-(-size // batch_size) * batch_size), size - 1).reshape(-1, batch_size)


def flat(rows: Any, size: int) -> Any:
    """Results of rows as one axis of this size. Works for arrays of size 0, where `reshape(-1)` does not."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[:size], rows)


def with_champion(genomes: Any, champion: Any, mesh: Mesh) -> Any:
    """A population and, behind it, the champion once for each device, so that the mesh divides the whole evenly."""
    return jax.tree.map(
        lambda array, one: jnp.concatenate([array, jnp.repeat(one[None], mesh.size, axis=0)]), genomes, champion
    )


def on_each_device(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Apply `function` to each device's equal share of the leading axis; the results stay on the devices.

    Args:
        function: takes a tree of arrays that are split, and a tree that all devices hold whole.
        mesh: from `device_mesh`. With one device there is nothing to split, and this may be used within another spread.
    """
    if mesh.size == 1:
        return function
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(function, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole, as the state of a run without islands."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose leading axis is split evenly over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def on_this_process(tree: Any) -> Any:
    """A replicated tree as arrays of one local device, which this process can use without the others."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def any_process(here: bool) -> bool:
    """Whether a condition holds on any process; all processes call this together and get the same answer."""
    return here if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.asarray(here))))


def wait_for_all(text: str) -> None:
    """Wait until every process has called this with the same text; one process returns at once.

    Raises:
        ValueError: the texts differ.
    """
    if jax.process_count() == 1:
        return
    ours = np.asarray(zlib.crc32(text.encode()), np.uint32)
    if np.any(multihost_utils.process_allgather(ours) != ours):
        raise ValueError("the processes of a distributed run must be started with the same settings, and these differ")
