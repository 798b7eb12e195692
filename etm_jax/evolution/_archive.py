"""The members that a run keeps beside its population: moved by the archive's rules, written at the end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from etm_jax._files import write_atomically
from etm_jax._typing import Key
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import NO_ID, EvolutionState, Population
from etm_jax.models._model import choose, member
from etm_jax.models._registry import kind_of_run, load_model
from etm_jax.parallel._devices import on_this_process
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._rows import Row, plain
from etm_jax.selection import EMPTY, Archive, Scores

ROWS, MEMBERS = "members.json", "members"


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


def member_rows(problem: Problem, state: EvolutionState) -> list[Row]:
    """One row for each member of the archive: its number, id, scores and genes; none without an archive of genomes."""
    if problem.archive is None or not problem.archive.keeps_genomes:
        return []
    archive = on_this_process(state.archive)
    scores = archive.scores
    genes = {name: np.asarray(values) for name, values in problem.model.genes(archive.genomes).items()}
    named = (("objectives", problem.objectives), ("descriptors", problem.descriptors))
    return [
        {
            "number": number,
            "id": int(archive.ids[place]),
            "fitness": plain(scores.fitness[place]),
            **{
                kind: {name: plain(value) for name, value in zip(names, getattr(scores, kind)[place], strict=True)}
                for kind, names in named
                if names
            },
            "genes": {name: int(values[place]) for name, values in genes.items()},
        }
        for number, place in enumerate(occupied(scores))
    ]


def occupied(scores: Scores) -> list[int]:
    """The places of an archive that are taken."""
    return np.flatnonzero(np.asarray(scores.alive)).tolist()


def write_members(folder: RunFolder, problem: Problem, state: EvolutionState) -> None:
    """Write every member of the archive into the run folder: `members.json`, and a model of each in `members/NUMBER`.

    In a Baldwinian run these are the genomes as they were born, since that is what the archive breeds from.
    """
    rows = member_rows(problem, state)
    if not rows:
        return
    archive = on_this_process(state.archive)
    for number, place in enumerate(occupied(archive.scores)):
        exported = problem.model.export(member(archive.genomes, place))
        problem.model.save(exported, folder.path / MEMBERS / str(number))
    write_atomically(folder.path / ROWS, json.dumps(rows, indent=2) + "\n")


def load_member(run: str | Path, number: int) -> Any:
    """A member of a run's archive as a model, as `load_best` gives the champion.

    Args:
        run: the run folder.
        number: of its row in `members.json`.

    Raises:
        ValueError: the run kept no such member.
    """
    whole = RunFolder.open(Path(run))
    folder = whole.path / MEMBERS
    kept = sum(1 for _ in folder.iterdir()) if folder.exists() else 0
    if not 0 <= number < kept:
        raise ValueError(f"number must be below {kept}, the members that {run} kept, got {number}; see {ROWS}")
    return load_model(folder / str(number), kind_of_run(whole))
