"""What the command lines and the settings refuse, each in one line; and what they must take."""

import dataclasses
import logging
import re

import numpy as np
import pytest
from helpers import unchecked_types

import etm_tasks
from etm_jax._command_line import set_up_warnings
from etm_jax._require import check_suite
from etm_jax.config import EvolutionaryTuringConfig, FitnessConfig, SelectionConfig
from etm_jax.environment import EnvironmentSuite, as_suite
from etm_jax.evolve import main as evolve
from etm_jax.evolve import read_command
from etm_jax.models import MODELS, load_best, make_model
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig
from etm_jax.networks.native import _build
from etm_jax.presets import PRESETS, preset_of
from etm_jax.runs._folder import RunFolder
from etm_jax.selection import ARCHIVES, SELECTORS
from etm_jax.task import CurriculumConfig
from etm_jax.train import main as train
from etm_jax.train import read_command as read_training
from etm_jax.training import NetworkConfig, TrainConfig
from etm_tasks import parse_task


def failure(capsys, command, *flags):
    with pytest.raises(SystemExit) as stop:
        command(list(flags))
    errors = capsys.readouterr().err
    assert (stop.value.code, errors.count("\n")) == (2, 1)
    return errors


def shown(capsys, command, *flags):
    """What a command prints that ends at once and well."""
    with pytest.raises(SystemExit) as stop:
        command(list(flags))
    printed = capsys.readouterr()
    assert (stop.value.code, printed.err) == (0, "")
    return printed.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=graph", "--lifetime.steps=7"], "Unrecognized options: --lifetime.steps=7"),
        (["--model=graph", "--bounds.memories", "dnc"], "Unrecognized options: --bounds.memories"),
        (
            ["--model=graph", "--input-dim=3", "--output-dim=3"],
            "input_dim is read by the models networks, not by graph",
        ),
        (["--model=em43", "--score-episodes=3"], "score_episodes is read by the models networks and em33 and graph"),
        (["--model=em43", "--curriculum.start=0.5"], "curriculum is read by the models networks and em33 and graph"),
        (["--model=em33", "--window=99"], "Unrecognized options: --window=99"),
        (["--model=em43", "--bins=3"], "Unrecognized options: --bins=3"),
        (["--slots=3"], "Unrecognized options: --slots=3"),
        (["--selection=truncation", "--selection.size=3"], "Unrecognized options: --selection.size=3"),
        (["--archive=front", "--archive.bins=3"], "Unrecognized options: --archive.bins=3"),
        (["--archive.size=3"], "Unrecognized options: --archive.size=3"),
        (["--model=ntm"], "invalid choice"),
        (["--model=graph", "--preset=quick"], "--model graph does not fit these settings, which are of the model netw"),
        (["--size_bucket=3"], "did you mean --size-buckets?"),
        (["--help", "--model=ntm"], "invalid choice"),
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
        (["--native=yes"], "invalid choice 'yes'"),
        (["--native=on", "--size-buckets=4"], "size_buckets must be 1 with native on"),
        (["--native=on", "--bounds.memories", "dnc"], "native must be auto or off here, since the kernel cannot"),
        (["--native=on", "--precision=bfloat16"], "native must be auto or off here, since the kernel cannot"),
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
        (["--native=on", "--cell=hard_tape"], "native must be auto or off here, since the kernel cannot"),
        (["--strategy=SNES", "--learning-rate=2"], "learning_rate must be left out with --strategy SNES"),
        (["--task=t_maze"], "learning by gradients needs tasks, got the environments t_maze"),
        (["--seed=4294967296"], "seed must be at most 4294967295"),
        (["--out=/dev/null/x"], "/dev/null/x: Not a directory"),
    ],
)
def test_train_refuses_in_one_line(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, train, *flags)


def test_a_command_says_once_that_the_kernel_is_compiled(capsys):
    for _ in range(2):
        set_up_warnings()
    logging.getLogger(_build.__name__).info("compiling the native kernel")
    assert capsys.readouterr() == ("compiling the native kernel\n", "")


