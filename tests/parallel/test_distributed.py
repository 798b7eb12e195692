"""A run over two processes of this machine: the same run, killed and resumed, stopped, and set up wrongly."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from helpers import assert_trees_close, assert_trees_equal

from etm_jax._command_line import suite_of
from etm_jax._toml import to_toml
from etm_jax.config import IslandConfig
from etm_jax.evolution import make_problem
from etm_jax.evolution._run import run
from etm_jax.evolve import CHANGEABLE, main
from etm_jax.networks import Bounds, LifetimeConfig
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import RunFolder

ROOT = Path(__file__).parents[2]
GENERATIONS = 8
# Islands, so that no process holds the whole population; plain gradient descent, so that rounding stays rounding.
CONFIG = tiny.settings(
    devices=0,
    max_generations=GENERATIONS,
    task=("copy=1,bits=2,max_length=2",),
    bounds=Bounds(
        num_slots=(5, 7), slot_width=(3, 4), num_read_heads=(1, 2), num_write_heads=(1, 1), controller_size=(4, 6)
    ),
    lifetime=LifetimeConfig(steps=2, batch_size=2, optimiser="sgd", learning_rate=0.1),
    islands=IslandConfig(count=2, migrate_every=2),
)
SETTINGS = to_toml(dataclasses.replace(CONFIG, **{name: 1 for name in CHANGEABLE}))
TIMED = ("compile_seconds", "run_seconds", "individuals_per_second")
TIMEOUT = 600  # for two compiles at once on a busy machine


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(number, port, *flags):
    """One of two processes, with one CPU device."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tasks")])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "JAX_NUM_CPU_DEVICES": "1"}
    place = ["--distributed", "--coordinator", f"127.0.0.1:{port}", "--num-processes=2", f"--process-id={number}"]
    cache = ["--compile-cache", str(jax.config.jax_compilation_cache_dir)]
    command = [sys.executable, "-m", "etm_jax.evolve", *place, *cache, *flags]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def started(*flags):
    """Both processes; whatever happens, none is left behind."""
    port = free_port()
    pair = [start(number, port, *flags) for number in (0, 1)]
    try:
        yield pair
    finally:
        for process in pair:
            process.kill()
            process.communicate()


def finish(pair):
    """Standard output and error of both, which end well."""
    texts = [process.communicate(timeout=TIMEOUT) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], texts
    return texts


def wait_for_rows(pair, folder, count):
    deadline = time.monotonic() + TIMEOUT
    path = folder / "metrics.jsonl"
    while time.monotonic() < deadline and all(process.poll() is None for process in pair):
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"no {count} generations: {[process.poll() for process in pair]}")


