"""What the command lines and the settings refuse, each in one line; and what they must take."""

import dataclasses

import numpy as np
import pytest
from tests.test_genomes import unchecked_types

from etm_jax import evolve, train
from etm_jax._require import check_suite
from etm_jax.config import EvolutionaryTuringConfig, parse_task
from etm_jax.models._registry import load_best
from etm_jax.networks import Bounds, LifetimeConfig
from etm_jax.runs._folder import RunFolder
from etm_jax.training import NetworkConfig, TrainConfig


def failure(capsys, command, *flags):
    with pytest.raises(SystemExit) as stop:
        command.main(list(flags))
    errors = capsys.readouterr().err
    assert (stop.value.code, errors.count("\n")) == (2, 1)
    return errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=graph", "--lifetime.steps=7"], "--lifetime.steps is read by --model networks, not by graph"),
        (["--model=graph", "--bounds.memories", "dnc"], "--bounds.memories is read by --model networks"),
        (["--model=em43", "--score-episodes=3"], "--score-episodes is read by --model networks and em33 and graph"),
        (["--model=em33", "--emergent.window=99"], "--emergent.window is read by --model em43, not by em33"),
        (["--graph.slots=3"], "--graph.slots is read by --model graph, not by networks"),
        (["--popultion-size=3"], "did you mean --population-size?"),
        (["--task=copy=1,bits=2,bits=3"], "option 'bits' of task 'copy' must be given once"),
        (["--task=copy=1e39"], "which float32 can hold"),
        (["--task=copy=1e-46"], "which float32 can hold"),
        (["--task=copy=3e38", "--task=recall=3e38"], "the sum of the weights must be"),
        (["--seed=4294967296"], "seed must be at most 4294967295"),
        (["--seed=9223372036854775808"], "seed must be at most 4294967295"),
        (["--out=/dev/null/x"], "/dev/null/x: Not a directory"),
        (["--out", "x" * 300], "File name too long"),
        (["--config=."], "cannot read the config .: Is a directory"),
        (["--task=copy=1\nnope"], "task must look like"),
    ],
)
def test_evolve_refuses_in_one_line(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, evolve, *flags)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--strategy-sigma=2"], "strategy_sigma must be left out without a --strategy"),
        (["--strategy=SNES", "--learning-rate=2"], "learning_rate must be left out with --strategy SNES"),
        (["--task=t_maze"], "learning by gradients needs tasks, got the environments t_maze"),
        (["--seed=4294967296"], "seed must be at most 4294967295"),
        (["--out=/dev/null/x"], "/dev/null/x: Not a directory"),
    ],
)
def test_train_refuses_in_one_line(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, train, *flags)


@pytest.mark.parametrize("model", ["networks", "em43", "em33", "graph"])
def test_every_model_takes_its_own_preset_and_what_a_run_of_it_wrote(tmp_path, model):
    settings = evolve.read_command([f"--model={model}"]).settings
    folder = RunFolder.create(tmp_path / "run", settings)
    assert evolve.read_command(["--config", str(folder.config_file)]).settings == settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvolutionaryTuringConfig(population_size=True), "population_size must be a whole number"),
        (lambda: EvolutionaryTuringConfig(task="copy"), "task must be a tuple of texts"),
        (lambda: EvolutionaryTuringConfig(task=("copy", 1)), "an entry of task must be a string"),
        (lambda: EvolutionaryTuringConfig(bounds=None), "bounds must be a Bounds"),
        (lambda: EvolutionaryTuringConfig(lifetime=None), "lifetime must be a LifetimeConfig"),
        (lambda: EvolutionaryTuringConfig(seed=1.0), "seed must be a whole number"),
        (lambda: EvolutionaryTuringConfig(efficiency_weight=True), "efficiency_weight must be a number"),
        (lambda: EvolutionaryTuringConfig(efficiency_weight=1e39), "which float32 can hold"),
        (lambda: LifetimeConfig(learning_rate=1e-46), "which float32 can hold"),
        (lambda: LifetimeConfig(rematerialise=1), "lifetime.rematerialise must be True or False"),
        (lambda: Bounds(num_slots=None), "num_slots must be two whole numbers"),
        (lambda: Bounds(num_slots=(True, 9)), "num_slots must be two whole numbers"),
        (lambda: Bounds(controllers="lstm"), "controllers must list some of"),
        (lambda: TrainConfig(task="copy"), "task must be a tuple of texts"),
        (lambda: TrainConfig(network=None), "network must be a NetworkConfig"),
        (lambda: NetworkConfig(num_slots=True), "num_slots must be a whole number"),
        (lambda: check_suite("task", ["a"], [1e39]), "the weight of task 'a' must be"),
        (lambda: check_suite("task", ["a"], [True]), "one positive weight a task"),
    ],
)
def test_settings_of_the_wrong_type_or_size_are_refused(make, message):
    with unchecked_types(), pytest.raises(ValueError, match=message):
        make()


def test_what_float32_can_just_hold_is_taken():
    assert parse_task("copy=3e38")[1] == 3e38
    assert EvolutionaryTuringConfig(seed=2**32 - 1, efficiency_weight=np.float64(0.5)).seed == 2**32 - 1


def test_names_are_no_markup(capsys):
    from etm_jax._console import open_console

    open_console().print("x[/red] a:smile:b [bold]c")
    assert capsys.readouterr().out == "x[/red] a:smile:b [bold]c\n"


def test_a_strategy_trains_in_an_environment(tmp_path, capsys):
    folder = tmp_path / "run"
    sizes = ["--num-slots=3", "--slot-width=2", "--controller-size=2", "--cell=none", "--controller=rnn"]
    few = ["--steps=2", "--steps-per-chunk=1", "--batch-size=2", "--score-episodes=2", "--strategy-population=4"]
    flags = ["--strategy=SNES", "--task=t_maze=1,length=2", *sizes, *few, "--compile-cache=off"]
    train.main([*flags, "--out", str(folder)])
    assert [row["step"] for row in RunFolder.open(folder).rows("chunk")] == [1, 2]
    assert load_best(folder).architecture["controller"] == "rnn"
    assert "strategy step" in (folder / "report.html").read_text()


def test_the_readers_are_settings():
    from etm_jax._presets import READERS, _named

    named = _named(EvolutionaryTuringConfig())
    groups = {item.name for item in dataclasses.fields(EvolutionaryTuringConfig)}
    assert set(READERS) <= set(named) | groups
