"""`python -m etm_jax.evolve`: read the command line, make the problem, run it, show it. Holds no algorithm."""

import dataclasses
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
from tyro.conf import Positional, arg

from etm_jax._command_line import (
    ENVIRONMENTS,
    FUNCTIONS,
    TASKS,
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
    without_help,
)
from etm_jax._console import evolution_progress, show_summary, show_tasks
from etm_jax._output import say
from etm_jax._platform import join_processes, use_compile_cache, use_every_core
from etm_jax._presets import PRESET_OF, PRESETS, check_read
from etm_jax._toml import read_config, to_toml
from etm_jax.config import EvolutionaryTuringConfig, Model
from etm_jax.environment import AnySuite
from etm_jax.evolution._champion import summarise
from etm_jax.evolution._make import make_problem
from etm_jax.evolution._members import write_members
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._run import Outcome, run, survived
from etm_jax.parallel._devices import on_this_process, wait_for_all
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import RunFolder
from etm_jax.runs._interrupts import ENDINGS, interrupts

COMMAND = "etm_jax.evolve"
CHANGEABLE = ("max_generations", "checkpoint_every", "generations_per_chunk", "devices", "individuals_per_batch")


@dataclass(frozen=True)
class Source:
    """Where the settings come from, before flags change them."""

    model: Model | None = None
    """What evolves. networks: networks with memory; em43: cellular automata that compute functions of numbers; em33:
    cellular automata that act in environments; graph: networks that grow node by node and act in environments."""
    preset: Literal["default", "classic", "quick", "acting", "em43", "em33", "graph"] | None = None
    """Settings to start from. default: solves copy on a laptop in minutes; classic: the classic search space,
    population 50, 100 generations; quick: a first look; acting: small networks that drive a toy car; em43, em33 and
    graph: the presets of these models."""
    config: Path | None = None
    """A TOML file with settings, as a run folder's config.toml; replaces the preset where it says something."""
    resume: Path | None = None
    """A run folder to go on with, after any stop. Only max-generations, checkpoint-every, generations-per-chunk,
    devices and individuals_per_batch may differ from its settings."""


@dataclass(frozen=True)
class Command(Source):
    """Evolve a population of Neural Turing Machines, and leave a run folder with a report.

    `python -m etm_jax.evolve report RUN` makes a run's report again.
    """

    out: Path | None = None
    """A new folder for the run; by default runs/ and the time."""
    compile_cache: str = "auto"
    """Folder of JAX's persistent compile cache; auto: in the user's cache directory; off: none."""
    list_tasks: bool = False
    """List the tasks and their options, and end."""
    distributed: bool = False
    """Spread the run over several processes, on one host or several; start this same command on each. Needs --out or
    --resume, a folder that all of them share. SLURM, Open MPI, Kubernetes and Cloud TPU are found out; elsewhere give
    each process the next three flags."""
    coordinator: str | None = None
    """HOST:PORT of process 0, with --distributed."""
    num_processes: int | None = None
    """How many processes there are, with --distributed."""
    process_id: int | None = None
    """Which of the processes this one is, from 0, with --distributed."""
    settings: Annotated[EvolutionaryTuringConfig, arg(name="")] = dataclasses.field(
        default_factory=EvolutionaryTuringConfig
    )


@dataclass(frozen=True)
class Report:
    """Make the report of a run again."""

    run: Positional[Path]
    """The run folder."""


def suite_of(config: EvolutionaryTuringConfig) -> AnySuite:
    """The tasks or environments that the settings name.

    Raises:
        ValueError: a name or an option is unknown, or has a bad value, or tasks and environments are mixed.
    """
    return make_suite(config.task, bits=config.input_dim)


def read_command(argv: list[str]) -> Command:
    """The command line as settings: preset, then config file or run folder, then flags."""
    source = parse(Source, without_help(argv), COMMAND, return_unknown_args=True)[0]
    preset = PRESETS[source.preset or PRESET_OF[source.model or "networks"]]
    with one_line_errors():
        settings = preset
        if source.config is not None:
            settings = read_config(source.config, settings)
        if source.resume is not None:
            settings = old_folder(source.resume).config()
    command: Command = parse(Command, argv, COMMAND, default=Command(settings=settings))
    if source.model not in (None, settings.model):
        fail(f"--model {source.model} does not fit these settings, which are of the model {settings.model}")
    named = named_tasks(settings.task, command.settings.task)
    command = dataclasses.replace(command, settings=dataclasses.replace(command.settings, task=named))
    if source.resume is not None:
        check_resume(settings, command, CHANGEABLE)
    else:
        with one_line_errors():
            check_read(command.settings, preset)
    check_processes(command)
    return command


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    started = time.perf_counter()
    set_up_warnings()
    argv = sys.argv[1:] if argv is None else argv
    use_every_core()
    if argv[:1] == ["report"]:
        remake(parse(Report, argv[1:], COMMAND).run)
        return
    command = read_command(argv)
    if command.list_tasks:
        show_tasks(TASKS | ENVIRONMENTS | FUNCTIONS, options_of)
        return
    use_compile_cache(command.compile_cache)
    with one_line_errors():
        try:
            suite = suite_of(command.settings)
            if command.distributed:
                join_processes(command.coordinator, command.num_processes, command.process_id)
            problem = make_problem(command.settings, suite)
            execute(problem, folder_of(command), started)
        except jax.errors.JaxRuntimeError as error:
            if not command.distributed:
                raise
            reason = str(error).strip().splitlines()[0]
            way_out = "if a process died, end the others, and start all with --resume"
            fail(f"the distributed run broke off: {reason}; {way_out}")