def rows(folder, name="metrics.jsonl"):
    found = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in found]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(to_toml(CONFIG))
    return path


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """An uninterrupted run of two processes, and what they printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with started("--config", str(settings), "--out", str(folder)) as pair:
        return folder, finish(pair)


@pytest.fixture(scope="module")
def alone():
    """The same problem in this process, on one device."""
    config = dataclasses.replace(CONFIG, devices=1)
    return make_problem(config, suite_of(config))


def restored(folder, like):
    """The newest state of a run folder."""
    checkpoints = Checkpoints(folder / "checkpoints", SETTINGS)
    state = checkpoints.restore(like)
    checkpoints.close()
    return state


@pytest.mark.slow
def test_only_the_first_process_prints_and_writes_each_row_once(whole):
    folder, ((output, _), (silence, _)) = whole
    assert [row["generation"] for row in rows(folder)] == list(range(GENERATIONS))
    assert [row["generation"] for row in rows(folder, "lineage.jsonl")] == list(range(GENERATIONS))
    assert output.count("\ngeneration ") == GENERATIONS
    assert "2 device(s)" in output
    assert [line for line in silence.splitlines() if not line.startswith("[Gloo]")] == []  # Gloo itself says hello
    assert (folder / "report.html").exists()
    assert (folder / "best" / "weights.npz").exists()


@pytest.mark.slow
def test_two_processes_are_the_same_run_as_one(whole, alone, tmp_path):
    folder = RunFolder.create(tmp_path / "alone", CONFIG)
    one = run(alone, folder).state
    for ours, theirs in zip(rows(folder.path, "lineage.jsonl"), rows(whole[0], "lineage.jsonl"), strict=True):
        for name in ("id", "parents", "genes"):
            assert ours[name] == theirs[name]
    two = restored(whole[0], one)  # in one process, from the files of two
    assert_trees_equal(two.population.genomes.architecture, one.population.genomes.architecture)
    assert_trees_close(two.population.genomes.params, one.population.genomes.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(two.population.fitness, one.population.fitness, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_lost_a_process_goes_on_as_the_uninterrupted_one(whole, settings, tmp_path):
    folder = tmp_path / "killed"
    with started("--config", str(settings), "--out", str(folder)) as pair:
        wait_for_rows(pair, folder, 2)
        pair[1].send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            pair[0].communicate(timeout=30)
            assert pair[0].returncode != 0
    assert len(rows(folder)) < GENERATIONS
    with started("--resume", str(folder)) as pair:
        finish(pair)
    assert rows(folder) == rows(whole[0])
    assert rows(folder, "lineage.jsonl") == rows(whole[0], "lineage.jsonl")


@pytest.mark.slow
def test_ctrl_c_at_one_process_stops_both_and_one_process_may_go_on(whole, settings, alone, tmp_path):
    folder = tmp_path / "stopped"
    with started("--config", str(settings), "--out", str(folder)) as pair:
        wait_for_rows(pair, folder, 1)
        pair[1].send_signal(signal.SIGINT)
        (output, _), _ = finish(pair)
    assert "interrupted; resume with: python -m etm_jax.evolve --resume" in output
    done = len(rows(folder))
    assert str(done) in {path.name for path in (folder / "checkpoints").iterdir()}
    checkpoints = Checkpoints(folder / "checkpoints", SETTINGS)
    run(alone, RunFolder.open(folder), checkpoints)
    checkpoints.close()
    ours, theirs = rows(folder, "lineage.jsonl"), rows(whole[0], "lineage.jsonl")
    assert [row["id"] for row in ours] == [row["id"] for row in theirs]


def test_different_settings_are_refused_by_both(settings, tmp_path):
    port = free_port()
    flags = ("--config", str(settings), "--out", str(tmp_path / "run"))
    pair = [start(0, port, *flags), start(1, port, *flags, "--seed=1")]
    for process in pair:
        _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 2
        assert "must be started with the same settings" in errors.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def run_main(capsys, *flags):
    """Status and standard error of the command line, in this process."""
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    return stop.value.code, capsys.readouterr().err


SETUP = ("--distributed", "--out", "run", "--coordinator")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--process-id=1"], "--process-id belongs to a distributed run; add --distributed"),
        (["--distributed"], "--distributed needs --out or --resume"),
        ([*SETUP, "nowhere"], "coordinator must look like HOST:PORT"),
        ([*SETUP, "here:1", "--num-processes=0"], "num_processes must be at least 1, got 0"),
        ([*SETUP, "here:1", "--num-processes=2", "--process-id=2"], "process_id must be from 0 to num_processes - 1"),
        ([*SETUP, "here:1", "--process-id=-1"], "process_id must be from 0 to num_processes - 1"),
    ],
)
def test_a_wrong_set_up_is_one_clear_line(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    status, errors = run_main(capsys, *flags)
    assert status == 2
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_set_up_is_one_clear_line(tmp_path):
    command = [sys.executable, "-m", "etm_jax.evolve", "--distributed", "--out", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tasks")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 2
    assert "give every process --coordinator HOST:PORT" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_taken_folder_is_refused_before_anything_is_written(settings, whole, tmp_path):
    folder = tmp_path / "taken"
    shutil.copytree(whole[0], folder)
    with started("--config", str(settings), "--out", str(folder)) as pair:
        for process in pair:
            _, errors = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 2
            assert "out must be a new or empty folder" in errors.splitlines()[-1]
    assert rows(folder) == rows(whole[0])
