"""The members that a run keeps beside its population, moved by the archive's rules, which see only scores."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from etm_jax._typing import Key
from etm_jax.evolution._state import NO_ID, Population
from etm_jax.models._model import choose, member
from etm_jax.selection import EMPTY, Archive, Scores


def empty(archive: Archive | None, population: Population) -> Any:
    """The archive before the first generation: a population of as many places as it has, none alive."""
    if archive is None:
        return ()

    def places(leaf: Any) -> Any:
        return jnp.zeros((archive.num_places, *leaf.shape[1:]), leaf.dtype)

    blank = jax.tree.map(places, _kept_parts(archive, population))
    return replace(blank, ids=blank.ids + NO_ID, parents=blank.parents + NO_ID)


def take_in(archive: Archive | None, key: Key, kept: Any, population: Population) -> Any:
    """The archive after a generation. The key is consumed."""
    if archive is None:
        return ()
    source = archive.admit(key, kept.scores, population.scores)
    arrives = source >= 0
    newcomers = member(_kept_parts(archive, population), jnp.maximum(source, 0))
    taken = choose(arrives, newcomers, kept)
    scores = taken.scores
    assert scores.age is not None
    scores = replace(scores, age=jnp.where(arrives, 0, scores.age + 1), alive=scores.alive & (source != EMPTY))
    return replace(taken, scores=scores)


def parent_pool(archive: Archive | None, kept: Any, population: Population) -> tuple[Population, Scores]:
    """Where survivors and parents come from, and what the selector is shown of it."""
    if archive is None:
        return population, population.scores
    return kept if archive.breeds else population, archive.view(kept.scores, population.scores)


def _kept_parts(archive: Archive, population: Population) -> Population:
    """A population as the archive holds it: without the counter, and without genomes if these are not needed."""
    genomes = population.genomes if archive.keeps_genomes else ()
    return replace(population, genomes=genomes, next_id=())  # pyright: ignore[reportArgumentType]