def test_native_is_a_flag_of_networks_alone(capsys):
    assert read_command(["--native=off"]).settings.model.native == "off"
    assert read_training(["--native=off"]).settings.native == "off"
    assert "Unrecognized options: --native=off" in failure(capsys, evolve, "--model=graph", "--native=off")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_its_own_preset_and_what_a_run_of_it_wrote(tmp_path, model):
    settings = read_command([f"--model={model}"]).settings
    assert settings == preset_of(model)
    folder = RunFolder.create(tmp_path / "run", settings)
    assert read_command(["--config", str(folder.config_file)]).settings == settings


def flags_of(config, prefix=""):
    """The flags of some settings."""
    found = set()
    for item in dataclasses.fields(config):
        value, name = getattr(config, item.name), prefix + item.name.replace("_", "-")
        found |= flags_of(value, f"{name}.") if dataclasses.is_dataclass(value) else {f"--{name}"}
    return found


def listed(help_text):
    """The flags that a help lists."""
    return set(re.findall(r"^[│| ] ? ?(--[\w.-]+)", help_text, re.MULTILINE))


@pytest.mark.parametrize("model", MODELS)
def test_the_full_help_of_a_model_lists_its_flags_and_no_other_model_s(capsys, model):
    found = listed(shown(capsys, evolve, f"--model={model}", "--help-all"))
    own = {kind: flags_of(MODELS[kind].Config()) for kind in MODELS}
    assert own[model] <= found
    assert not found & (set().union(*own.values()) - own[model])
    assert {"--population-size", "--selection.warmup-generations", "--islands.count", "--out", "--model"} <= found


@pytest.mark.parametrize(("name", "kinds"), [("selection", SELECTORS), ("archive", ARCHIVES)])
def test_the_full_help_lists_the_options_of_the_selector_and_of_the_archive_that_are_chosen(capsys, name, kinds):
    own = {kind: flags_of(kinds[kind](), f"{name}.") for kind in kinds}
    everyones = flags_of(SelectionConfig(), "selection.") if name == "selection" else set()
    everyones -= flags_of(SelectionConfig().method, "selection.method.")
    for kind in kinds:
        found = {flag for flag in listed(shown(capsys, evolve, f"--{name}={kind}", "--help-all")) if f"{name}." in flag}
        assert found == own[kind] | everyones


@pytest.mark.parametrize("flags", [["--help"], ["-h"], ["--model=graph", "--help"], ["--preset=quick", "-h"]])
def test_the_help_is_short_with_examples_first(capsys, flags):
    text = shown(capsys, evolve, *flags)
    lines = text.splitlines()
    assert lines[0].startswith("usage: python -m etm_jax.evolve") and len(lines) < 40
    examples = [index for index, line in enumerate(lines) if line.startswith("  python -m etm_jax.evolve")]
    settings = [index for index, line in enumerate(lines) if line.startswith("  --")]
    assert len(examples) >= 4 and len(settings) >= 4 and max(examples) < min(settings)
    assert lines[-1] == "--help-all lists every flag; --list-tasks lists the tasks"
    choices = {"model": MODELS, "preset": PRESETS, "selection": SELECTORS, "archive": ARCHIVES}
    for name, kinds in choices.items():
        assert f"  --{name} {{{','.join(kinds)}}}" in lines
    size = {"--model=graph": 300, "--preset=quick": 4}.get(flags[0], 10)
    assert f"  --population-size {size}\n" in text


def test_the_help_of_training_is_short_with_examples_that_are_taken(capsys):
    lines = shown(capsys, train, "--cell=dnc", "--help").splitlines()
    assert lines[0].startswith("usage: python -m etm_jax.train") and len(lines) < 40
    examples = [line.split("etm_jax.train")[1].split("  ")[0].split() for line in lines if "  python -m" in line]
    taken = [flags for flags in examples if "runs/NAME" not in flags]
    assert len(taken) >= 3
    for flags in taken:
        read_training(flags)


