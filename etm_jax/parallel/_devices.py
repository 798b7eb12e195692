"""Spread a population over devices, batch_size and size buckets, on one host or several."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Num

from etm_jax.networks.genome._architecture import Architecture
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._buckets import fitting

AXIS = "population"
CACHED_BYTES = 2**18  # of memories side by side that a CPU core's cache holds along with what a step makes of them


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


def map_in_batches(function: Callable[[Any], Any], everybody: Any, batch_size: int) -> Any:
    """Apply `function` over the leading axis, so many at once in a vmap, 0 for all; the others follow in turn.

    One at a time it is no vmap at all, so that of a condition one side is computed, not both.
    """
    size = jax.tree.leaves(everybody)[0].shape[0]
    if batch_size in (0, size):
        return jax.vmap(function)(everybody)
    if batch_size == 1:
        return jax.lax.map(function, everybody)
    rows = in_rows(size, batch_size)
    found = jax.lax.map(lambda row: jax.vmap(function)(jax.tree.map(lambda leaf: leaf[row], everybody)), rows)
    return flat(found, size)


def in_rows(size: int, batch_size: int) -> Int[Array, "row lane"]:
    """Indices from 0 on in rows; those beyond the end repeat the last one, so that one program serves every row."""
    return jnp.minimum(jnp.arange(-(-size // batch_size) * batch_size), size - 1).reshape(-1, batch_size)


def flat(rows: Any, size: int) -> Any:
    """What was computed in rows as one axis of this size; an array without elements too."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[:size], rows)


def default_micro_batch(bounds: Bounds, batch_size: int) -> int:
    """Sequences of one individual side by side: on CPU few enough for the cache, all elsewhere (0).

    Up to twice the cache's share all run at once: following in turn costs one more forward pass in the gradient.
    """
    size = 4 * bounds.num_slots[1] * bounds.slot_width[1]
    if jax.default_backend() != "cpu" or size * batch_size <= 2 * CACHED_BYTES:
        return 0
    most = max(CACHED_BYTES // size, 1)
    return max(count for count in range(1, batch_size + 1) if batch_size % count == 0 and count <= most)


def over_population(
    function: Callable[..., Any], mesh: Mesh, batch_size: int, buckets: Sequence[Bounds]
) -> Callable[..., Any]:
    """Apply `function` of one individual to a whole population, spread over the mesh.

    Args:
        function: takes a bucket, the individual's own arguments as one tuple, and arguments that all share.
        mesh: from `device_mesh`.
        batch_size: individuals that one vmap holds on a device, the rest following in turn; 0 for all.
        buckets: the padded shapes to choose from, cheapest first; the last one holds everybody. Lanes of one vmap run
            in the cheapest bucket that holds all of them, so neighbours should be alike: see `dealt`.

    Returns:
        A function of the individuals' own arguments, their architectures and the shared arguments.
    """

    def local(everybody: tuple[Any, Architecture], shared: Any) -> Any:
        own, architectures = everybody

        def run(bucket: Bounds) -> Callable[..., Any]:
            return lambda mine: vmap_unless_one(lambda own: function(bucket, own, shared), mine)

        def group(row: tuple[Int[Array, " lane"], Int[Array, ""]]) -> Any:
            members, bucket = row
            return jax.lax.switch(
                bucket, [run(bucket) for bucket in buckets], jax.tree.map(lambda leaf: leaf[members], own)
            )

        return flat(jax.lax.map(group, groups(architectures, batch_size, buckets)), architectures.num_slots.shape[0])

    spread = on_each_device(local, mesh)

    def whole(tree: Any) -> Any:
        return tree if mesh.size == 1 else jax.lax.with_sharding_constraint(tree, replicated(mesh))

    def run(own: Any, architectures: Architecture, shared: Any) -> Any:
        # Whole before, too: else XLA splits what the arguments are made of, and sends all of it between devices.
        return whole(spread(whole((own, architectures)), shared))

    return run


def vmap_unless_one(function: Callable[[Any], Any], batch_size: Any) -> Any:
    """`vmap`, but one lane without it: on a CPU a batch of one made a training step take 1.6 times as long."""
    if jax.tree.leaves(batch_size)[0].shape[0] > 1:
        return jax.vmap(function)(batch_size)
    result = function(jax.tree.map(lambda leaf: leaf[0], batch_size))
    return jax.tree.map(lambda leaf: leaf[None], result)


def groups(
    architectures: Architecture, batch_size: int, buckets: Sequence[Bounds]
) -> tuple[Int[Array, "group lane"], Int[Array, " group"]]:
    """Which individuals share a vmap, in their order, and the cheapest bucket that holds all of them.

    Lanes beyond the end repeat the last individual, so that one program serves every group.
    """
    size = architectures.num_slots.shape[0]
    members = in_rows(size, min(batch_size, size) or size)
    return members, jnp.argmax(jnp.all(fitting(architectures, buckets)[members], axis=1), axis=-1)


def dealt(work: Num[Array, " population"], devices: int) -> Int[Array, " population"]:
    """An order in which devices, each taking an equal run of it, have about the same work, most first.

    Most work first, dealt out there and back again, like cards.
    """
    most = jnp.argsort(-work, stable=True).reshape(-1, devices)
    back = jnp.arange(most.shape[0])[:, None] % 2 == 1
    return jnp.where(back, most[:, ::-1], most).T.reshape(-1)


def with_champion(genomes: Any, champion: Any, mesh: Mesh) -> Any:
    """A population and, behind it, the champion once for each device, so that the mesh divides the whole evenly."""
    return jax.tree.map(
        lambda array, one: jnp.concatenate([array, jnp.repeat(one[None], mesh.size, axis=0)]), genomes, champion
    )


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
