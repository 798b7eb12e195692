"""What a compiled program costs on one device, in which process, and how the figures are shown and saved."""

import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax

from bench._timing import Case, time_rounds

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    """What one call of a compiled program costs.

    Attributes:
        seconds: CPU seconds on a CPU, wall seconds elsewhere; median of the rounds.
        cpu_s: CPU seconds, median of the rounds.
        wall_s: wall seconds, median of the rounds.
        compile_s: CPU seconds of tracing and compiling.
        program_bytes: memory of arguments, outputs and temporaries, as the compiler says; None where it does not.
    """

    seconds: float
    cpu_s: float
    wall_s: float
    compile_s: float
    program_bytes: int | None


@dataclass(frozen=True)
class Program:
    """A compiled program to time.

    Attributes:
        case: calls the program so often that the calls take long enough to time.
        calls: how often.
        program_bytes: as in `Cost`.
    """

    case: Case
    calls: int
    program_bytes: int | None

    def cost(self) -> Cost:
        """What one call costs, after `time_rounds`."""
        cpu_s, wall_s = (statistics.median(times) / self.calls for times in (self.case.cpu_s, self.case.wall_s))
        seconds = cpu_s if jax.default_backend() == "cpu" else wall_s
        return Cost(seconds, cpu_s, wall_s, self.case.compile_s or 0.0, self.program_bytes)


def prepare(function: Callable[..., Any], *arguments: Any, least_s: float = 0.3) -> Program:
    """Compile a function ahead of time; a round calls it often enough to last `least_s`."""
    start = time.process_time()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_s, memory = time.process_time() - start, compiled.memory_analysis()
    size = None
    if memory:
        size = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes

    def call() -> None:
        jax.block_until_ready(compiled(*arguments))

    call()  # the first call loads what later ones find
    start = time.perf_counter()
    call()
    calls = max(math.ceil(least_s / max(time.perf_counter() - start, 1e-6)), 1)

    def several() -> None:
        for _ in range(calls):
            call()

    return Program(Case("", "", several, compile_s), calls, size)


def costs_of(programs: Sequence[Program], rounds: int) -> list[Cost]:
    """Time programs, each once a round, so that load on the machine hits all of them alike."""
    time_rounds([program.case for program in programs], rounds)
    return [program.cost() for program in programs]


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a new interpreter, where JAX has not started and memory is what it needs itself."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_rss_bytes() -> int | None:
    """The most memory this process has held; None where the system does not say."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return kib[0] * 1024 if kib else None


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, ("---",) * len(headings), *rows))


def save(settings: Any, **figures: Any) -> None:
    """Write what was found to the `out` of the settings, where they name one, beside the settings themselves."""
    if settings.out is None:
        return
    shown = {name: value for name, value in asdict(settings).items() if name not in ("out", "figure")}
    settings.out.write_text(json.dumps({"settings": shown, **figures}, indent=2) + "\n")