def test_every_example_of_the_help_is_taken(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^  python -m etm_jax.evolve(.*?)(?:  .*)?$", shown(capsys, evolve, "--help"), re.MULTILINE)
    taken = [command.split() for command in commands if "runs/NAME" not in command]
    assert len(taken) >= 4
    for flags in taken:
        read_command(flags)


@pytest.mark.parametrize("command", [evolve, train])
@pytest.mark.parametrize("flags", [["--help-all"], ["report", "--help-all"], ["report", "--help"]])
def test_every_command_has_a_full_help(capsys, command, flags):
    assert "--help" in shown(capsys, command, *flags)


UNREAD = {"input_dim": {"input_dim": 3, "output_dim": 3}, "output_dim": {"input_dim": 3, "output_dim": 3}}
UNREAD |= {"score_episodes": {"score_episodes": 3}, "curriculum": {"curriculum": CurriculumConfig(start=0.5)}}
SUITES = {
    "em43": as_suite([etm_tasks.make("increment")], [1.0]),
    "em33": EnvironmentSuite((etm_tasks.make("cart_pole"),), (1.0,)),
    "graph": EnvironmentSuite((etm_tasks.make("t_maze"),), (1.0,)),
}


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in MODELS[model].unread])
def test_settings_of_the_engine_that_a_model_does_not_read_are_refused(model, name):
    settings = EvolutionaryTuringConfig(model=MODELS[model].Config())
    make_model(settings, SUITES[model])
    with pytest.raises(
        ValueError, match=rf"^\w+ is read by the models networks\b.*, not by {model}, got .*; leave"
    ) as caught:
        make_model(dataclasses.replace(settings, **UNREAD[name]), SUITES[model])
    assert "\n" not in str(caught.value)


def test_networks_read_every_setting_of_the_engine():
    assert MODELS["networks"].unread == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvolutionaryTuringConfig(population_size=True), "population_size must be a whole number"),
        (lambda: EvolutionaryTuringConfig(task="copy"), "task must be a tuple of strings"),
        (lambda: EvolutionaryTuringConfig(task=("copy", 1)), "an entry of task must be a string"),
        (lambda: NetworksConfig(bounds=None), "bounds must be a Bounds"),
        (lambda: NetworksConfig(lifetime=None), "lifetime must be a LifetimeConfig"),
        (lambda: NetworksConfig(native="yes"), "native must be one of auto, on, off, got 'yes'"),
        (lambda: NetworksConfig(native=True), "native must be .*got True"),
        (lambda: TrainConfig(native="maybe"), "native must be one of auto, on, off, got 'maybe'"),
        (lambda: EvolutionaryTuringConfig(model=None), "model must be one of NetworksConfig, EM43Config, EM33Config"),
        (lambda: EvolutionaryTuringConfig(model="graph"), "model must be one of NetworksConfig, EM43Config, EM33Con"),
        (lambda: EvolutionaryTuringConfig(archive=None), "archive must be one of AutoArchive, NoArchive, FrontArch"),
        (lambda: EvolutionaryTuringConfig(selection=None), "selection must be a SelectionConfig"),
        (lambda: SelectionConfig(method="species"), "selection.method must be one of TournamentSelection, Truncation"),
        (lambda: SelectionConfig(cases="all"), "selection.cases must be one of tasks, episodes, got 'all'"),
        (lambda: FitnessConfig((2,)), "an entry of fitness.longer must be a string, got 2"),
        (lambda: SelectionConfig(method=None), "selection.method must be one of TournamentSelection, Truncation"),
        (lambda: EvolutionaryTuringConfig(seed=1.0), "seed must be a whole number"),
        (lambda: EvolutionaryTuringConfig(efficiency_weight=True), "efficiency_weight must be a number"),
        (lambda: EvolutionaryTuringConfig(efficiency_weight=1e39), "which float32 can hold"),
        (lambda: LifetimeConfig(learning_rate=1e-46), "which float32 can hold"),
        (lambda: LifetimeConfig(rematerialise=1), "lifetime.rematerialise must be True or False"),
        (lambda: Bounds(num_slots=None), "num_slots must be two whole numbers"),
        (lambda: Bounds(num_slots=(True, 9)), "num_slots must be two whole numbers"),
        (lambda: Bounds(controllers="lstm"), "controllers must list some of"),
        (lambda: TrainConfig(task="copy"), "task must be a tuple of strings"),
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
    train([*flags, "--out", str(folder)])
    assert [row["step"] for row in RunFolder.open(folder).rows("chunk")] == [1, 2]
    assert load_best(folder).architecture["controller"] == "rnn"
    assert "strategy step" in (folder / "report.html").read_text()
