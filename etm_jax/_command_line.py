"""What every command of the library shares: parsing, errors of one line, and tasks by name."""

import contextlib
import dataclasses
import io
import itertools
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import tyro

from etm_jax.config import parse_task
from etm_jax.environment import AnySuite, as_suite

try:
    import etm_tasks
except ImportError:
    sys.exit("error: the package etm_tasks is missing; install the project with: pip install -e .")

BOX = "│╭╮╰╯─|+- \n"
TASKS, ENVIRONMENTS, FUNCTIONS = etm_tasks.TASKS, etm_tasks.ENVIRONMENTS, etm_tasks.FUNCTIONS
options_of = etm_tasks.options_of


def fail(message: str) -> NoReturn:
    """One line on standard error, and exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def parse(kind: type[Any], argv: list[str], command: str, **options: Any) -> Any:
    """Parse with tyro; its boxed errors become one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=argv, prog=f"python -m {command}", **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        fail(f"{unboxed(errors.getvalue())}; --help lists the flags")
    except ValueError as error:  # tyro lets those of the outermost settings through
        fail(str(error))


def unboxed(text: str) -> str:
    """The first paragraph below the title of a box, however the terminal draws it, as one line."""
    _, *lines = [line.strip(BOX) for line in text.splitlines()]
    return " ".join(itertools.takewhile(bool, itertools.dropwhile(lambda line: not line, lines)))


def without_help(argv: list[str]) -> list[str]:
    """The words that say where settings come from; help is shown once these are known."""
    return [word for word in argv if word not in ("-h", "--help")]


def named_tasks(before: tuple[str, ...], parsed: tuple[str, ...]) -> tuple[str, ...]:
    """The tasks that flags name replace those of before, to which tyro has appended them."""
    return parsed[len(before) :] or before


def make_suite(specs: Sequence[str], bits: int | None = None) -> AnySuite:
    """The tasks or environments that settings name, each as `name=weight,option=value`.

    Args:
        specs: one a task.
        bits: the option `bits` of tasks that have it and do not set it; None for the tasks' own.

    Raises:
        ValueError: a name or an option is unknown, or has a bad value, or tasks and environments are mixed.
    """
    parsed = [parse_task(spec) for spec in specs]
    tasks = []
    for name, _, options in parsed:
        if bits is not None and "bits" in options_of(name):
            options = {"bits": bits} | options
        tasks.append(etm_tasks.make(name, **options))
    return as_suite(tasks, [weight for _, weight, _ in parsed])


def check_resume(before: Any, command: Any, changeable: Sequence[str]) -> None:
    """Refuse flags that would make a resumed run another run."""
    if command.out is not None or command.config is not None:
        fail("--resume goes on in its own folder with its own settings; leave out --out and --config")
    for item in dataclasses.fields(before):
        old, new = getattr(before, item.name), getattr(command.settings, item.name)
        if item.name not in changeable and old != new:
            fail(f"--resume cannot change {item.name} from {old!r} to {new!r}; start a new run for that")
