"""`python -m etm_jax.evolve`: read the command line, make the problem, run it, show it. Holds no algorithm."""

import dataclasses
import functools
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import jax
from tyro.conf import Positional, arg

from etm_jax._command_line import (
    ENVIRONMENTS,
    FUNCTIONS,
    TASKS,
    asks_help,
    check_resume,
    fail,
    named_tasks,
    new_folder,
    old_folder,
    one_line_errors,
    options_of,
    parse,
    set_up_warnings,
    show_help,
    suite_of,
    with_full_help,
    without_help,
)
from etm_jax._console import evolution_progress, show_summary, show_tasks
from etm_jax._machine import evolve
from etm_jax._output import say
from etm_jax._require import require_choice
from etm_jax._toml import read_table, replaced, to_toml
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.environment import AnySuite
from etm_jax.evolution._archive import write_members
from etm_jax.evolution._problem import Problem, make_problem
from etm_jax.evolution._run import Outcome, run, summarise, survived
from etm_jax.models._registry import MODELS, ModelKind, load_best
from etm_jax.networks._config import NetworksConfig
from etm_jax.parallel._devices import on_this_process, wait_for_all
from etm_jax.parallel._platform import join_processes, use_compile_cache, use_every_core
from etm_jax.presets import PRESETS, preset_of
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._folder import WRITTEN_BY, RunFolder
from etm_jax.runs._interrupts import ENDINGS, interrupts
from etm_jax.selection import ARCHIVES, SELECTORS

COMMAND = "etm_jax.evolve"
CHANGEABLE = ("max_generations", "checkpoint_every", "generations_per_chunk", "devices", "individuals_per_batch")


HELP = """usage: python -m etm_jax.evolve [--model MODEL] [--preset PRESET] [flags]

Evolve a population of networks with memory, and leave a run folder with a report.

  python -m etm_jax.evolve                            copy and recall; a minute on two CPU cores
  python -m etm_jax.evolve --preset quick             a first look; 15 seconds
  python -m etm_jax.evolve --task copy=1,max_length=10 --population-size 20
  python -m etm_jax.evolve --model graph              graphs that act in a T-maze
  python -m etm_jax.evolve --resume runs/NAME         resume a run after any stop
  python -m etm_jax.evolve report runs/NAME           make its report again

The flags used most, with the present values; a model, a selection and an archive have flags of their own:"""
CHOICES = {"model": MODELS, "preset": PRESETS, "selection": SELECTORS, "archive": ARCHIVES}
MAIN_FLAGS = {
    "task": "a task as name=weight,option=value; repeat the flag for several",
    "population_size": "individuals",
    "max_generations": "generations of the whole run",
    "seed": "of every random draw; the same seed gives the same run",
    "efficiency_weight": "what a cheap architecture counts in the fitness",
    "devices": "devices the population is spread over; 0: all",
}
if TYPE_CHECKING:
    ModelName: TypeAlias = str
    PresetName: TypeAlias = str
    SelectionName: TypeAlias = str
    ArchiveName: TypeAlias = str
else:  # choices that the command line shows
    ModelName, PresetName = Literal[tuple(MODELS)], Literal[tuple(PRESETS)]
    SelectionName, ArchiveName = Literal[tuple(SELECTORS)], Literal[tuple(ARCHIVES)]


@dataclass(frozen=True)
class Source:
    """Where the settings come from, before flags change them."""

    model: ModelName | None = None
    """What evolves. networks: networks with memory; em43: cellular automata that compute functions of numbers; em33:
    cellular automata that act in environments; graph: networks that grow node by node and act in environments."""
    preset: PresetName | None = None
    """Settings to start from. default: solves copy on a laptop in minutes; wide: kinds of networks, selected by longer
    sequences, too; classic: the classic search space,
    population 50, 100 generations; quick: a first look; acting: small networks that drive a toy car; em43, em33 and
    graph: the presets of these models."""
    selection: SelectionName | None = None
    """Who survives and who becomes a parent; each method has options of its own."""
    archive: ArchiveName | None = None
    """What is kept beside the population; each archive has options of its own."""
    config: Path | None = None
    """A TOML file with settings, as a run folder's config.toml; replaces the preset where it says something."""
    resume: Path | None = None
    """A run folder to resume, after any stop. Only max-generations, checkpoint-every, generations-per-chunk, devices
    and individuals-per-batch may differ from its settings."""


