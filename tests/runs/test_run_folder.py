"""Run folders that are shared, cut off, damaged or made from Python: what was written is not lost in silence."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import etm_jax as etm
from etm_jax import train
from etm_jax._output import Output
from etm_jax._toml import read_table
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import _run
from etm_jax.evolution._state import NO_ID
from etm_jax.evolve import main, read_command
from etm_jax.models._registry import load_best
from etm_jax.networks import LifetimeConfig, NetworksConfig
from etm_jax.report._run import read_run
from etm_jax.runs._checkpoint import CheckpointError, Checkpoints
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._interrupts import interrupts
from etm_jax.runs._rows import ranges_of, read_rows
from etm_jax.training import TrainConfig
from tests import tiny
from tests.helpers import ROOT

CONFIG = EvolutionaryTuringConfig()
FLAGS = [
    "--model=em43", "--task=increment", "--population-size=6", "--max-generations=3", "--selection=tournament",
    "--programme-length=4", "--window=60", "--max-steps=20", "--checkpoint-every=1",
    "--generations-per-chunk=1", "--devices=1", "--selection.num-elites=2", "--compile-cache=off",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run of small automata, by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    main([*FLAGS, "--out", str(folder)])
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    subprocess.run(["cp", "-r", str(finished), str(tmp_path / "run")], check=True)
    return tmp_path / "run"


def failure(capsys, *flags):
    """Status and standard error of a command line that fails."""
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    return stop.value.code, capsys.readouterr().err


def kept(folder):
    return [row["generation"] for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())]


# Rows


@pytest.mark.parametrize(
    ("text", "generations", "unreadable", "torn"),
    [
        ('{"generation": 0}\n{"genera\n{"generation": 2}\n', [0, 2], 1, False),
        ('{"generation": 0}\n\n\n{"generation": 1}\n', [0, 1], 0, False),
        ('{"generation": 0}\n{}\nnull\n[]\n7\n{"generation": true}\n{"generation": -1}\n', [0], 6, False),
        ('{"generation": 0}\n{"generation": 1, "be', [0], 0, True),
        ('{"generation": 1}\n{"generation": 0}\n{"generation": 1, "later": 1}', [0, 1], 0, False),
        ("[" * 100_000 + "\n", [], 1, False),
        ("", [], 0, False),
    ],
)
def test_a_broken_line_costs_itself_and_no_other(tmp_path, text, generations, unreadable, torn):
    (tmp_path / "rows.jsonl").write_text(text)
    found = read_rows(tmp_path / "rows.jsonl", "generation")
    assert [row["generation"] for row in found.rows] == generations
    assert (found.unreadable, found.torn) == (unreadable, torn)


def test_ranges_are_short():
    assert ranges_of([0, 3, 4, 5, 8]) == "0, 3-5, 8"


def test_resume_keeps_the_rows_behind_a_broken_line_and_says_what_is_missing(copied, capsys, caplog):
    lines = (copied / "metrics.jsonl").read_text().splitlines()
    (copied / "metrics.jsonl").write_text("\n".join([lines[0], lines[1][:30], "", "null", lines[2]]) + "\n")
    (copied / "lineage.jsonl").unlink()
    main(["--resume", str(copied), "--max-generations=4", "--compile-cache=off"])
    assert kept(copied) == [0, 2, 3]
    assert "metrics.jsonl lacks generation 1;" in caplog.text
    assert "metrics.jsonl has lines that are no rows: 2" in caplog.text
    assert "lineage.jsonl lacks generation 0-2" in caplog.text
    assert "metrics.jsonl lacks generation 1." in read_run(copied).notes
    assert "nothing is left to do" not in capsys.readouterr().out


def test_a_run_that_is_done_says_so(copied, capsys):
    main(["--resume", str(copied), "--max-generations=2", "--compile-cache=off"])
    assert "nothing is left to do: 3 generations are done, and --max-generations is 2" in capsys.readouterr().out
    assert kept(copied) == [0, 1, 2]


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--seed=7", "--resume cannot change seed from 0 to 7"),
        ("--selection=species", "--resume cannot change selection from"),
        ("--selection.num-elites=3", "--resume cannot change selection.num_elites from"),
        ("--archive=novelty", "--resume cannot change archive from 'auto' to 'novelty'"),
        ("--window=70", "--resume cannot change window from 60 to 70"),
        ("--model=graph", "--model graph does not fit these settings, which are of the model em43"),
        ("--preset=em43", "--resume uses its own settings; leave out --preset"),
    ],
)
def test_flags_that_would_make_it_another_run_are_refused(copied, capsys, flag, says):
    status, errors = failure(capsys, "--resume", str(copied), flag)
    assert (status, errors.count("\n")) == (2, 1)
    assert says in errors


def test_rows_without_a_checkpoint_are_never_cut(copied, capsys):
    subprocess.run(["rm", "-r", str(copied / "checkpoints")], check=True)
    status, errors = failure(capsys, "--resume", str(copied))
    assert status == 2
    assert "has rows up to generation 2 and no checkpoint to resume from" in errors
    assert kept(copied) == [0, 1, 2]


def test_rows_of_other_tasks_are_never_cut(copied, capsys):
    path = copied / "config.toml"
    path.write_text(path.read_text().replace('"increment"', '"decrement"'))
    subprocess.run(["rm", "-r", str(copied / "checkpoints")], check=True)
    RunFolder.open(copied).check_rows(["increment"], resumed=True)
    with pytest.raises(ValueError, match="has rows of the tasks increment, and this run is of decrement"):
        RunFolder.open(copied).check_rows(["decrement"], resumed=True)


# From Python


def test_a_run_from_python_cannot_be_resumed_and_keeps_its_rows(tmp_path, capsys):
    """Its tasks are in no settings: a resume would wipe its rows and continue with the default tasks."""
    folder = tmp_path / "run"
    config = replace(CONFIG, population_size=2, model=NetworksConfig(lifetime=LifetimeConfig(inheritance="darwinian")))
    machine = etm.EvolutionaryTuringMachine(config, tiny.SUITE, out=folder)
    (folder / "metrics.jsonl").write_text('{"generation": 0}\n')
    assert RunFolder.open(folder).config(CONFIG).task == ("copy=0.5", "recall=0.3")
    for command in (["--resume", str(folder)], ["report", str(folder)]):
        status, errors = failure(capsys, *command)
        assert status == 2
        assert "was started from Python and keeps no checkpoints" in errors
        assert "its tasks were given to Python" in errors
        assert errors.count("\n") == 1
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        machine.run_evolution()
    assert kept(folder) == [0]


# Settings


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "é", "😀", '"', "\\"]
)
def test_settings_with_any_character_come_back(tmp_path, character):
    config = replace(CONFIG, task=(f"copy=1{character}",))
    assert RunFolder.create(tmp_path / "run", config).config(CONFIG) == config


def test_settings_that_no_file_can_hold_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        RunFolder.create(tmp_path / "run", replace(CONFIG, task=("copy=1\udc80",)))
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_come_back(tmp_path):
    model = NetworksConfig(lifetime=LifetimeConfig(clip_norm=np.float64(0.1)))
    config = replace(CONFIG, efficiency_weight=np.float64(0.3), model=model)
    assert RunFolder.create(tmp_path / "run", config).config(CONFIG) == config


# Versions

OTHERS = ("0.1.0", "1.0.0", "0.20.0", "", None)  # None: no line at all, as before there were versions


def written_by(folder, version):
    """The folder with a config.toml of another version."""
    path = folder / "config.toml"
    first, rest = path.read_text().split("\n", 1)
    assert first == f'etm_jax = "{etm.__version__}"'
    path.write_text(rest if version is None else f'etm_jax = "{version}"\n{rest}')
    return folder


@pytest.mark.parametrize("version", OTHERS)
def test_a_folder_of_another_minor_version_is_refused_in_one_line_that_says_which(copied, capsys, version):
    written_by(copied, version)
    before = sorted(path.stat().st_mtime_ns for path in copied.rglob("*"))
    by = f"version {version}" if version else "version 0.1 or an earlier one"
    says = f"{copied} was written by {by} of etm_jax, and this is {etm.__version__}; use that version for this run"
    for flags in (["--resume", str(copied)], ["--resume", str(copied), "--help"], ["report", str(copied)]):
        status, errors = failure(capsys, *flags)
        assert (status, errors.count("\n")) == (2, 1)
        assert says in errors
    for refuse in (load_best, lambda path: RunFolder.open(path).config(CONFIG)):
        with pytest.raises(ValueError, match=re.escape(says)) as caught:
            refuse(copied)
        assert "\n" not in str(caught.value)
    assert sorted(path.stat().st_mtime_ns for path in copied.rglob("*")) == before


def test_a_folder_of_the_same_minor_version_is_read(copied):
    major, minor, *_ = etm.__version__.split(".")
    written_by(copied, f"{major}.{minor}.99")
    assert RunFolder.open(copied).config(CONFIG).population_size == 6
    assert load_best(copied)([3]).outputs.shape == (1,)


def test_a_training_of_another_minor_version_is_refused_in_one_line(tmp_path, capsys):
    folder = written_by(RunFolder.create(tmp_path / "run", TrainConfig()).path, None)
    for flags in (["--resume", str(folder)], ["report", str(folder)]):
        with pytest.raises(SystemExit) as stop:
            train.main(flags)
        errors = capsys.readouterr().err
        assert (stop.value.code, errors.count("\n")) == (2, 1)
        assert f"{folder} was written by version 0.1 or an earlier one of etm_jax" in errors


def test_settings_are_written_with_the_version_and_read_by_config_without_it(finished):
    table = read_table(finished / "config.toml")
    assert next(iter(table)) == "etm_jax" and table["model"]["kind"] == "em43"
    assert "etm_jax" not in RunFolder.open(finished).raw_config()
    settings = read_command(["--config", str(finished / "config.toml")]).settings
    assert settings == RunFolder.open(finished).config(CONFIG)


# Several at once


def test_a_folder_is_one_process_s_at_a_time_and_a_dead_one_s_lock_is_broken(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    with (
        folder.locked(),
        pytest.raises(ValueError, match=f"in use by process {os.getpid()} on .*; wait"),
        folder.locked(),
    ):
        pass
    assert not (folder.path / "run.lock").exists()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder.path / "run.lock").write_text(f"process {dead.pid} on {os.uname().nodename}\n")
    with folder.locked():
        assert f"process {os.getpid()} on" in (folder.path / "run.lock").read_text()
    with folder.locked():
        pass


def test_where_the_file_system_has_no_locks_the_process_id_decides(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    with folder.locked(), pytest.raises(ValueError, match="in use by process"), folder.locked():
        pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder.path / "run.lock").write_text(f"process {dead.pid} on {os.uname().nodename}\n")
    with folder.locked():
        pass


def test_a_resume_of_a_run_under_way_is_refused(copied, capsys):
    with RunFolder.open(copied).locked():
        status, errors = failure(capsys, "--resume", str(copied), "--max-generations=9")
    assert status == 2
    assert f"{copied} is in use by process" in errors
    assert kept(copied) == [0, 1, 2]


def test_starts_in_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101-000000")
    made = [RunFolder.create_by_time(tmp_path / "runs", CONFIG).path.name for _ in range(3)]
    assert made == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]


def test_of_two_starts_in_one_empty_folder_one_is_refused(tmp_path, monkeypatch):
    RunFolder.create(tmp_path, CONFIG)
    looks = iter([None])  # the second one looked while the folder was empty
    seen = RunFolder.check_free
    monkeypatch.setattr(RunFolder, "check_free", staticmethod(lambda path: next(looks, seen(path))))
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        RunFolder.create(tmp_path, replace(CONFIG, seed=1))
    assert RunFolder.open(tmp_path).config(CONFIG).seed == 0


# Checkpoints


@struct.dataclass
class Counted:
    key: jax.Array
    generation: jax.Array
    numbers: jax.Array


def counted(generation):
    return Counted(jax.random.key(0), jnp.asarray(np.int32(generation)), jnp.asarray(np.arange(3, dtype=np.float32)))


@pytest.mark.parametrize("name", ["run[1]", "a]b", "a*b", "a?", "a\\b", "a\udc80"])
def test_a_path_that_checkpoints_cannot_be_read_from_is_refused_at_once(tmp_path, capsys, name):
    with pytest.raises(ValueError, match="the path of a run folder must"):
        Checkpoints(tmp_path / name / "run" / "checkpoints", "settings")
    status, errors = failure(capsys, *FLAGS, "--out", str(tmp_path / name / "run"))
    assert (status, errors.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "ä{}", "~x", "$HOME", "50%20", "x:y", "a'b\"", "a\nb"])
def test_other_paths_hold_checkpoints(tmp_path, name):
    checkpoints = Checkpoints(tmp_path / name, "settings")
    checkpoints.save(counted(0))
    np.testing.assert_array_equal(checkpoints.restore(counted(0)).numbers, [0, 1, 2])
    checkpoints.close()


def test_the_first_checkpoint_is_read_back(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "settings")

    def broken(*_):
        raise KeyError("no such array")

    monkeypatch.setattr(checkpoints, "_read", broken)
    with pytest.raises(CheckpointError, match=r"checkpoint 0 cannot be kept in .*no such array"):
        checkpoints.save(counted(0))
    checkpoints.close()


# Ends


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_ask_for_an_end(number):
    before = signal.getsignal(number)
    with interrupts() as asked:
        os.kill(os.getpid(), number)
        assert asked.wait(5)
        if number != signal.SIGINT:  # a hang-up often comes twice
            os.kill(os.getpid(), number)
            time.sleep(0.01)
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked.wait(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminated_run_saves_and_has_a_champion_and_a_report(tmp_path, monkeypatch, capsys):
    """What a batch system sends before it takes the machine away."""
    folder = tmp_path / "run"
    append = RunFolder.append

    def terminate(self, metrics, lineage=None):
        append(self, metrics, lineage)
        if metrics["generation"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "append", terminate)
    main([*FLAGS, "--max-generations=50", "--out", str(folder)])
    assert f"interrupted; resume with: python -m etm_jax.evolve --resume {folder}" in capsys.readouterr().out
    assert kept(folder) == [0, 1]
    assert (folder / "checkpoints" / "2").exists()
    assert (folder / "summary.json").exists()


def test_an_unfinished_run_has_a_champion_and_a_report(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    append = RunFolder.append

    def die(self, metrics, lineage=None):
        if metrics["generation"] == 2:
            raise MemoryError
        append(self, metrics, lineage)

    monkeypatch.setattr(RunFolder, "append", die)
    with pytest.raises(MemoryError):
        main([*FLAGS, "--out", str(folder)])
    assert not (folder / "summary.json").exists()
    assert load_best(folder)([3]).outputs.shape == (1,)
    main(["report", str(folder)])
    assert "Unfinished" in (folder / "report.html").read_text()
    assert (folder / "space_time.png").exists()  # the champion's
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_a_full_disk_is_one_line(tmp_path, monkeypatch, capsys):
    def full(self, metrics, lineage=None):
        raise OSError(28, "No space left on device", str(self.path / "metrics.jsonl"))

    monkeypatch.setattr(RunFolder, "append", full)
    status, errors = failure(capsys, *FLAGS, "--out", str(tmp_path / "run"))
    assert status == 2
    assert "metrics.jsonl: No space left on device" in errors
    assert errors.count("\n") == 1


def test_where_no_individual_survives_there_is_no_best_and_no_success(tmp_path, monkeypatch, capsys):
    compile_generation = _run.compile_generation

    def compile_failing(problem, state):
        generation = compile_generation(problem, state)

        def all_fail(state):
            state, metrics = generation(state)
            none = jax.device_put(np.asarray(NO_ID, state.champion_id.dtype), state.champion_id.sharding)
            return replace(state, champion_id=none), metrics

        return all_fail

    monkeypatch.setattr(_run, "compile_generation", compile_failing)
    folder = tmp_path / "run"
    status, errors = failure(capsys, *FLAGS, "--out", str(folder))
    assert status == 2
    assert "error: no individual survived: every evaluation in 3 generations" in errors
    assert not (folder / "best").exists()
    assert not (folder / "summary.json").exists()
    assert (folder / "report.html").exists()


def test_the_facade_has_no_best_model_where_no_individual_survived():
    problem = tiny.problem()
    machine = etm.EvolutionaryTuringMachine(problem.config, tiny.SUITE)
    state = replace(tiny.compiled_init()(jax.random.key(0)))
    machine._outcome = type("Outcome", (), {"state": state})()
    with pytest.raises(RuntimeError, match="there is no best model: every evaluation"):
        machine.get_best_model()


# Standard output


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")])
def test_a_run_continues_without_standard_output(finished, tmp_path, monkeypatch, error):
    class Lost:
        encoding = "utf-8"

        def write(self, text):
            raise error

        def flush(self):
            raise error

        def isatty(self):
            return False

        def fileno(self):
            raise OSError("no descriptor")

    monkeypatch.setattr(sys, "stdout", Lost())
    main([*FLAGS, "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "summary.json").exists()
    assert kept(tmp_path / "run") == kept(finished)


@pytest.mark.parametrize("redirect", ["| head -c 1", "> /dev/full", ">&-"])
def test_a_lost_pipe_does_not_change_the_exit_status(redirect):
    code = "from etm_jax._output import say; [say('x' * 9999) for _ in range(99)]"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tasks")])
    command = f'set -o pipefail; {sys.executable} -c "{code}" {redirect}'
    done = subprocess.run(
        ["bash", "-c", command], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_characters_that_a_stream_lacks_are_escaped():
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding="ascii"))
    output.write("é\udc80│")
    output.flush()
    assert raw.getvalue() == b"\\xe9\\udc80\\u2502"
