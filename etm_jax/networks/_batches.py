"""Evaluate a population in batches: each in the smallest padded shape that holds it, spread over the devices."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int, Num

from etm_jax.models._model import member
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._buckets import fitting
from etm_jax.networks.genome._genes import Architecture
from etm_jax.parallel._devices import flat, in_rows, on_each_device, replicated


def over_population(
    function: Callable[..., Any], mesh: Mesh, batch_size: int, buckets: Sequence[Bounds]
) -> Callable[..., Any]:
    """Apply `function` of one individual to a whole population, spread over the mesh.

    Args:
        function: takes a bucket, the individual's own arguments as one tree, and `shared`, what all share.
        mesh: from `device_mesh`.
        batch_size: individuals that one vmap holds on a device, batches following in turn; 0 for all.
        buckets: the padded shapes to choose from, cheapest first; the last one holds every individual. A batch runs
            in the cheapest bucket that holds all of them, so neighbours should be alike: see `dealt`.

    Returns:
        A function of the individuals' own arguments, their architectures and the shared arguments.
    """

    def local(own: Any, architectures: Architecture, shared: Any) -> Any:
        ways = [
            functools.partial(vmap_unless_one, functools.partial(function, bucket, shared=shared)) for bucket in buckets
        ]

        def group(row: tuple[Int[Array, " place"], Int[Array, ""]]) -> Any:
            members, bucket = row
            return jax.lax.switch(bucket, ways, member(own, members))

        return flat(jax.lax.map(group, groups(architectures, batch_size, buckets)), architectures.num_slots.shape[0])

    if mesh.size == 1:
        return local
    spread = on_each_device(lambda individuals, shared: local(individuals[0], individuals[1], shared), mesh)

    def run(own: Any, architectures: Architecture, shared: Any) -> Any:
        # The arguments are replicated, too: else XLA splits what they are computed from, and sends all of it around.
        everyone = jax.lax.with_sharding_constraint((own, architectures), replicated(mesh))
        return jax.lax.with_sharding_constraint(spread(everyone, shared), replicated(mesh))

    return run


def vmap_unless_one(function: Callable[[Any], Any], batch: Any) -> Any:
    """`vmap`, but a batch of one without it: on a CPU a `vmap` of one makes a training step take 1.6 times as long."""
    if jax.tree.leaves(batch)[0].shape[0] > 1:
        return jax.vmap(function)(batch)
    result = function(jax.tree.map(lambda leaf: leaf[0], batch))
    return jax.tree.map(lambda leaf: leaf[None], result)


def groups(
    architectures: Architecture, batch_size: int, buckets: Sequence[Bounds]
) -> tuple[Int[Array, "group place"], Int[Array, " group"]]:
    """Which individuals share a vmap, in their order, and the cheapest bucket that holds all of them.

    Places beyond the end repeat the last individual, so that one program serves every group.
    """
    size = architectures.num_slots.shape[0]
    members = in_rows(size, min(batch_size, size) or size)
    return members, jnp.argmax(jnp.all(fitting(architectures, buckets)[members], axis=1), axis=-1)


def dealt(work: Num[Array, " population"], devices: int) -> Int[Array, " population"]:
    """An order in which devices, each taking an equal run of it, have about the same work.

    The members are sorted, most work first, and dealt out to the devices there and back again, like cards.
    """
    most = jnp.argsort(-work, stable=True).reshape(-1, devices)
    back = jnp.arange(most.shape[0])[:, None] % 2 == 1
    return jnp.where(back, most[:, ::-1], most).T.reshape(-1)
