"""Cases to time, and their CPU and wall seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax


@dataclass
class Case:
    """One thing to time, and what was measured of it.

    Attributes:
        work: what is done; cases of the same work compare.
        name: what does it, and how.
        run: does it once and returns when it is done.
        compile_s: CPU seconds of tracing and compiling.
        memory_mib: temporary memory of the compiled program.
        times: how often a run does it; seconds are those of once.
        cpu_s: CPU seconds of every round.
        wall_s: wall seconds of every round.
    """

    work: str
    name: str
    run: Callable[[], Any]
    compile_s: float | None = None
    memory_mib: float | None = None
    times: int = 1
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    def time_once(self) -> None:
        """Run once, and append the seconds it took."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.run()
        self.cpu_s.append((time.process_time() - cpu) / self.times)
        self.wall_s.append((time.perf_counter() - wall) / self.times)

    def figures(self) -> dict[str, Any]:
        """What was measured, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "run"}


def compiled_case(work: str, name: str, function: Callable[..., Any], *arguments: Any, times: int = 1) -> Case:
    """A jitted function compiled ahead of time, with what that cost."""
    start = time.process_time()
    program = jax.jit(function).lower(*arguments).compile()
    seconds, memory = time.process_time() - start, program.memory_analysis()
    mib = memory.temp_size_in_bytes / 2**20 if memory else None
    return Case(work, name, lambda: jax.block_until_ready(program(*arguments)), seconds, mib, times)


def time_rounds(cases: list[Case], repeats: int) -> None:
    """Warm up, then run every case once a round, so that load on the machine hits all of them alike."""
    for case in cases:
        case.run()
    for _ in range(repeats):
        for case in cases:
            case.time_once()
