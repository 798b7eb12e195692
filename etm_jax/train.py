"""`python -m etm_jax.train`: read the command line, make the training, run it, show it. Holds no algorithm."""

import dataclasses
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from tyro.conf import Positional, arg

from etm_jax._command_line import (
    TASKS,
    asks_help,
    check_resume,
    fail,
    make_suite,
    named_tasks,
    new_folder,
    old_folder,
    one_line_errors,
    options_of,
    parse,
    set_up_warnings,
    show_help,
    with_full_help,
    without_help,
)
from etm_jax._console import show_summary, show_tasks, training_progress
from etm_jax._output import say
from etm_jax._require import require
from etm_jax._toml import read_table, replaced, to_toml
from etm_jax.environment import Suite
from etm_jax.models._registry import load_best
from etm_jax.networks.genome._compact import compact
from etm_jax.networks.genome._export import save_network
from etm_jax.networks.learning._config import Optimiser
from etm_jax.networks.learning._lifetime import for_networks, learnable
from etm_jax.parallel._platform import use_compile_cache
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import WRITTEN_BY, RunFolder
from etm_jax.runs._interrupts import ENDINGS, interrupts
from etm_jax.training import TrainConfig, Training, TrainingOutcome, make_training, network_of, summarise, train
from etm_jax.training._config import Controller, Memory

COMMAND = "etm_jax.train"
CHANGEABLE = ("steps", "stop_when_solved", "checkpoint_every")
HELP = """usage: python -m etm_jax.train [flags]

Train one network with memory by gradient or by an evolution strategy, and leave a run folder with a report.

  python -m etm_jax.train --task copy                          an NTM that copies
  python -m etm_jax.train --task recall --cell dnc --num-slots 16
  python -m etm_jax.train --task cart_pole --strategy SNES     without gradients, in an environment
  python -m etm_jax.train --resume runs/NAME                   resume a run after any stop
  python -m etm_jax.train report runs/NAME                     make its report again

The flags used most, with the present values:"""
MAIN_FLAGS = {
    "task": "a task as name=weight,option=value; repeat the flag for several",
    "steps": "gradient steps at most, or a strategy's",
    "batch_size": "fresh episodes of each task in a step",
    "learning_rate": "the greatest; where adaptive optimisers start",
    "seed": "of every random draw; the same seed gives the same run",
}


@dataclass(frozen=True)
class Source:
    """Where the settings come from, before flags change them."""

    config: Path | None = None
    """A TOML file with settings, as a run folder's config.toml; what it leaves out has its default."""
    resume: Path | None = None
    """A run folder to resume, after any stop. Only steps, stop-when-solved and checkpoint-every may differ from its
    settings."""


@dataclass(frozen=True)
class Command(Source):
    """Train one network with memory by gradient or by an evolution strategy, and leave a run folder with a report.

    `python -m etm_jax.train report RUN` makes a run's report again.
    """

    out: Path | None = None
    """A new folder for the run; by default runs/ and the time."""
    compile_cache: str = "auto"
    """Folder of JAX's persistent compile cache; auto: in the user's cache directory; off: none."""
    list_tasks: bool = False
    """List the tasks and their options, and end."""
    settings: Annotated[TrainConfig, arg(name="")] = dataclasses.field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Report:
    """Make the report of a run again."""

    run: Positional[Path]
    """The run folder."""


def read_command(argv: list[str]) -> Command:
    """The command line as settings: defaults, then config file or run folder, then flags."""
    source = parse(Source, without_help(argv), COMMAND, return_unknown_args=True)[0]
    with one_line_errors():
        settings = TrainConfig()
        if source.config is not None:
            table = read_table(source.config)
            table.pop(WRITTEN_BY, None)
            settings = replaced(settings, table)
        if source.resume is not None:
            settings = old_folder(source.resume).config(settings)
    if asks_help(argv):
        choices = {name: get_args(hint) for name, hint in (("optimiser", Optimiser), ("cell", Memory))}
        show_help(HELP, choices | {"controller": get_args(Controller)}, MAIN_FLAGS, settings)
    command: Command = parse(Command, with_full_help(argv), COMMAND, default=Command(settings=settings))
    named = named_tasks(settings.task, command.settings.task)
    command = dataclasses.replace(command, settings=dataclasses.replace(command.settings, task=named))
    if source.resume is not None:
        check_resume(settings, command, CHANGEABLE)
    else:
        with one_line_errors():
            check_read(command.settings)
    return command


