"""What every command of the library shares: parsing, errors of one line, and tasks by name."""

import contextlib
import dataclasses
import io
import itertools
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tyro
from tyro.conf import AvoidSubcommands

from etm_jax._output import say, warn
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.environment import AnySuite
from etm_jax.runs._checkpoint import check_path
from etm_jax.runs._folder import RunFolder

try:
    import etm_tasks
except ImportError:
    sys.exit("error: the package etm_tasks is missing; install the project with: pip install -e .")

BOX = "│╭╮╰╯─|+- \n"
TASKS, ENVIRONMENTS, FUNCTIONS = etm_tasks.TASKS, etm_tasks.ENVIRONMENTS, etm_tasks.FUNCTIONS
make_suite, options_of = etm_tasks.make_suite, etm_tasks.options_of


def fail(message: str) -> NoReturn:
    """One line on standard error, and exit status 2."""
    warn(f"error: {' '.join(message.splitlines())}")
    raise SystemExit(2)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad values and files that cannot be read or written end the command with one line."""
    try:
        yield
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        fail(f"{': '.join([*names[:1], error.strerror or str(error)])}; choose another path, or make room for it")
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:  # before the first generation, or a second Ctrl-C
        warn("stopped at once; --resume with the run folder continues from the last checkpoint")
        raise SystemExit(130) from None


class Said(logging.Handler):
    """The messages of a log as lines of standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        say(record.getMessage())


BUILDS, SAID = "etm_jax.networks.native", Said()


def set_up_warnings() -> None:
    """Warnings on standard error, and on standard output that the native kernel is compiled; a line each."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    builds = logging.getLogger(BUILDS)
    builds.setLevel(logging.INFO)
    builds.propagate = False
    builds.addHandler(SAID)  # once, however often this is called


def parse(kind: type[Any], argv: list[str], command: str, **options: Any) -> Any:
    """Parse with tyro; its boxed errors become one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=argv, prog=f"python -m {command}", config=(AvoidSubcommands,), **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        fail(f"{unboxed(errors.getvalue())}{likely(errors.getvalue())}; --help-all lists the flags")
    except ValueError as error:  # tyro lets those of the outermost settings through
        fail(str(error))


def unboxed(text: str) -> str:
    """The first paragraph below the title of a box, however the terminal draws it, as one line."""
    _, *lines = [line.strip(BOX) for line in text.splitlines()]
    return " ".join(itertools.takewhile(bool, itertools.dropwhile(lambda line: not line, lines)))


def likely(text: str) -> str:
    """The flag that tyro guesses was meant, where it guesses one."""
    found = re.search(r"Perhaps you meant:.*?(--[\w.-]+)", text, re.DOTALL)
    return f"; did you mean {found[1]}?" if found else ""


HELP_FLAGS, FULL_HELP = ("-h", "--help"), "--help-all"


def without_help(argv: list[str]) -> list[str]:
    """The words that say where settings come from; help is shown once these are known."""
    return [word for word in argv if word not in (*HELP_FLAGS, FULL_HELP)]


def asks_help(argv: list[str]) -> bool:
    """Whether the short help is wanted."""
    return any(word in HELP_FLAGS for word in argv) and FULL_HELP not in argv


def with_full_help(argv: list[str]) -> list[str]:
    """The words as tyro knows them, whose help lists every flag."""
    return ["--help" if word == FULL_HELP else word for word in argv]


def show_help(text: str, choices: Mapping[str, Iterable[str]], flags: dict[str, str], settings: Any) -> NoReturn:
    """Show the short help, and end.

    Args:
        text: usage and examples.
        choices: flags that choose, with what they choose from.
        flags: what is said of each other flag, by the name of the setting.
        settings: their values.
    """
    say(f"{text}\n")
    for name, names in choices.items():
        say(f"  --{name} {{{','.join(names)}}}")
    for name, meaning in flags.items():
        value = getattr(settings, name)
        shown = " ".join(value) if isinstance(value, tuple) else value
        say(f"  --{name.replace('_', '-')} {shown}\n      {meaning}")
    say(f"\n{FULL_HELP} lists every flag; --list-tasks lists the tasks")
    raise SystemExit(0)


def named_tasks(before: tuple[str, ...], parsed: tuple[str, ...]) -> tuple[str, ...]:
    """The tasks that flags name replace those of before, to which tyro has appended them."""
    return parsed[len(before) :] or before


def suite_of(config: EvolutionaryTuringConfig) -> AnySuite:
    """The tasks or environments that the settings of an evolution name.

    Raises:
        ValueError: a name or an option is unknown, or has a bad value, or tasks and environments are mixed.
    """
    return make_suite(config.task, bits=config.input_dim)


def new_folder(out: Path | None, settings: Any) -> RunFolder:
    """The folder of a new run: the given one, or one in `runs/` that is called after the time.

    Raises:
        ValueError: the place is taken, or no checkpoint can be kept there.
        OSError: it cannot be made.
    """
    check_path(out or Path("runs"))
    return RunFolder.create_by_time(Path("runs"), settings) if out is None else RunFolder.create(out, settings)


def old_folder(path: Path) -> RunFolder:
    """The folder of a run to resume.

    Raises:
        ValueError: there is none, or its settings do not describe it, or no checkpoint can be kept there.
    """
    folder = RunFolder.open(path)
    folder.check_whole()
    check_path(path)
    return folder


def check_resume(before: Any, command: Any, changeable: Sequence[str]) -> None:
    """Refuse flags that would make a resumed run another run."""
    if command.out is not None or command.config is not None:
        fail("--resume uses its own folder and its own settings; leave out --out and --config")
    old, new = named_settings(before), named_settings(command.settings)
    for name in old | new:
        if name not in changeable and old.get(name) != new.get(name):
            change = f"from {old.get(name)!r} to {new.get(name)!r}"
            fail(f"--resume cannot change {name} {change}; start a new run for that")


def named_settings(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting by the name of its flag, and the kind of what is one of several."""
    kind = getattr(settings, "kind", None)
    named = {} if kind is None else {f"{prefix.removesuffix('.') or 'model'}": kind}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if dataclasses.is_dataclass(value):
            inner = prefix if item.name in ("model", "method", "network") else f"{prefix}{item.name}."
            named |= named_settings(value, inner)
        else:
            named[f"{prefix}{item.name}"] = value
    return named
