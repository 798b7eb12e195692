"""What a run shows on the terminal."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from etm_jax.evolution import Problem


class Progress:
    """A line a generation, and a bar with the time left where the output is a terminal."""

    def __init__(self, problem: Problem, path: Path):
        self._problem, self._path = problem, path
        self._console = Console(highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("generation"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        config = self._problem.config
        tasks = ", ".join(config.task)
        self._console.print(f"{config.population_size} networks, {config.max_generations} generations, on {tasks}")
        self._console.print(f"{self._problem.mesh.size} device(s); run folder {self._path}; compiling ...")
        self._bar.start()
        self._task = self._bar.add_task("", total=config.max_generations)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def generation(self, row: dict[str, Any]) -> None:
        """Show one row."""
        if row["compile_seconds"]:
            self._console.print(f"compiled in {row['compile_seconds']:.1f} s")
        tasks = "  ".join(f"{name} {number(value)}" for name, value in row["best_performance"].items())
        failed = f"  failed {row['failed']}" if row["failed"] else ""
        self._console.print(
            f"generation {row['generation']:3d}  fitness {number(row['best_fitness'])} (mean "
            f"{number(row['mean_fitness'])})  {tasks}  efficiency {number(row['best_efficiency'])}  diversity "
            f"{number(row['diversity'])}  padding {number(row['padding_efficiency'])}  "
            f"{row['run_seconds']:.1f} s{failed}"
        )
        self._bar.update(self._task, completed=row["generation"] + 1)


def number(value: float | None) -> str:
    """Three digits, or a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def show_summary(summary: dict[str, Any], path: Path, report: Path, interrupted: bool) -> None:
    """The champion, its held-out scores, and where everything is."""
    console = Console(highlight=False, soft_wrap=True)
    genes = ", ".join(f"{name} {value}" for name, value in summary["architecture"].items())
    console.print(f"\nbest architecture: {genes} ({summary['num_parameters']:,} weights)")
    held_out = summary["held_out"]
    table = Table(title=f"held-out scores, {held_out['episodes']:,} fresh episodes of each task", title_justify="left")
    table.add_column("task")
    columns = (
        ("all right", "accuracy"),
        ("above chance", "performance"),
        ("all right, twice the length", "accuracy_twice_length"),
        ("above chance, twice the length", "performance_twice_length"),
    )
    columns = [column for column in columns if column[1] in held_out]  # environments have no longer form
    for title, _ in columns:
        table.add_column(title, justify="right")
    for task in held_out["accuracy"]:
        table.add_row(task, *(number(held_out[name][task]) for _, name in columns))
    console.print(table)
    seconds = summary["seconds"]
    console.print(
        f"{seconds['total']:.0f} s in all: {seconds['compile']:.0f} s compiling, {seconds['run']:.0f} s evolving"
    )
    console.print(f"report: {report}")
    if interrupted:
        console.print(f"interrupted; go on with: python -m etm_jax.evolve --resume {path}")


def show_tasks(tasks: dict[str, Any], options_of: Callable[[str], dict[str, Any]]) -> None:
    """All tasks with their options."""
    table = Table(title="tasks: --task NAME=WEIGHT,OPTION=VALUE", title_justify="left")
    for title in ("name", "what it asks", "options and defaults"):
        table.add_column(title)
    for name, kind in sorted(tasks.items()):
        options = ", ".join(f"{key}={value}" for key, value in options_of(name).items())
        table.add_row(name, (kind.__doc__ or "").splitlines()[0], options)
    Console(highlight=False).print(table)
