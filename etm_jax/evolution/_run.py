"""The run: compile a generation, repeat it, write what happened, stop cleanly, resume where it stopped."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax

from etm_jax.evolution._archive import member_rows
from etm_jax.evolution._buckets import choose_buckets, next_choice
from etm_jax.evolution._islands import state_sharding
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._programs import Generation, compile_generation, compile_raising, first_state
from etm_jax.evolution._state import NO_ID, EvolutionState
from etm_jax.parallel._devices import any_process, on_this_process, wait_for_all
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._history import History, lineage_row, metrics_row
from etm_jax.runs._interrupts import interrupts
from etm_jax.runs._rows import Row


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: the last state.
        history: one row a generation, those before a resume included.
        compile_seconds: spent compiling in this process.
        run_seconds: spent computing generations in this process.
        interrupted: True = stopped by a signal before the last generation.
    """

    state: EvolutionState
    history: History
    compile_seconds: float
    run_seconds: float
    interrupted: bool


def run(
    problem: Problem,
    folder: RunFolder | None = None,
    checkpoints: Checkpoints | None = None,
    on_generation: Callable[[Row], None] | None = None,
) -> Outcome:
    """Evolve until `max_generations`, from the newest checkpoint if there is one.

    Where more founders are born than there are places, a new run begins with these. The state before the first
    generation is a checkpoint, too. With each one the champion so far is saved as the best.

    With several processes every one of them calls this: with the same problem, with `checkpoints` of the same folder,
    and one of them with a `folder` to write rows to.

    Args:
        problem: what to evolve, and on what.
        folder: where rows go; None to write nothing.
        checkpoints: where states go and come from.
        on_generation: called with each new row.

    Raises:
        ValueError: the folder has rows of other tasks, or rows and no checkpoint; or a checkpoint cannot be kept.
    """
    config, started = problem.config, time.perf_counter()
    state = first_state(problem)
    compile_seconds = unaccounted = time.perf_counter() - started
    restored = checkpoints.restore(state) if checkpoints is not None else None
    if folder is not None:
        folder.check_rows(problem.suite.names, resumed=restored is not None)
    run_seconds = 0.0
    if restored is None:
        started = time.perf_counter()
        raising = compile_raising(problem, state)
        compiled = time.perf_counter()
        state = jax.block_until_ready(raising(state))
        run_seconds, seconds = time.perf_counter() - compiled, compiled - started
        compile_seconds, unaccounted = compile_seconds + seconds, unaccounted + seconds
    else:
        state = restored
    if checkpoints is not None:
        checkpoints.drop_after(int(state.generation))
        checkpoints.save(state)
    if folder is not None:
        folder.cut_after(int(state.generation))
    rows = folder.rows() if folder is not None else []

    if int(state.generation) >= config.max_generations:
        return Outcome(
            state, History(rows, member_rows(problem, state)), compile_seconds, run_seconds, interrupted=False
        )
    count = min(config.generations_per_chunk, config.max_generations)
    stage, stop = None, False
    with interrupts() as interrupted:
        while int(state.generation) < config.max_generations and not stop:
            started, first = time.perf_counter(), int(state.generation)
            if stage is None or first == stage.until:
                state, stage = _next_stage(problem, state, stage)
                seconds = time.perf_counter() - started
                compile_seconds, unaccounted = compile_seconds + seconds, unaccounted + seconds
                started = time.perf_counter()
            metrics = []
            for _ in range(min(count, stage.until - first)):
                state, happened = stage.generation(state)
                metrics.append(happened)
            state, metrics = jax.block_until_ready((state, metrics))
            seconds, done = time.perf_counter() - started, int(state.generation)
            run_seconds += seconds
            for generation, happened in enumerate(jax.device_get(metrics), first):
                row = metrics_row(generation, happened, problem.suite.names, unaccounted, seconds / (done - first))
                if problem.archive is not None:
                    row |= problem.archive.summary(happened.archive)
                unaccounted = 0.0
                rows.append(row)
                if folder is not None:
                    folder.append(row, lineage_row(generation, happened))
                if on_generation is not None:
                    on_generation(row)
            stop = any_process(interrupted.is_set())  # Ctrl-C may have reached only some processes
            due = done // config.checkpoint_every > first // config.checkpoint_every
            if checkpoints is not None and (due or done == config.max_generations or stop):
                keep(problem, state, folder, checkpoints)
    unfinished = int(state.generation) < config.max_generations
    history = History(rows, member_rows(problem, state))
    return Outcome(state, history, compile_seconds, run_seconds, interrupted=unfinished)


def keep(problem: Problem, state: EvolutionState, folder: RunFolder | None, checkpoints: Checkpoints) -> None:
    """Write a checkpoint, and the champion so far as the best; the rows before both are on disk first."""
    if folder is not None:
        folder.sync()
    checkpoints.save(state)
    if folder is not None and survived(state):
        best = problem.model.export(on_this_process(state.champion))
        folder.save_best(functools.partial(problem.model.save, best))


def survived(state: EvolutionState) -> bool:
    """Whether some evaluation has given finite numbers, so that there is a champion."""
    return int(state.champion_id) != NO_ID


@dataclass(frozen=True)
class _Stage:
    """A stretch of the run between two choices of buckets: the model in them, its program, and where it ends."""

    model: Any
    generation: Generation
    until: int


def _next_stage(problem: Problem, state: EvolutionState, before: _Stage | None) -> tuple[EvolutionState, _Stage]:
    """Choose buckets if that is due, and compile unless they are those of before."""
    config, model = problem.config, problem.model
    until = next_choice(config.max_generations, model.rebucket_every, int(state.generation))
    sharding = state_sharding(config.islands.count, problem.mesh)
    state = jax.device_put(choose_buckets(problem, state), sharding)
    model = model.in_buckets(state.buckets) if model.rebucket_every else model
    if before is not None and before.model == model:
        generation = before.generation
    else:
        generation = compile_generation(replace(problem, model=model), state)
    wait_for_all("compiled")  # the first exchange between processes fails unless all reach it within seconds
    return state, _Stage(model, generation, until)


def summarise(problem: Problem, outcome: Outcome, started: float) -> dict[str, Any]:
    """The champion and its held-out scores, as `summary.json` holds them.

    Args:
        problem: what evolved.
        outcome: how it ended, with a champion that this process holds whole.
        started: `time.perf_counter()` when the run began; the total is until these scores were there.
    """
    state = outcome.state
    return {
        "champion_id": int(state.champion_id),
        **problem.model.report(state.champion, problem.config.seed),
        "seconds": {
            "total": round(time.perf_counter() - started, 1),
            "compile": round(outcome.compile_seconds, 1),
            "run": round(outcome.run_seconds, 1),
        },
        "generations": int(state.generation),
    }
