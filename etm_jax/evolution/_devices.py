"""Spread a population over devices and lanes."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "population"


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

    split, whole = PartitionSpec(AXIS), PartitionSpec()
    spread = jax.shard_map(local, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False)
    return lambda own, shared: jax.lax.with_sharding_constraint(spread(own, shared), replicated(mesh))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: the state of a run between evaluations."""
    return NamedSharding(mesh, PartitionSpec())
