"""`python -m etm_tasks show NAME`: print an episode of a task, or a random walk in an environment."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

import jax
import tyro
from rich.console import Console
from tyro.conf import Positional, arg

from etm_tasks._registry import ENVIRONMENTS, FUNCTIONS, TASKS, options_of
from etm_tasks._show import episode_table, walk_table

PROGRAM = "python -m etm_tasks"


@dataclass(frozen=True)
class Command:
    """Print an episode of a task, or a random walk in an environment, in readable form.

    `python -m etm_tasks show NAME --help` lists the options of a task.
    """

    command: Positional[Literal["show"]]
    """What to do."""
    name: Annotated[Positional[str], arg(metavar="NAME")]
    """Name of the task or environment; `python -m etm_jax.evolve --list-tasks` lists them."""
    seed: int = 0
    """Random seed of the episode."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    words = [word for word in argv if word not in ("-h", "--help")]
    has_name = argv[:1] == ["show"] and words[1:2] and not words[1].startswith("-")
    # With a name, --help is about that task: keep it from the first parser and give it to the task's own.
    command, rest = tyro.cli(Command, args=words if has_name else argv, prog=PROGRAM, return_unknown_args=True)
    if has_name and len(words) < len(argv):
        rest = [*rest, "--help"]
    try:
        options = options_of(command.name)
        kind = (TASKS | ENVIRONMENTS | FUNCTIONS)[command.name]
        show(tyro.cli(kind, args=rest, prog=f"{PROGRAM} show {command.name}"), options, command.seed)
    except ValueError as error:
        fail(str(error))


def show(task: Any, options: dict[str, Any], seed: int) -> None:
    """Print the task with its options and an episode of it."""
    key = jax.random.key(seed)
    if task.name in FUNCTIONS:
        drawn = task.show()
    else:
        drawn = walk_table(task, key) if task.name in ENVIRONMENTS else episode_table(task, task.sample(key, 1))
    chosen = ", ".join(f"{name} {getattr(task, name)}" for name in options)
    console = Console(highlight=False)
    widest = console.measure(drawn, options=console.options.update(width=10_000)).maximum
    console = Console(highlight=False, width=max(console.width, widest))  # wide enough that no row wraps
    console.print(f"{task.name}: {chosen}", soft_wrap=True)
    console.print((type(task).__doc__ or "").partition("\n")[0], soft_wrap=True)
    console.print(drawn)


def fail(message: str) -> NoReturn:
    """Print one line to standard error and exit with status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