def check_processes(command: Command) -> None:
    """Refuse flags of a distributed run that do not fit together."""
    for name in ("coordinator", "num_processes", "process_id"):
        if getattr(command, name) is not None and not command.distributed:
            fail(f"--{name.replace('_', '-')} belongs to a distributed run; add --distributed")
    if command.distributed and command.out is None and command.resume is None:
        fail("--distributed needs --out or --resume, a folder that all processes share")


def folder_of(command: Command) -> RunFolder:
    """The run folder; of several processes the first makes it, once all have seen that the place is free.

    Raises:
        ValueError: there is no run to resume, or the place is taken, or the processes do not share it.
        OSError: the folder cannot be made.
    """
    settings = to_toml(command.settings)
    if command.resume is not None:
        folder = old_folder(command.resume)
        wait_for_all(settings)
        return folder
    if not command.distributed or command.out is None:
        return new_folder(command.out, command.settings)
    RunFolder.check_free(command.out)
    wait_for_all(settings)
    if jax.process_index() == 0:
        new_folder(command.out, command.settings)
    wait_for_all(settings)
    return RunFolder.open(command.out)


def execute(problem: Problem, folder: RunFolder, started: float) -> None:
    """Run, then write and show what was found; of several processes all run and the first writes and shows."""
    fixed = dataclasses.replace(problem.config, **{name: 1 for name in CHANGEABLE})
    if jax.process_index() > 0:
        checkpoints = Checkpoints(folder.checkpoints, to_toml(fixed))
        run(problem, checkpoints=checkpoints)
        checkpoints.close()
        return
    with folder.locked():
        checkpoints = Checkpoints(folder.checkpoints, to_toml(fixed))
        with evolution_progress(problem, folder.path) as progress:
            outcome = run(problem, folder, checkpoints, progress.show)
        checkpoints.close()
        with interrupts(ENDINGS):  # what is left to write takes seconds
            finish(problem, outcome, folder, started)


def finish(problem: Problem, outcome: Outcome, folder: RunFolder, started: float) -> None:
    """Write and show what a run found."""
    go_on = f"python -m {COMMAND} --resume {folder.path}" if outcome.interrupted else None
    done = int(outcome.state.generation)
    if not survived(outcome.state):
        write(folder, None, problem.suite)
        fail(
            f"nobody survived: every evaluation in {done} generations gave numbers that are not finite, so there is no "
            "best network to save; lower --lifetime.learning-rate or --lifetime.clip-norm, or look at the tasks' losses"
        )
    if outcome.run_seconds == 0 and not outcome.interrupted:
        most = problem.config.max_generations
        say(f"nothing is left to do: {done} generations are done, and --max-generations is {most}; give more to go on")
    state = dataclasses.replace(outcome.state, champion=on_this_process(outcome.state.champion))
    model = problem.family.export(state.champion)
    summary = summarise(problem, state, outcome.compile_seconds, outcome.run_seconds, started)
    folder.finish(functools.partial(problem.family.save, model), summary)
    write_members(folder, problem, state)
    report = write(folder, model, problem.suite)
    show_summary(summary, report, ("best architecture", "evolving"), go_on)


def write(folder: RunFolder, network: Any, suite: AnySuite) -> Path:
    """Write the report; matplotlib is imported no earlier than here."""
    from etm_jax.report import write_report

    return write_report(folder.path, network, suite)


def remake(path: Path) -> None:
    """`report RUN`."""
    from etm_jax.models._registry import load_best

    with one_line_errors():
        folder = RunFolder.open(path)
        folder.check_whole()
        network = load_best(path) if folder.best.exists() else None
        say(str(write(folder, network, suite_of(folder.config()))))


if __name__ == "__main__":
    main()
