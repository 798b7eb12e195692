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
    """Print an episode of a task, or a random walk in an environment, so that a person can read it.

    `python -m etm_tasks show NAME --help` lists the options of one.
    """

    command: Positional[Literal["show"]]
    """What to do."""
    name: Annotated[Positional[str], arg(metavar="NAME")]
    """Of the task or the environment; `python -m etm_jax.evolve --list-tasks` lists them."""
    seed: int = 0
    """Of the episode."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    words = [word for word in argv if word not in ("-h", "--help")]
    names_one = argv[:1] == ["show"] and words[1:2] and not words[1].startswith("-")
    command, rest = tyro.cli(Command, args=words if names_one else argv, prog=PROGRAM, return_unknown_args=True)
    if names_one and len(words) < len(argv):
        rest = [*rest, "--help"]
    try:
        options = options_of(command.name)
        kind = (TASKS | ENVIRONMENTS | FUNCTIONS)[command.name]
        show(tyro.cli(kind, args=rest, prog=f"{PROGRAM} show {command.name}"), options, command.seed)
    except ValueError as error:
        fail(str(error))


def show(task: Any, options: dict[str, Any], seed: int) -> None:
    """Print an episode, below what it is an episode of."""
    key = jax.random.key(seed)
    if task.name in FUNCTIONS:
        drawn = task.show()
    else:
        drawn = walk_table(task, key) if task.name in ENVIRONMENTS else episode_table(task, task.sample(key, 1))
    chosen = ", ".join(f"{name} {getattr(task, name)}" for name in options)
    console = Console(highlight=False)
    widest = console.measure(drawn, options=console.options.update(width=10_000)).maximum
    console = Console(highlight=False, width=max(console.width, widest))  # a row is a step, so it is never broken
    console.print(f"{task.name}: {chosen}", soft_wrap=True)
    console.print((type(task).__doc__ or "").partition("\n")[0], soft_wrap=True)
    console.print(drawn)


def fail(message: str) -> NoReturn:
    """One line on standard error, and exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
