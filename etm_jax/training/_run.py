"""The run: compile a chunk, repeat it until there is a reason to stop, write what happened, resume where it stopped."""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from etm_jax._compiling import compile_options, tracing
from etm_jax.networks.genome._compact import compact
from etm_jax.networks.genome._export import save_network
from etm_jax.networks.genome._genes import describe
from etm_jax.networks.genome._genome import num_parameters
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.networks.learning._score import held_out_scores
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._history import History
from etm_jax.runs._interrupts import interrupts
from etm_jax.runs._rows import Row, by_task, plain
from etm_jax.training._chunk import ChunkRecord, TrainState, chunk, init, network_of, num_skipped
from etm_jax.training._training import Training

LOOKS_TO_SOLVE = 2  # in a row; one may be luck, or stand before a relapse
MOST_SKIPPED = 50  # in a row; what has not recovered by then never will

Ending = Literal["all steps done", "solved", "interrupted", "diverged"]


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended.

    Attributes:
        state: the last state.
        history: one row a chunk, those before a resume included.
        compile_seconds: spent compiling in this process.
        run_seconds: spent in gradient steps and looks in this process.
        ending: why it stopped; `"diverged"` where the loss or the gradient was not finite for many steps in a row.
    """

    state: TrainState
    history: History
    compile_seconds: float
    run_seconds: float
    ending: Ending


def train(
    training: Training,
    folder: RunFolder | None = None,
    checkpoints: Checkpoints | None = None,
    on_chunk: Callable[[Row], None] | None = None,
) -> TrainingOutcome:
    """Train from the newest checkpoint if there is one, until solved or for all steps.

    The state before the first step is a checkpoint, too. With each one the network so far is saved as the best.

    Args:
        training: what to train, and on what.
        folder: where rows go; None to write nothing.
        checkpoints: where states go and come from; made with `counter="chunk"`.
        on_chunk: called with each new row.

    Raises:
        ValueError: the folder has rows of other tasks, or rows and no checkpoint; or a checkpoint cannot be kept.

    Example:
        >>> import etm_tasks
        >>> from etm_jax import TaskSuite
        >>> from etm_jax.training import NetworkConfig, TrainConfig, make_training, train
        >>> suite = TaskSuite((etm_tasks.make("copy", bits=2, max_length=2),), weights=(1.0,))
        >>> network = NetworkConfig(num_slots=4, slot_width=3, controller_size=4)
        >>> config = TrainConfig(steps=3, steps_per_chunk=2, batch_size=2, score_episodes=4, network=network)
        >>> outcome = train(make_training(config, suite))
        >>> [row["step"] for row in outcome.history.rows], outcome.ending
        ([2, 3], 'all steps done')
    """
    config = training.config
    state = jax.jit(init, static_argnums=0)(training, jax.random.key(config.seed))
    restored = checkpoints.restore(state) if checkpoints is not None else None
    if folder is not None:
        folder.check_rows(training.suite.names, resumed=restored is not None, counter="chunk")
    state = state if restored is None else restored
    if checkpoints is not None:
        checkpoints.drop_after(int(state.chunk))
        checkpoints.save(state)
    if folder is not None:
        folder.cut_after(int(state.chunk), "chunk")
    rows = folder.rows("chunk") if folder is not None else []

    compile_seconds = run_seconds = 0.0
    ending = ending_of(training, state)
    with interrupts() as interrupted:
        if ending is None:
            started = time.perf_counter()
            last = jnp.asarray(config.steps, jnp.int32)
            with tracing():
                lowered = jax.jit(functools.partial(chunk, training), donate_argnums=0).lower(state, last)
            compiled = lowered.compile(compiler_options=compile_options(math.inf))
            compile_seconds = unaccounted = time.perf_counter() - started
        while ending is None:
            started, first = time.perf_counter(), int(state.step)
            state, record = jax.block_until_ready(compiled(state, last))
            seconds = time.perf_counter() - started
            run_seconds += seconds
            row = _row(training, state, record, first, (unaccounted, seconds))
            unaccounted = 0.0
            rows.append(row)
            if folder is not None:
                folder.append(row)
            if on_chunk is not None:
                on_chunk(row)
            ending = ending_of(training, state) or ("interrupted" if interrupted.is_set() else None)
            due = int(state.chunk) % config.checkpoint_every == 0
            if checkpoints is not None and (due or ending is not None):
                keep(training, state, folder, checkpoints)
    return TrainingOutcome(state, History(rows), compile_seconds, run_seconds, ending)


def keep(training: Training, state: TrainState, folder: RunFolder | None, checkpoints: Checkpoints) -> None:
    """Write a checkpoint, and the network so far as the best; the rows before both are on disk first."""
    if folder is not None:
        folder.sync()
    checkpoints.save(state)
    if folder is not None:
        network = compact(network_of(state), training.bounds)
        folder.save_best(functools.partial(save_network, network))


def ending_of(training: Training, state: TrainState) -> Ending | None:
    """Why training ends here; None where it does not."""
    if int(optax.tree.get(state.optimiser, "notfinite_count")) >= MOST_SKIPPED:
        return "diverged"
    if training.config.stop_when_solved and int(state.solved) >= LOOKS_TO_SOLVE:
        return "solved"
    return "all steps done" if int(state.step) >= training.config.steps else None


def _row(training: Training, state: TrainState, record: ChunkRecord, first: int, seconds: tuple[float, float]) -> Row:
    """What `metrics.jsonl` holds of one chunk; `first` is the step it began at."""
    names, result, step = training.suite.names, record.score, int(state.step)
    compiling, running = seconds
    return {
        "chunk": int(state.chunk) - 1,
        "step": step,
        "train_loss": plain(record.loss),
        "loss": plain(result.loss),
        "performance": by_task(names, result.performance),
        "accuracy": by_task(names, result.accuracy),
        "difficulty": by_task(names, record.difficulty),
        "learning_rate": plain(record.learning_rate),
        "skipped": int(record.skipped),
        "compile_seconds": round(compiling, 3),
        "run_seconds": round(running, 3),
        "steps_per_second": round((step - first) / running, 3) if running > 0 else None,
    }


def summarise(training: Training, outcome: TrainingOutcome, started: float) -> dict[str, Any]:
    """The network and its held-out scores, as `summary.json` holds them.

    The total time is from `started`, a `time.perf_counter()`, until these scores were there.
    """
    state, network = outcome.state, network_of(outcome.state)
    examined = Lifetime(training.bounds, training.suite, native=training.backend.native)
    return {
        "ending": outcome.ending,
        "steps": int(state.step),
        "skipped": int(num_skipped(state.optimiser)),
        "architecture": describe(network.architecture),
        "computed_by": training.computed_by,
        "num_parameters": int(num_parameters(network, training.bounds)),
        "held_out": held_out_scores(examined, network, training.config.seed),
        "seconds": {
            "total": round(time.perf_counter() - started, 1),
            "compile": round(outcome.compile_seconds, 1),
            "run": round(outcome.run_seconds, 1),
        },
    }