@dataclass(frozen=True)
class Command(Source):
    """Evolve a population of networks with memory, and leave a run folder with a report.

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


def read_command(argv: list[str]) -> Command:
    """The command line as settings: preset, then config file or run folder, then flags."""
    source: Source = parse(Source, without_help(argv), COMMAND, return_unknown_args=True)[0]
    with one_line_errors():
        settings = start_of(source)
    if asks_help(argv):
        show_help(HELP, CHOICES, MAIN_FLAGS, settings)
    command: Command = parse(Command, with_full_help(argv), COMMAND, default=Command(settings=settings))
    named = named_tasks(settings.task, command.settings.task)
    command = dataclasses.replace(command, settings=dataclasses.replace(command.settings, task=named))
    if source.resume is not None:
        if source.preset is not None:
            fail("--resume uses its own settings; leave out --preset")
        with one_line_errors():
            before = start_of(Source(resume=source.resume))  # without the selection and the archive that flags name
        check_resume(before, command, CHANGEABLE)
    check_processes(command)
    return command


def start_of(source: Source) -> EvolutionaryTuringConfig:
    """The settings that flags change: of the preset and the config file, or of the run folder.

    Raises:
        ValueError: they cannot be read, or are of another model.
    """
    table: dict[str, Any] = {}
    if source.config is not None:
        table = read_table(source.config)
        table.pop(WRITTEN_BY, None)
    if source.resume is not None:
        settings = old_folder(source.resume).config(EvolutionaryTuringConfig())
    else:
        model = table.get("model")
        kind = source.model or (model.get("kind") if isinstance(model, dict) else None) or NetworksConfig.kind
        require_choice("model.kind", kind, tuple(MODELS))
        settings = replaced(PRESETS[source.preset] if source.preset else preset_of(kind), table)
    if source.model not in (None, settings.model.kind):
        raise ValueError(
            f"--model {source.model} does not fit these settings, which are of the model {settings.model.kind}"
        )
    selection = settings.selection
    if source.selection not in (None, selection.method.kind):
        selection = dataclasses.replace(selection, method=SELECTORS[source.selection]())
    archive = settings.archive
    if source.archive not in (None, archive.kind):
        archive = ARCHIVES[source.archive]()
    return dataclasses.replace(settings, selection=selection, archive=archive)


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    started = time.perf_counter()
    set_up_warnings()
    argv = sys.argv[1:] if argv is None else argv
    use_every_core()
    if argv[:1] == ["report"]:
        remake(parse(Report, with_full_help(argv[1:]), COMMAND).run)
        return
    command = read_command(argv)
    if command.list_tasks:
        show_tasks(TASKS | ENVIRONMENTS | FUNCTIONS, options_of)
        return
    use_compile_cache(command.compile_cache)
    with one_line_errors():
        try:
            suite = suite_of(command.settings)
            command = with_lengths_of(suite, command)
            if command.distributed:
                join_processes(command.coordinator, command.num_processes, command.process_id)
            problem = make_problem(command.settings, suite)
            execute(problem, folder_of(command), started)
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            if not command.distributed:
                if "RESOURCE_EXHAUSTED" not in reason:
                    raise
                fail(f"the run does not fit into memory: {reason}; lower --population-size or the upper ends of sizes")
            way_out = "if a process died, end the others, and start all with --resume"
            fail(f"the distributed run broke off: {reason}; {way_out}")


def with_lengths_of(suite: AnySuite, command: Command) -> Command:
    """The command without those longer lengths of its preset that a task cannot be asked at, which it says.

    What flags or a file ask for is not changed.
    """
    settings = command.settings
    preset = PRESETS[command.preset] if command.preset else preset_of(settings.model.kind)
    if command.resume is not None or settings.fitness != preset.fitness:
        return command
    lacking = {length: absent for length in settings.fitness.lengths if (absent := suite.without_longer(length))}
    if not lacking:
        return command
    for length, absent in lacking.items():
        for name, reason in absent.items():
            say(f"{name} cannot be asked at {length} times its length, which does not count in the fitness: {reason}")
    kept = tuple(f"{length}={weight}" for length, weight in settings.fitness.lengths.items() if length not in lacking)
    fitness = dataclasses.replace(settings.fitness, longer=kept)
    return dataclasses.replace(command, settings=dataclasses.replace(settings, fitness=fitness))


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
    resume = f"python -m {COMMAND} --resume {folder.path}" if outcome.interrupted else None
    done, kind = int(outcome.state.generation), MODELS[problem.config.model.kind]
    if not survived(outcome.state):
        write(folder, None, problem.suite, kind)
        fail(
            f"no individual survived: every evaluation in {done} generations gave numbers that are not finite, so "
            "there is no best network to save; lower --lifetime.learning-rate or --lifetime.clip-norm, or look at the "
            "tasks' losses"
        )
    if outcome.run_seconds == 0 and not outcome.interrupted:
        most = problem.config.max_generations
        say(f"nothing is left to do: {done} generations are done, and --max-generations is {most}; give more to resume")
    champion = on_this_process(outcome.state.champion)
    outcome = dataclasses.replace(outcome, state=dataclasses.replace(outcome.state, champion=champion))
    best = problem.model.export(champion)
    summary = summarise(problem, outcome, started)
    folder.finish(functools.partial(problem.model.save, best), summary)
    write_members(folder, problem, outcome.state)
    report = write(folder, best, problem.suite, kind)
    show_summary(summary, report, ("best architecture", "evolving"), resume)


def write(folder: RunFolder, best: Any, suite: AnySuite, kind: ModelKind) -> Path:
    """Write the report; matplotlib is imported no earlier than here."""
    from etm_jax.report import write_report

    return write_report(folder.path, best, suite, kind.report)


def remake(path: Path) -> None:
    """`report RUN`."""
    with one_line_errors():
        folder = RunFolder.open(path)
        folder.check_whole()
        config = folder.config(EvolutionaryTuringConfig())
        best = load_best(path) if folder.best.exists() else None
        say(str(write(folder, best, suite_of(config), MODELS[config.model.kind])))


class _Callable(types.ModuleType):
    """`etm_jax.evolve` is this command and, in Python, the function of the same name."""

    __call__ = staticmethod(evolve)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    main()
