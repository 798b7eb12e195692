"""What runs show on the terminal."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from etm_jax._output import Output
from etm_jax.evolution._problem import Problem
from etm_jax.runs._rows import LENGTHS, Row, at_length
from etm_jax.training import Training, init


def open_console() -> Console:
    """Standard output for plain text: paths and names are not markup, and a run continues if the output is lost."""
    return Console(file=cast(Any, Output(sys.stdout)), highlight=False, soft_wrap=True, markup=False, emoji=False)


class Progress:
    """A line a row with the time left, and where the output is a terminal a bar, which counts the seconds of compiling.

    Args:
        opening: lines to begin with.
        unit: what the bar counts.
        total: how many there will be.
        told: from a row to its line and to how many are done after it.
    """

    def __init__(self, opening: Sequence[str], unit: str, total: int, told: Callable[[Row], tuple[str, int]]):
        self._opening, self._unit, self._total, self._told = opening, unit, total, told
        self._spent: list[tuple[int, float]] = []  # how many were done after each row, and the seconds it took
        self._console = open_console()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        for line in self._opening:
            self._console.print(line)
        self._bar.start()
        self._task = self._bar.add_task("compiling", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, row: Row) -> None:
        """Show one row."""
        if row["compile_seconds"]:
            self._console.print(f"compiled in {row['compile_seconds']:.1f} s")
        line, done = self._told(row)
        self._spent.append((done, row["run_seconds"]))
        self._console.print(line + self._time_left())
        self._bar.update(self._task, completed=done, description=self._unit)

    def _time_left(self) -> str:
        """How long the rest will take, once two rows have shown it; the first may hold what is done once."""
        (first, _), (done, _) = self._spent[0], self._spent[-1]
        if not first < done < self._total:
            return ""
        seconds = sum(seconds for _, seconds in self._spent[1:]) / (done - first)
        return f", {round(seconds * (self._total - done))} s left"


def evolution_progress(problem: Problem, path: Path) -> Progress:
    """What `etm_jax.evolve` shows while it runs."""
    config, longer = problem.config, problem.context.longer
    opening = (
        f"{config.population_size} genomes, {config.max_generations} generations, on {', '.join(config.task)}",
        *([f"computed by {problem.model.computed_by}"] if problem.model.computed_by else []),
        f"{problem.mesh.size} device(s); run folder {path}; compiling ...",
    )

    def told(row: Row) -> tuple[str, int]:
        tasks = "  ".join(
            " ".join(
                [f"{name} {number(value)}"]
                + [f"x{length} {number(row[at_length('best_performance', length)][name])}" for length in longer]
            )
            for name, value in row["best_performance"].items()
        )
        failed = f"  failed {row['failed']}" if row["failed"] else ""
        line = (
            f"generation {row['generation']:3d}  fitness {number(row['best_fitness'])} (mean "
            f"{number(row['mean_fitness'])})  {tasks}  efficiency {number(row['best_efficiency'])}  diversity "
            f"{number(row['diversity'])}  padding {number(row['padding_efficiency'])}  "
            f"{row['run_seconds']:.1f} s{failed}"
        )
        return line, row["generation"] + 1

    return Progress(opening, "generation", config.max_generations, told)


def training_progress(training: Training, path: Path) -> Progress:
    """What `etm_jax.train` shows while it runs."""
    config = training.config
    weights = jax.eval_shape(functools.partial(init, training), jax.random.key(0)).genome.params
    count = sum(leaf.size for leaf in jax.tree.leaves(weights))
    word = "gradient step" if training.strategy is None else "strategy step"
    opening = (
        f"a network of {count:,} weights, at most {config.steps:,} {word}s, on {', '.join(config.task)}",
        f"computed by {training.computed_by}",
        f"{config.strategy.name or config.optimiser}; run folder {path}; compiling ...",
    )

    def told(row: Row) -> tuple[str, int]:
        levels = {name: f" at {level:.2f}" if level < 1 else "" for name, level in row["difficulty"].items()}
        tasks = "  ".join(f"{name} {number(value)}{levels[name]}" for name, value in row["accuracy"].items())
        skipped = f"  {row['skipped']} steps left out, not finite" if row["skipped"] else ""
        rate = "-" if row["learning_rate"] is None else f"{row['learning_rate']:.1e}"
        line = (
            f"step {row['step']:6d}  loss {number(row['train_loss'])}, fresh {number(row['loss'])}  {tasks}  "
            f"rate {rate}  {row['run_seconds']:.1f} s{skipped}"
        )
        return line, row["step"]

    return Progress(opening, word, config.steps, told)


def number(value: float | None) -> str:
    """Three digits, or a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def show_summary(summary: dict[str, Any], report: Path, words: tuple[str, str], resume: str | None) -> None:
    """The network, its held-out scores, and where everything is.

    Args:
        summary: what `summary.json` holds.
        report: the report's path.
        words: what the architecture is called, and what the seconds outside compiling were spent on.
        resume: the command that resumes an interrupted run; None for a finished one.
    """
    console = open_console()
    genes = ", ".join(f"{name} {value}" for name, value in summary["architecture"].items())
    console.print(f"\n{words[0]}: {genes} ({summary['num_parameters']:,} weights)")
    held_out = summary["held_out"]
    lengths = [length for length in LENGTHS if at_length("episodes", length) in held_out]
    table = Table(title="held-out scores on fresh episodes", title_justify="left")
    table.add_column("task")
    for title in ("episodes", "all right", "above chance"):
        table.add_column(title, justify="right")
    for length in lengths:
        for task in held_out[at_length("accuracy", length)]:
            scores = (number(held_out[at_length(name, length)][task]) for name in ("accuracy", "performance"))
            name = task if length == 1 else f"{task}, {length} times the length"
            table.add_row(name, f"{held_out[at_length('episodes', length)]:,}", *scores)
    console.print(table)
    for length in lengths:
        suffix = "" if length == 1 else f" at {length} times the length"
        for task, own in held_out.get(at_length("extra", length), {}).items():
            single = {name: value for name, value in own.items() if isinstance(value, int | float)}
            for name, value in single.items():
                console.print(f"{task}: {name.replace('_', ' ')}{suffix} {number(value)}")
        for task, reason in held_out.get(at_length("left_out", length), {}).items():
            console.print(f"{task} is not asked{suffix}: {reason}")
    seconds = summary["seconds"]
    console.print(
        f"{seconds['total']:.0f} s in all: {seconds['compile']:.0f} s compiling, {seconds['run']:.0f} s {words[1]}"
    )
    console.print(f"report: {report}")
    if resume is not None:
        console.print(f"interrupted; resume with: {resume}")


def show_tasks(tasks: dict[str, Any], options_of: Callable[[str], dict[str, Any]]) -> None:
    """All tasks with their options."""
    table = Table(title="tasks: --task NAME=WEIGHT,OPTION=VALUE", title_justify="left")
    for title in ("name", "what it asks", "options and defaults"):
        table.add_column(title)
    for name, kind in sorted(tasks.items()):
        options = ", ".join(f"{key}={value}" for key, value in options_of(name).items())
        table.add_row(name, (kind.__doc__ or "").splitlines()[0], options)
    open_console().print(table, soft_wrap=False)
