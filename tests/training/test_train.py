"""Training one network: the gradient step of lifetimes, curriculum, reasons to stop, steps left out, run folders."""

import contextlib
import dataclasses
import functools
import io
import json
import os
import re
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_close

import etm_jax as etm
import etm_tasks
from etm_jax import train as command
from etm_jax._toml import from_toml, to_toml
from etm_jax.networks import Bounds, num_parameters, pad
from etm_jax.networks.learning._gradient import learn
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import RunFolder
from etm_jax.task import CurriculumConfig, TaskSuite
from etm_jax.training import NetworkConfig, TrainConfig, init, make_training, network_of, summarise, train
from etm_jax.training._config import KINDS
from etm_jax.training._run import LOOKS_TO_SOLVE, MOST_SKIPPED, ending_of
from etm_jax.training._training import only_finite

CONFIG = TrainConfig(
    task=("copy=1,bits=2,max_length=2",),
    steps=8,
    steps_per_chunk=3,
    batch_size=2,
    score_episodes=4,
    checkpoint_every=1,
    network=NetworkConfig(num_slots=5, slot_width=3, controller_size=4),
    curriculum=CurriculumConfig(start=1.0),
)
FLAGS = [
    "--task", "copy=1,bits=2,max_length=2", "--steps=8", "--steps-per-chunk=3", "--batch-size=2", "--score-episodes=4",
    "--checkpoint-every=1", "--num-slots=5", "--slot-width=3", "--controller-size=4", "--curriculum.start=1",
]  # fmt: skip
TIMED = ("compile_seconds", "run_seconds", "steps_per_second")


class Easy(etm_tasks.Copy):
    """Solved by anybody, and with scores of its own."""

    solved = 0.0
    extra_scores = ("first_output", "by_step")

    def first_output(self, outputs, episode):
        return outputs[0, 0, 0]

    def by_step(self, outputs, episode):
        return jnp.sum(episode.step_valid, axis=0), jnp.ones(3) * jnp.nan


class Broken(etm_tasks.Copy):
    """A loss that is never finite."""

    def loss(self, outputs, episode):
        return super().loss(outputs, episode) * jnp.nan


def suite_of(kind=etm_tasks.Copy):
    return TaskSuite((kind(bits=2, max_length=2),), (1.0,))


def started(training, seed=0):
    return jax.jit(functools.partial(init, training))(jax.random.key(seed))


def rows(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in found]


def weights(folder):
    with np.load(folder / "best" / "weights.npz") as stored:
        return {name: stored[name] for name in stored.files}


