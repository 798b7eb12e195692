"""The members of a run's archive, as rows to read and as models to use."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from etm_jax._files import write_atomically
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import EvolutionState
from etm_jax.models._model import member
from etm_jax.models._registry import kind_of_run, load_model
from etm_jax.parallel._devices import on_this_process
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._rows import Row, plain
from etm_jax.selection import Scores

ROWS, MEMBERS = "members.json", "members"


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
