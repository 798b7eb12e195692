"""Islands: parts of a population that evolve apart and exchange copies of their best members along a ring."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int

from etm_jax._typing import BoolScalar
from etm_jax.evolution._state import EvolutionState, Population
from etm_jax.parallel._devices import AXIS, on_each_device, replicated, split

IDS_PER_MEMBER = 2  # a generation gives at most two ids for each place: a child's and a random genome's


def meshes(num_islands: int, mesh: Mesh) -> tuple[Mesh, Mesh]:
    """The mesh that the islands are spread over, and the one that the members of an island are: one is one device.

    Whole islands go to the devices if these divide them evenly. If not, every device takes part in each island.
    """
    one = Mesh(mesh.devices.reshape(-1)[:1], (AXIS,))
    return (mesh, one) if num_islands % mesh.size == 0 else (one, mesh)


def state_sharding(num_islands: int, mesh: Mesh) -> EvolutionState:
    """The sharding of a run's state: replicated, but the population split by islands if they are spread over devices.

    Returns:
        A state with shardings in place of its parts.
    """
    whole = replicated(mesh)
    part = split(mesh) if meshes(num_islands, mesh)[0].size > 1 else whole
    population = Population(genomes=part, scores=part, ids=part, parents=part, next_id=whole)  # pyright: ignore
    return EvolutionState(whole, whole, population, *[whole] * 6)  # pyright: ignore


def divide(population: Population, num_islands: int) -> Population:
    """A population with a leading axis of islands, each a contiguous run of its members.

    Each island numbers its children from its own `next_id`, so no id is given twice.
    """
    size = population.ids.size // num_islands
    islands = jax.tree.map(lambda leaf: leaf.reshape(num_islands, size, *leaf.shape[1:]), uncounted(population))
    return replace(
        islands, next_id=population.next_id + IDS_PER_MEMBER * size * jnp.arange(num_islands, dtype=jnp.int32)
    )


def unite(islands: Population, next_id: Int[Array, ""]) -> Population:
    """The inverse of `divide`, after a generation in which the ids began at `next_id`."""
    population = merge(uncounted(islands))
    return replace(population, next_id=next_id + IDS_PER_MEMBER * population.ids.size)


def uncounted(population: Population) -> Any:
    """A population without `next_id`, so that every array left has the members' axes."""
    return replace(population, next_id=None)  # pyright: ignore[reportArgumentType]


def merge(islands: Any) -> Any:
    """Arrays `[island member ...]` as `[population ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), islands)


def over_islands(function: Callable[..., Any], mesh: Mesh, batch_size: int) -> Callable[..., Any]:
    """Apply `function` of one island to all, spread over the mesh; the results stay on the devices.

    Args:
        function: takes the island's own arguments, as one tree, and then arguments that all share.
        mesh: the first of `meshes`.
        batch_size: 0 for the islands of a device in one vmap, else they follow in turn.
    """

    def local(own: Any, shared: Any) -> Any:
        if jax.tree.leaves(own)[0].shape[0] == 1:  # one island a device: no batching at all
            result = function(jax.tree.map(lambda leaf: leaf[0], own), shared)
            return jax.tree.map(lambda leaf: leaf[None], result)
        if batch_size == 0:
            return jax.vmap(lambda mine: function(mine, shared))(own)
        return jax.lax.map(lambda mine: function(mine, shared), own)

    return on_each_device(local, mesh)


def pick(tree: Any, index: Int[Array, ""]) -> Any:
    """Entry `index` of arrays that may be split over devices: the sum of it and of zeros moves one entry only."""

    def one(leaf: Array) -> Array:
        here = (jnp.arange(leaf.shape[0]) == index).reshape(-1, *(1,) * (leaf.ndim - 1))
        return jnp.sum(jnp.where(here, leaf, 0), axis=0, dtype=leaf.dtype)

    return jax.tree.map(one, tree)


def migrate(population: Population, due: BoolScalar, num_islands: int, num_migrants: int, mesh: Mesh) -> Population:
    """Copy each island's best members to the next island, the last one's to the first, if it is time.

    An island's k-th best member takes the place of the next island's k-th worst: fitness decides, failed members are
    worst, and of equals the one in front is better. All islands send before any receives. The copy keeps genome,
    fitness, id and parents, and the original stays. A copy is not admitted if its id is on the island already or its
    original failed; the place then keeps its member. So ids are unique on an island, and entries that share an id on
    several islands are versions of one individual that learn separately.

    Migrants are exchanged in every generation and admitted only when due, instead of under a `cond`: an executable that
    jaxlib 0.10 loads from the compile cache on CPU does not preserve the order of collectives inside a `cond` relative
    to those outside it, and the devices deadlock.

    Args:
        population: evaluated.
        due: True = it is time.
        num_islands: islands, each a contiguous run of the population.
        num_migrants: members that each island sends, fewer than it has.
        mesh: what the population is spread over.
    """
    outer, _ = meshes(num_islands, mesh)

    def ring(leaf: Array) -> Array:
        """Hand what the islands here send on by one island."""
        if outer.size == 1:
            return jnp.roll(leaf, 1, axis=0)
        onward = [(device, (device + 1) % outer.size) for device in range(outer.size)]
        return jnp.concatenate([jax.lax.ppermute(leaf[-1:], AXIS, onward), leaf[:-1]])

    def exchange(islands: Population, due: BoolScalar) -> Population:
        ranking = jax.vmap(lambda island: jnp.argsort(-island.scores.ranked, stable=True))(islands)
        leavers = jax.vmap(lambda island, best: jax.tree.map(lambda leaf: leaf[best], island))(
            islands, ranking[:, :num_migrants]
        )
        arrivals = jax.tree.map(ring, leavers)
        return jax.vmap(admit, in_axes=(0, 0, 0, None))(islands, ranking, arrivals, due)

    islands = uncounted(divide(population, num_islands))
    return replace(merge(on_each_device(exchange, outer)(islands, due)), next_id=population.next_id)


def admit(island: Population, ranking: Int[Array, " member"], arrivals: Population, due: BoolScalar) -> Population:
    """The island with its worst members replaced if it is time, the very worst by the first to arrive."""
    worst = jnp.flip(ranking)[: arrivals.ids.size]
    known = jnp.any(arrivals.ids[:, None] == island.ids[None], axis=1)
    places = jnp.where(due & arrivals.alive & ~known, worst, island.ids.size)  # out of bounds, and so dropped
    return jax.tree.map(lambda own, new: own.at[places].set(new, mode="drop"), island, arrivals)