def main(*flags):
    """What the command line prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        command.main([str(flag) for flag in flags])
    return printed.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, made by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, main(*FLAGS, "--out", folder)


# What is learned


def test_its_gradient_steps_are_those_of_a_lifetime():
    """A training of one chunk is one lifetime of a population of one, if neither has a schedule."""
    config = dataclasses.replace(CONFIG, steps=3, optimiser="ae_schedule_free_adamw")
    training = make_training(config, suite_of())
    trained = network_of(train(training).state)
    state = started(training)
    key_learn, _ = jax.random.split(state.key)
    lived = jax.jit(lambda genome: learn(training.lifetime, key_learn, genome, jnp.ones(1), 1.0, 3))(state.genome)
    assert_trees_close(trained.params, lived.params, rtol=1e-5, atol=1e-6)
    moved = jax.tree.map(lambda old, new: float(jnp.max(jnp.abs(old - new))), state.genome.params, lived.params)
    assert max(jax.tree.leaves(moved)) > 1e-4


def test_the_optimiser_goes_on_from_chunk_to_chunk(whole):
    """Without a curriculum, how often the host looks changes nothing."""
    training = make_training(dataclasses.replace(CONFIG, steps_per_chunk=8), suite_of())
    state = train(training).state
    assert int(state.chunk) == 1
    looked_at_often = pad(etm.load_best(whole[0]), training.bounds)
    assert_trees_close(network_of(state).params, looked_at_often.params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({}, [1, 1, 1]),
        ({"warmup_steps": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"schedule": "cosine", "warmup_steps": 2, "steps": 6}, [0.5, 1, 1, 0.868198, 0.55, 0.231802, 0.1, 0.1]),
    ],
)
def test_schedules(settings, shares):
    config = dataclasses.replace(CONFIG, optimiser="adam", learning_rate=0.5, **settings)
    schedule = make_training(config, suite_of()).schedule
    np.testing.assert_allclose([2 * float(schedule(step)) for step in range(len(shares))], shares, rtol=1e-5)


def test_the_schedule_scales_the_step():
    config = dataclasses.replace(CONFIG, optimiser="sgd", learning_rate=0.5, warmup_steps=2, clip_norm=100.0)
    optimiser, params = make_training(config, suite_of()).optimiser, jnp.zeros(2)
    state, moved = optimiser.init(params), []
    for _ in range(3):
        updates, state = optimiser.update(jnp.asarray([1.0, -2.0]), state, params, value=jnp.asarray(1.0), mask=None)
        moved.append(float(updates[1]))
    np.testing.assert_allclose(moved, [0.5, 1.0, 1.0], rtol=1e-6)


# When it stops


def test_difficulty_rises_when_a_level_is_mastered_and_solved_ends_it_at_full_difficulty():
    curriculum = CurriculumConfig(start=0.25, step=0.5, threshold=0.0)
    config = dataclasses.replace(CONFIG, steps=100, curriculum=curriculum)
    training = make_training(config, suite_of(Easy))
    outcome = train(training)
    assert outcome.ending == "solved"
    assert [row["difficulty"]["copy"] for row in outcome.history.rows] == [0.25, 0.75, 1.0, 1.0]
    assert LOOKS_TO_SOLVE == 2
    unstopped = dataclasses.replace(config, stop_when_solved=False)
    assert ending_of(make_training(unstopped, training.suite), outcome.state) is None
    summary = summarise(training, outcome, 1.0)
    extra = json.loads(json.dumps(summary["held_out"]["extra"], allow_nan=False))
    assert set(extra["copy"]) == {"first_output", "by_step"}
    valid, unknown = extra["copy"]["by_step"]
    assert (len(valid), sum(valid) > 1000, unknown) == (5, True, [None] * 3)
    steps = {length: len(summary["held_out"][f"extra_x{length}"]["copy"]["by_step"][0]) for length in (2, 5, 10)}
    assert steps == {2: 9, 5: 21, 10: 41}


def test_ctrl_c_ends_it_after_the_chunk_under_way_and_saves(tmp_path):
    checkpoints = Checkpoints(tmp_path, "", counter="chunk")
    config = dataclasses.replace(CONFIG, steps=1000, checkpoint_every=1000)
    training = make_training(config, suite_of())
    outcome = train(training, checkpoints=checkpoints, on_chunk=lambda row: os.kill(os.getpid(), signal.SIGINT))
    assert (outcome.ending, int(outcome.state.step)) == ("interrupted", 3)
    restored = checkpoints.restore(started(training, seed=1))
    assert_trees_close(restored.genome.params, outcome.state.genome.params, rtol=0, atol=0)
    checkpoints.close()


# Steps that are not finite


@pytest.mark.parametrize(("gradient", "loss"), [([jnp.nan, 1.0], 1.0), ([1.0, 1.0], jnp.inf), ([1.0, -jnp.inf], 1.0)])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(gradient, loss):
    optimiser, params = only_finite(optax.adam(0.1)), jnp.ones(2)
    _, before = optimiser.update(jnp.ones(2), optimiser.init(params), params, value=jnp.asarray(1.0))
    updates, after = optimiser.update(jnp.asarray(gradient), before, params, value=jnp.asarray(loss))
    np.testing.assert_array_equal(updates, 0)
    assert_trees_close(optax.tree.get(after, "inner_state"), optax.tree.get(before, "inner_state"), rtol=0, atol=0)
    assert int(optax.tree.get(after, "total_notfinite")) == 1
    updates, after = optimiser.update(jnp.ones(2), after, params, value=jnp.asarray(1.0))
    assert (np.asarray(updates) < 0).all()
    assert int(optax.tree.get(after, "notfinite_count")) == 0


def test_many_in_a_row_end_the_run_with_a_clear_line_and_the_network_of_before(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "make_suite", lambda specs: suite_of(Broken))
    with pytest.raises(SystemExit) as stop:
        main(*FLAGS, "--steps=1000", "--steps-per-chunk", MOST_SKIPPED, "--out", tmp_path / "run")
    errors = capsys.readouterr().err
    assert (stop.value.code, errors.count("\n")) == (2, 1)
    assert errors.startswith("error: the loss or its gradient was not finite for many steps in a row")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["ending"], summary["steps"], summary["skipped"]) == ("diverged", MOST_SKIPPED, MOST_SKIPPED)
    training = make_training(dataclasses.replace(CONFIG, steps=1000), suite_of(Broken))
    fresh = network_of(started(training))
    assert_trees_close(pad(etm.load_best(tmp_path / "run"), training.bounds).params, fresh.params, rtol=0, atol=0)
    assert "Diverged after 50 gradient steps" in (tmp_path / "run" / "report.html").read_text()
    assert rows(tmp_path / "run")[0]["train_loss"] is None


# The command line and its folder


def test_a_run_leaves_all_it_promises(whole):
    folder, printed = whole
    assert {path.name for path in folder.iterdir()} == {
        "config.toml", "metrics.jsonl", "checkpoints", "best", "summary.json", "report.html",
    }  # fmt: skip
    assert [(row["chunk"], row["step"]) for row in rows(folder)] == [(0, 3), (1, 6), (2, 8)]
    assert RunFolder.open(folder).config(TrainConfig()) == CONFIG
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["ending"], summary["steps"], summary["held_out"]["episodes"]) == ("all steps done", 8, 1000)
    assert set(summary["held_out"]) == {
        name + suffix for name in ("episodes", "accuracy", "performance") for suffix in ("", "_x2", "_x5", "_x10")
    }
    for shown in ("compiled in", "step      8  loss", "network: num_slots 5", "copy, 5 times the length", "compiling,"):
        assert shown in printed


def test_the_network_loads_with_one_call(whole):
    model = etm.load_best(whole[0])
    summary = json.loads((whole[0] / "summary.json").read_text())
    assert model.architecture == summary["architecture"]
    bounds = CONFIG.network.bounds
    assert int(num_parameters(pad(model, bounds), bounds)) == summary["num_parameters"]
    assert model(jnp.zeros((2, 5, 3))).shape == (2, 5, 2)


def test_the_report_has_curves_and_attention_and_nothing_of_evolution(whole):
    text = (whole[0] / "report.html").read_text()
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    for figure in ("Loss over 8", "Accuracy over", "Difficulty over", "Learning rate over", "The network on one copy"):
        assert any(label.startswith(figure) for label in labels), figure
    assert "Finished after 8 gradient steps." in text
    for word in ("champion", "fitness", "generation", "lineage"):
        assert word not in text


def test_report_makes_the_report_again(whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    (folder / "summary.json").unlink()
    (folder / "metrics.jsonl").write_text((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert main("report", folder).strip() == str(folder / "report.html")
    text = (folder / "report.html").read_text()
    assert "Unfinished: 3 of 8 gradient steps recorded so far." in text


@pytest.mark.slow
def test_a_run_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(whole, tmp_path):
    folder = tmp_path / "killed"
    shutil.copytree(whole[0], folder)
    for name in ("2", "3"):
        shutil.rmtree(folder / "checkpoints" / name)
    for name in ("summary.json", "report.html", "best/weights.npz"):
        (folder / name).unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:2]) + '{"chunk": 2, "st')
    main("--resume", folder)
    assert rows(folder) == rows(whole[0])
    for name, array in weights(whole[0]).items():
        np.testing.assert_array_equal(weights(folder)[name], array, err_msg=name)


def fails(capsys, *flags):
    """Standard error of a command line that is refused."""
    with pytest.raises(SystemExit) as stop:
        command.main([str(flag) for flag in flags])
    errors = capsys.readouterr().err
    assert stop.value.code == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps=0"], "steps must be a whole number of at least 1, got 0"),
        (["--steps=x"], "Error parsing --steps"),
        (["--step=3"], "Unrecognized options: --step"),
        (["--num-slots=2"], "num_slots must be at least 2*shift_range+1 = 3, got 2"),
        (["--controller-size=0"], "controller_size must be a whole number of at least 1, got 0"),
        (["--addressing=magic"], "invalid choice 'magic'"),
        (["--learning-rate=nan"], "learning_rate must be a finite number above 0"),
        (["--schedule=cosine", "--optimiser=ae_adam"], "schedule must be constant with optimiser ae_adam, which paces"),
        (["--warmup-steps=5", "--optimiser=ae_adam"], "warmup_steps must be 0 with optimiser ae_"),
        (["--curriculum.start=2"], "curriculum.start must be a number from 0 to 1"),
        (["--task=sort=1"], "unknown task 'sort'"),
        (["--task=copy=zero"], "task must look like name=weight,option=value"),
        (["--config=nowhere.toml"], "cannot read the config nowhere.toml"),
        (["--resume=nowhere"], "nowhere is no run folder"),
        (["report", "nowhere"], "nowhere is no run folder"),
    ],
)
def test_a_bad_command_line_is_one_clear_line_and_writes_nothing(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *flags)
    assert list(tmp_path.iterdir()) == []


def test_resume_refuses_to_make_it_another_run(capsys, whole):
    assert "--resume cannot change batch_size from 2 to 3" in fails(capsys, "--resume", whole[0], "--batch-size=3")
    named = fails(capsys, "--resume", whole[0], "--task=recall")
    assert "--resume cannot change task from ('copy=1,bits=2,max_length=2',) to ('recall',)" in named
    assert "leave out --out" in fails(capsys, "--resume", whole[0], "--out", "elsewhere")


def test_settings_come_from_the_file_and_flags_change_them(tmp_path):
    config = dataclasses.replace(CONFIG, seed=5, optimiser="adam", schedule="cosine")
    assert from_toml(to_toml(config), TrainConfig()) == config
    path = tmp_path / "mine.toml"
    path.write_text('seed = 5\ntask = ["recall"]\n\n[network]\nnum_slots = 9\n')
    settings = command.read_command(["--config", str(path), "--slot-width=7"]).settings
    network = NetworkConfig(num_slots=9, slot_width=7)
    assert settings == TrainConfig(seed=5, task=("recall",), network=network)
    assert command.read_command(["--task=copy", "--task=recall=2"]).settings.task == ("copy", "recall=2")


def test_every_gene_of_the_bounds_is_a_setting():
    settings = {KINDS.get(item.name, item.name) for item in dataclasses.fields(NetworkConfig)}
    assert settings == {item.name for item in dataclasses.fields(Bounds)}


def test_tasks_are_listed():
    assert "max_items=6" in main("--list-tasks")
