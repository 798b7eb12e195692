"""Spread a population over devices, lanes and size tiers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Num

from etm_jax.genomes import Architecture, Bounds, fitting

AXIS = "population"
CACHED_BYTES = 2**18  # of memories side by side that a CPU core's cache holds along with what a step makes of them


def device_mesh(population_size: int, num_devices: int = 0) -> Mesh:
    """A mesh with one axis over as many devices as divide the population evenly.

    Args:
        population_size: individuals.
        num_devices: devices to use at most; 0 for all there are.

    Raises:
        ValueError: more devices were asked for than there are.
    """
    available = len(jax.devices())
    if num_devices > available:
        raise ValueError(f"devices must be at most {available}, the devices there are, got {num_devices}")
    most = num_devices or available
    used = max(count for count in range(1, most + 1) if population_size % count == 0)
    return jax.make_mesh((used,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:used])


def default_lanes() -> int:
    """Individuals in one vmap: one on CPU, where its memory should stay in cache, all elsewhere (0)."""
    return 1 if jax.default_backend() == "cpu" else 0


def default_at_once(bounds: Bounds, batch_size: int) -> int:
    """Sequences of one individual side by side: on CPU few enough for the cache, all elsewhere (0).

    Up to twice the cache's share all run at once: following in turn costs one more forward pass in the gradient.
    """
    size = 4 * bounds.num_slots[1] * bounds.slot_width[1]
    if jax.default_backend() != "cpu" or size * batch_size <= 2 * CACHED_BYTES:
        return 0
    most = max(CACHED_BYTES // size, 1)
    return max(count for count in range(1, batch_size + 1) if batch_size % count == 0 and count <= most)


def over_population(
    function: Callable[..., Any], mesh: Mesh, lanes: int, tiers: Sequence[Bounds]
) -> Callable[..., Any]:
    """Apply `function` of one individual to a whole population, spread over the mesh.

    Args:
        function: takes a tier, the individual's own arguments as one tuple, and arguments that all share.
        mesh: from `device_mesh`.
        lanes: individuals that one vmap holds on a device, the rest following in turn; 0 for all.
        tiers: the padded shapes to choose from, cheapest first; the last one holds everybody. Lanes of one vmap run
            in the cheapest tier that holds all of them, so neighbours should be alike: see `dealt`.

    Returns:
        A function of the individuals' own arguments, their architectures and the shared arguments.
    """

    def local(own: Any, architectures: Architecture, shared: Any) -> Any:
        def run(tier: Bounds) -> Callable[..., Any]:
            return lambda mine: jax.vmap(lambda own: function(tier, own, shared))(mine)

        def group(row: tuple[Int[Array, " lane"], Int[Array, ""]]) -> Any:
            members, tier = row
            return jax.lax.switch(tier, [run(tier) for tier in tiers], jax.tree.map(lambda leaf: leaf[members], own))

        results = jax.lax.map(group, groups(architectures, lanes, tiers))
        size = architectures.num_slots.shape[0]
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:size], results)

    split, whole = PartitionSpec(AXIS), PartitionSpec()
    spread = jax.shard_map(local, mesh=mesh, in_specs=(split, split, whole), out_specs=split, check_vma=False)
    return lambda own, architectures, shared: jax.lax.with_sharding_constraint(
        spread(own, architectures, shared), replicated(mesh)
    )


def groups(
    architectures: Architecture, lanes: int, tiers: Sequence[Bounds]
) -> tuple[Int[Array, "group lane"], Int[Array, " group"]]:
    """Which individuals share a vmap, in their order, and the cheapest tier that holds all of them.

    Lanes beyond the end repeat the last individual, so that one program serves every group.
    """
    size = architectures.num_slots.shape[0]
    width = min(lanes, size) or size
    members = jnp.minimum(jnp.arange(-(-size // width) * width), size - 1).reshape(-1, width)
    return members, jnp.argmax(jnp.all(fitting(architectures, tiers)[members], axis=1), axis=-1)


def dealt(work: Num[Array, " population"], devices: int) -> Int[Array, " population"]:
    """An order in which devices, each taking an equal run of it, have about the same work, most first.

    Most work first, dealt out there and back again, like cards.
    """
    most = jnp.argsort(-work, stable=True).reshape(-1, devices)
    back = jnp.arange(most.shape[0])[:, None] % 2 == 1
    return jnp.where(back, most[:, ::-1], most).T.reshape(-1)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: the state of a run between evaluations."""
    return NamedSharding(mesh, PartitionSpec())
