"""`python -m etm_jax.train`: read the command line, make the training, run it, show it. Holds no algorithm."""

import dataclasses
import functools
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from etm_jax._command_line import (
    TASKS,
    check_resume,
    fail,
    make_suite,
    named_tasks,
    options_of,
    parse,
    without_help,
)
from etm_jax._console import show_summary, show_tasks, training_progress
from etm_jax._platform import use_compile_cache
from etm_jax.config import read_config, to_toml
from etm_jax.evolution import Checkpoints, RunFolder, learnable, load_best
from etm_jax.genomes import compact, save_network
from etm_jax.task import TaskSuite
from etm_jax.training import TrainConfig, Training, make_training, network_of, summarise, train

COMMAND = "etm_jax.train"
CHANGEABLE = ("steps", "stop_when_solved", "checkpoint_every")


@dataclass(frozen=True)
class Source:
    """Where the settings come from, before flags change them."""

    config: Path | None = None
    """A TOML file with settings, as a run folder's config.toml; what it leaves out has its default."""
    resume: Path | None = None
    """A run folder to go on with, after any stop. Only steps, stop-when-solved and checkpoint-every may differ from its
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
    try:
        settings = TrainConfig()
        if source.config is not None:
            settings = read_config(source.config, settings)
        if source.resume is not None:
            settings = RunFolder.open(source.resume).config(settings)
    except ValueError as error:
        fail(str(error))
    command: Command = parse(Command, argv, COMMAND, default=Command(settings=settings))
    named = named_tasks(settings.task, command.settings.task)
    command = dataclasses.replace(command, settings=dataclasses.replace(command.settings, task=named))
    if source.resume is not None:
        check_resume(settings, command, CHANGEABLE)
    return command


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    started = time.perf_counter()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["report"]:
        remake(parse(Report, argv[1:], COMMAND).run)
        return
    command = read_command(argv)
    if command.list_tasks:
        show_tasks(TASKS, options_of)
        return
    use_compile_cache(command.compile_cache)
    try:
        training = make_training(command.settings, learnable(make_suite(command.settings.task)))
        execute(training, folder_of(command), started)
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:  # before the first trip, or a second Ctrl-C
        print("stopped at once; --resume with the run folder goes on from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None


def folder_of(command: Command) -> RunFolder:
    """The run folder: that of the run to resume, or a new one.

    Raises:
        ValueError: there is no run to resume, or the place is taken.
    """
    if command.resume is not None:
        return RunFolder.open(command.resume)
    return RunFolder.create(command.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S"), command.settings)


def execute(training: Training, folder: RunFolder, started: float) -> None:
    """Train, then write and show what came of it."""
    fixed = dataclasses.replace(training.config, **{name: getattr(TrainConfig(), name) for name in CHANGEABLE})
    checkpoints = Checkpoints(folder.checkpoints, to_toml(fixed), counter="trip")
    with training_progress(training, folder.path) as progress:
        outcome = train(training, folder, checkpoints, progress.show)
    checkpoints.close()
    network = compact(network_of(outcome.state), training.bounds)
    summary = summarise(training, outcome, time.perf_counter() - started)
    folder.finish(functools.partial(save_network, network), summary)
    report = write(folder, network, training.suite)
    go_on = f"python -m {COMMAND} --resume {folder.path}" if outcome.ending == "interrupted" else None
    show_summary(summary, report, ("network", "training"), go_on)
    if outcome.ending == "diverged":
        fail(
            "the loss or its gradient was not finite for many steps in a row; the network is as it was before; lower "
            "learning_rate, strategy_sigma or clip_norm, or try float32"
        )
    if outcome.ending == "solved":
        print(f"solved after {summary['steps']:,} steps")


def write(folder: RunFolder, network: Any, suite: TaskSuite) -> Path:
    """Write the report; matplotlib is imported no earlier than here."""
    from etm_jax.report import write_training_report

    return write_training_report(folder.path, network, suite)


def remake(path: Path) -> None:
    """`report RUN`."""
    try:
        folder = RunFolder.open(path)
        network = load_best(path) if folder.best.exists() else None
        print(write(folder, network, learnable(make_suite(folder.config(TrainConfig()).task))))
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
