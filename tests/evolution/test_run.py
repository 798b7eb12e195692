"""Runs as a user meets them: folders, resume after kill -9, Ctrl-C, torn checkpoints, bad flags, the facade."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etm_jax as etm
from etm_jax._command_line import suite_of
from etm_jax.evolve import main, read_command
from etm_jax.networks import num_parameters, pad
from etm_jax.presets import PRESETS
from etm_jax.runs._folder import RunFolder

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--population-size=4", "--max-generations=4", "--score-episodes=4", "--lifetime.steps=2",
    "--lifetime.batch-size=2", "--task", "copy=0.5,bits=2,max_length=2", "--task",
    "recall=0.3,bits=2,item_length=1,max_items=2", "--bounds.num-slots", "5", "7", "--bounds.slot-width", "3", "4",
    "--bounds.num-read-heads", "1", "2", "--bounds.num-write-heads", "1", "2", "--bounds.controller-size", "4", "6",
    "--devices=2",
]  # fmt: skip
TIMED = ("compile_seconds", "run_seconds", "individuals_per_second")


def start(*flags):
    """The command line in a process of its own, with the compile cache of the tests."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tasks")])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    cache = str(jax.config.jax_compilation_cache_dir)
    command = [sys.executable, "-m", "etm_jax.evolve", *flags, "--compile-cache", cache]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(process, folder, count):
    """Wait until the run has written some generations."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        path = folder / "metrics.jsonl"
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"no {count} generations: {process.communicate()}")


def rows(folder, name="metrics.jsonl"):
    found = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in found]


def weights(folder):
    with np.load(folder / "best" / "weights.npz") as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, made by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    process = start(*FLAGS, "--out", str(folder))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder, output


def test_a_run_leaves_all_it_promises(whole):
    folder, _ = whole
    assert {path.name for path in folder.iterdir()} == {
        "config.toml", "metrics.jsonl", "lineage.jsonl", "checkpoints", "best", "summary.json", "report.html",
    }  # fmt: skip
    assert [row["generation"] for row in rows(folder)] == [0, 1, 2, 3]
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"2", "3", "4"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["held_out"]["episodes"] == 1000
    for length, episodes in ((2, 1000), (5, 500), (10, 250)):
        assert summary["held_out"][f"episodes_x{length}"] == episodes
        assert set(summary["held_out"][f"accuracy_x{length}"]) == {"copy", "recall"}


def test_a_run_prints_progress_and_the_compile_time(whole):
    _, output = whole
    assert "compiled in" in output
    assert output.count("\ngeneration ") == 4
    assert "best architecture: num_slots" in output
    assert "held-out scores on fresh episodes" in output
    assert "copy, 10 times the length" in output


def test_rows_hold_fitness_and_its_parts(whole):
    folder, _ = whole
    row = rows(folder)[-1]
    weights = {"": 1.0, "_x2": 0.25, "_x5": 0.25, "_x10": 0.5}  # of the preset

    def earned(task):
        return sum(weight * row[f"best_performance{at}"][task] for at, weight in weights.items()) / 2

    parts = 0.5 * earned("copy") + 0.3 * earned("recall") + 0.01 * row["best_efficiency"]
    assert row["best_fitness"] == pytest.approx(parts, abs=1e-4)
    assert 0 < row["padding_efficiency"] <= 1
    assert row["failed"] == 0


def test_the_best_network_loads_with_one_call_and_is_the_champion(whole):
    folder, _ = whole
    model = etm.load_best(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert model.architecture == summary["architecture"]
    config = RunFolder.open(folder).config(etm.EvolutionaryTuringConfig())
    bounds = config.model.bounds
    assert int(num_parameters(pad(model, bounds), bounds)) == summary["num_parameters"]
    suite = suite_of(config)
    assert model(jnp.zeros((2, 5, suite.input_size))).shape == (2, 5, suite.output_size)


def assert_same_run(folder, other):
    assert rows(folder) == rows(other)
    assert rows(folder, "lineage.jsonl") == rows(other, "lineage.jsonl")
    for name, array in weights(other).items():
        np.testing.assert_array_equal(weights(folder)[name], array, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("generations", [1, 3])
def test_a_run_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(whole, tmp_path, generations):
    folder = tmp_path / "killed"
    process = start(*FLAGS, "--out", str(folder))
    wait_for_rows(process, folder, generations)
    process.kill()
    process.communicate()
    # What a kill in the middle of a write leaves behind.
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 3, "best_fit')
    resumed = start("--resume", str(folder))
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert_same_run(folder, whole[0])


@pytest.mark.slow
def test_a_torn_checkpoint_is_named_and_the_one_before_is_used(whole, tmp_path):
    folder = tmp_path / "torn"
    shutil.copytree(whole[0], folder)
    for path in (folder / "checkpoints" / "4").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    resumed = start("--resume", str(folder))
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert "checkpoint 4 cannot be used and is skipped" in errors
    assert_same_run(folder, whole[0])


def test_foreign_checkpoints_are_refused(whole, tmp_path):
    folder = tmp_path / "foreign"
    shutil.copytree(whole[0], folder)
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace("seed = 0", "seed = 1"))
    resumed = start("--resume", str(folder))
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 2, errors
    assert "it belongs to a run of other settings" in errors
    assert "none of the checkpoints [4, 3, 2] can be read" in errors.splitlines()[-1]


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_cleanly(whole, tmp_path):
    folder = tmp_path / "stopped"
    process = start(*FLAGS, "--out", str(folder), "--max-generations=100000")
    wait_for_rows(process, folder, 2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"interrupted; resume with: python -m etm_jax.evolve --resume {folder}" in output
    done = len(rows(folder))
    assert str(done) in {path.name for path in (folder / "checkpoints").iterdir()}
    assert (folder / "best" / "weights.npz").exists()


def run_main(capsys, *flags):
    """Status and standard error of the command line, in this process."""
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--population-size=0"], "population_size must be a whole number of at least 1, got 0"),
        (["--population-size=x"], "Error parsing --population-size"),
        (["--population-siz=3"], "Unrecognized options: --population-siz"),
        (["--preset=fast"], "invalid choice 'fast'"),
        (["--task=sort=1"], "unknown task 'sort'; the tasks are "),
        (["--task=copy=1,bitz=3"], "task 'copy' has no option 'bitz'; its options are bits, min_length, max_length"),
        (["--task=copy=1", "--task=copy=1"], "a suite needs one or more tasks of different names"),
        (["--task=copy=zero"], "task must look like name=weight,option=value"),
        (["--bounds.num-slots", "2", "8"], "raise the lower bound to 3"),
        (["--config=nowhere.toml"], "cannot read the config nowhere.toml"),
        (["--resume=nowhere"], "nowhere is no run folder"),
        (["--devices=99"], "devices must be at most"),
        (["report", "nowhere"], "nowhere is no run folder"),
    ],
)
def test_a_bad_command_line_is_one_clear_line_and_writes_nothing(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    status, errors = run_main(capsys, *flags)
    assert status == 2
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder_is_refused_and_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    status, errors = run_main(capsys, "--preset=quick", "--out", str(tmp_path))
    assert status == 2
    assert "out must be a new or empty folder" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_resume_refuses_to_make_it_another_run(capsys, whole):
    status, errors = run_main(capsys, "--resume", str(whole[0]), "--population-size=5")
    assert status == 2
    assert "--resume cannot change population_size from 4 to 5" in errors


def test_report_makes_the_report_again(capsys, whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    (folder / "report.html").unlink()
    main(["report", str(folder)])
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_config_file_is_read_and_flags_change_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("seed = 5\npopulation_size = 6\n")
    settings = read_command(["--config", str(path), "--population-size", "7", "--preset", "quick"]).settings
    assert (settings.seed, settings.population_size) == (5, 7)
    assert settings.model == PRESETS["quick"].model


def test_tasks_named_replace_those_of_the_preset():
    named = read_command(["--task", "copy=1,bits=2", "--task=recall=2"]).settings.task
    assert named == ("copy=1,bits=2", "recall=2")
    assert read_command([]).settings.task == PRESETS["default"].task


def test_tasks_are_listed_with_their_options(capsys):
    main(["--list-tasks"])
    listed = capsys.readouterr().out
    assert "copy" in listed
    assert "max_items=6" in listed


def help_text(capsys, flag):
    with pytest.raises(SystemExit) as stop:
        main([flag])
    assert stop.value.code in (0, None)
    return capsys.readouterr().out


def test_help_is_short_and_names_the_full_one(capsys):
    text = help_text(capsys, "--help")
    for flag in ("--preset", "--resume", "--task", "--help-all", "--list-tasks"):
        assert flag in text
    assert len(text.splitlines()) < 40


def test_full_help_shows_every_group_of_settings(capsys):
    text = help_text(capsys, "--help-all")
    for flag in ("--preset", "--resume", "--task", "--lifetime.learning-rate", "--bounds.num-slots", "--list-tasks"):
        assert flag in text


def test_a_model_before_evolution_is_an_error():
    machine = etm.EvolutionaryTuringMachine(etm.EvolutionaryTuringConfig(population_size=2))
    with pytest.raises(RuntimeError, match="call run_evolution"):
        machine.get_best_model()


def test_no_saved_network_is_an_error(tmp_path):
    RunFolder.create(tmp_path / "run", etm.EvolutionaryTuringConfig())
    with pytest.raises(ValueError, match="holds no network"):
        etm.load_best(tmp_path / "run")
