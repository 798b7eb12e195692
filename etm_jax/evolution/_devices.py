"""Spread a population over devices and lanes, on one host or several."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

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


def default_lanes() -> int:
    """Individuals in one vmap: few on CPU, where one individual's memory should stay in cache, all elsewhere (0)."""
    return 1 if jax.default_backend() == "cpu" else 0


def over_population(function: Callable[..., Any], mesh: Mesh, lanes: int) -> Callable[..., Any]:
    """Apply `function` of one individual to a whole population, spread over the mesh.

    Args:
        function: takes the individual's own arguments, as one tuple, and then arguments that all share.
        mesh: from `device_mesh`.
        lanes: individuals that one vmap holds on a device, the rest following in turn; 0 for all.
    """

    def local(own: Any, shared: Any) -> Any:
        size = jax.tree.leaves(own)[0].shape[0]
        if lanes == 0 or lanes >= size:
            return jax.vmap(lambda mine: function(mine, shared))(own)
        return jax.lax.map(lambda mine: function(mine, shared), own, batch_size=lanes if lanes > 1 else None)

    spread = on_each_device(local, mesh)
    if mesh.size == 1:
        return spread
    return lambda own, shared: jax.lax.with_sharding_constraint(spread(own, shared), replicated(mesh))


def on_each_device(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Apply `function` to each device's equal run of the leading axis; the results stay on the devices.

    Args:
        function: takes a tree of arrays that are split, and a tree that all devices hold whole.
        mesh: from `device_mesh`. With one device there is nothing to split, and this may be used within another spread.
    """
    if mesh.size == 1:
        return function
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(function, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: the state of an undivided run between evaluations."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of what the devices hold in equal runs of the leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def on_this_process(tree: Any) -> Any:
    """What every device holds whole, as arrays of one device here: no other process need take part in their use."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def any_process(here: bool) -> bool:
    """Whether something holds on any process; all of them ask together and get the same answer."""
    return here if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.asarray(here))))


def wait_for_all(text: str) -> None:
    """Return once every process has called this, with the same text; at once where there is one process.

    Raises:
        ValueError: the texts differ.
    """
    if jax.process_count() == 1:
        return
    ours = np.asarray(zlib.crc32(text.encode()), np.uint32)
    if np.any(multihost_utils.process_allgather(ours) != ours):
        raise ValueError("the processes of a distributed run must be started with the same settings, and these differ")
