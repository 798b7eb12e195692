"""Train a row's network as a user would, and examine the network that the run leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import etm_tasks
from bench._context import ROOT, context
from bench.prior_work._rows import Row
from etm_jax import load_best
from etm_jax.cells import MemoryNetwork
from etm_jax.runs._rows import plain
from etm_jax.task import TaskSuite, clean_inputs
from etm_tasks import make_suite

EPISODES, AT_ONCE = 1000, 250
EXAM_STREAM = 2**31 - 3  # folded into the seed: a stream of keys that no training draws from


def train(row: Row, seed: int, folder: Path, minutes: float, flags: list[str]) -> None:
    """`python -m etm_jax.train` with the row's settings; Ctrl-C after so many minutes, which saves the network.

    Raises:
        SystemExit: the run failed.
    """
    path = os.pathsep.join((str(ROOT), str(ROOT / "tasks")))
    command = [sys.executable, "-m", "etm_jax.train", "--config", str(row.path), "--seed", str(seed)]
    with subprocess.Popen(
        [*command, "--out", str(folder), *flags], cwd=ROOT, env=os.environ | {"PYTHONPATH": path}
    ) as process:
        try:
            status = process.wait(60 * minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            status = process.wait()
    if status not in (0, 130) or not (folder / "summary.json").exists():
        raise SystemExit(f"training of {row.config}, seed {seed}, ended with exit status {status}")


def examine(network: MemoryNetwork, spec: str, seed: int) -> dict[str, Any]:
    """Scores on 1,000 fresh episodes of a task: `accuracy`, the share right in every step, and the task's own."""
    suite = make_suite((spec,))
    assert isinstance(suite, TaskSuite)
    (name,) = suite.names

    @jax.jit
    def answer(network: MemoryNetwork, key: jax.Array) -> tuple[jax.Array, Any]:
        episode = suite.sample(key, AT_ONCE, jnp.ones(1))
        return network(clean_inputs(episode)), episode

    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), EXAM_STREAM), EPISODES // AT_ONCE)
    answers = [answer(network, key) for key in keys]
    outputs, episode = jax.tree.map(lambda *parts: jnp.concatenate(parts), *answers)
    own = suite.extra_scores(outputs, episode).get(name, {})
    scores = {"accuracy": suite.accuracy(outputs, episode)[0], **own}
    if isinstance(task := suite.tasks[0], etm_tasks.Parity):
        error, episodes = task.error_by_bits(outputs, episode)
        scores |= {"error_by_bits": error, "episodes_by_bits": episodes}
    return {key: value.tolist() if jnp.ndim(value) else plain(value) for key, value in scores.items()}


def measure(row: Row, seed: int, folder: Path, minutes: float, flags: list[str]) -> dict[str, Any]:
    """Train unless the folder holds a network that ended, and examine it."""
    started = time.perf_counter()
    if not (folder / "summary.json").exists():
        train(row, seed, folder, minutes, flags)
    summary, network = json.loads((folder / "summary.json").read_text()), load_best(folder)
    return {
        "config": row.config,
        "seed": seed,
        **{key: summary[key] for key in ("ending", "steps", "skipped", "architecture", "num_parameters", "seconds")},
        "wall_s": round(time.perf_counter() - started, 1),
        "exams": {label: examine(network, spec, seed) for label, spec in row.exams.items()},
        "context": context(),
    }