def check_read(config: TrainConfig) -> None:
    """Refuse settings of gradients with a strategy, and of a strategy without one.

    Raises:
        ValueError: there is such a setting.
    """
    default, name = TrainConfig(), config.strategy.name
    if name:
        for unread in ("optimiser", "learning_rate", "clip_norm", "final_learning_rate", "rematerialise"):
            value = getattr(config, unread)
            rule = f"left out with --strategy {name}, which takes no gradients"
            require(value == getattr(default, unread), unread, rule, value)
    else:
        for item in dataclasses.fields(config.strategy):
            value = getattr(config.strategy, item.name)
            unread = value == getattr(default.strategy, item.name)
            require(unread, f"strategy_{item.name}", "left out without a --strategy", value)


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    started = time.perf_counter()
    set_up_warnings()
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["report"]:
        remake(parse(Report, with_full_help(argv[1:]), COMMAND).run)
        return
    command = read_command(argv)
    if command.list_tasks:
        show_tasks(TASKS, options_of)
        return
    use_compile_cache(command.compile_cache)
    with one_line_errors():
        training = make_training(command.settings, suite_of(command.settings))
        folder = new_folder(command.out, command.settings) if command.resume is None else old_folder(command.resume)
        with folder.locked():
            execute(training, folder, started)


def suite_of(config: TrainConfig) -> Suite:
    """The tasks that the settings name, or the environments where a strategy, which needs no gradient, takes the steps.

    Raises:
        ValueError: a name or an option is unknown, or has a bad value, or there is no gradient to learn by.
    """
    suite = for_networks(make_suite(config.task))
    return suite if config.strategy.name else learnable(suite)


def execute(training: Training, folder: RunFolder, started: float) -> None:
    """Train, then write and show the results."""
    fixed = dataclasses.replace(training.config, **{name: getattr(TrainConfig(), name) for name in CHANGEABLE})
    checkpoints = Checkpoints(folder.checkpoints, to_toml(fixed), counter="chunk")
    with training_progress(training, folder.path) as progress:
        outcome = train(training, folder, checkpoints, progress.show)
    checkpoints.close()
    with interrupts(ENDINGS):  # what is left to write takes seconds
        finish(training, outcome, folder, started)


def finish(training: Training, outcome: TrainingOutcome, folder: RunFolder, started: float) -> None:
    """Write and show the results of a training."""
    if outcome.run_seconds == 0:
        done, most = int(outcome.state.step), training.config.steps
        say(f"nothing is left to do: {done} steps are done, and --steps is {most}; give more to resume")
    network = compact(network_of(outcome.state), training.bounds)
    summary = summarise(training, outcome, started)
    folder.finish(functools.partial(save_network, network), summary)
    report = write(folder, network, training.suite)
    resume = f"python -m {COMMAND} --resume {folder.path}" if outcome.ending == "interrupted" else None
    show_summary(summary, report, ("network", "training"), resume)
    if outcome.ending == "diverged" or 0 < summary["steps"] == summary["skipped"]:
        fail(
            "the loss or its gradient was not finite for many steps in a row; the network is as it was before; lower "
            "learning_rate, strategy_sigma or clip_norm, or try float32"
        )
    if outcome.ending == "solved":
        say(f"solved after {summary['steps']:,} steps")


def write(folder: RunFolder, network: Any, suite: Suite) -> Path:
    """Write the report; matplotlib is imported no earlier than here."""
    from etm_jax.report import write_training_report

    return write_training_report(folder.path, network, suite)


def remake(path: Path) -> None:
    """`report RUN`."""
    with one_line_errors():
        folder = RunFolder.open(path)
        folder.check_whole()
        network = load_best(path) if folder.best.exists() else None
        say(str(write(folder, network, suite_of(folder.config(TrainConfig())))))


if __name__ == "__main__":
    main()
