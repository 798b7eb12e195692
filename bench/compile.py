"""What does a run compile, how long does each program take, and what share of the run is that, cold and warm?

`python -m bench.compile --out FILE.json`; `--quick` checks that it works. Results: bench/README.md.
"""

import functools
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import tyro
from jax.stages import Lowered

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._context import context
from bench._measure import in_fresh_process, markdown, save
from etm_jax import _console
from etm_jax._compiling import compile_options
from etm_jax._console import Progress
from etm_jax.evolution import init, make_problem
from etm_jax.evolution._programs import lower_first, lower_stages, operations_of
from etm_jax.evolve import main as evolve_command
from etm_jax.evolve import suite_of
from etm_jax.models._scores import lower_held_out, operations_held_out
from etm_jax.networks.learning import Lifetime, examine_network, for_networks
from etm_jax.parallel import use_every_core
from etm_jax.presets import PRESETS

TRACE = "/jax/core/compile/jaxpr_trace_duration"
LOWER = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILE = "/jax/core/compile/backend_compile_duration"  # of every program, one that the cache holds among them
CACHE_HIT = "/jax/compilation_cache/cache_hits"
LARGE_S = 0.5  # a program that takes longer to compile is a large one; what the host does by the way takes less
MOST_PROGRAMS = 12  # large ones until the last generation
MOST_SHARE = 0.15  # of a whole run's time
BEFORE, EVOLVING, AFTER = "before the first generation's end", "later generations", "after the last generation"
Preset = Literal["default", "classic", "quick"]
PROGRAM_HEADINGS = ("program", "operations", "tracing, lowering s", "compiling, CPU s", "compiling, wall s", "options")
HEADINGS = (
    "cache",
    "large programs",
    "small programs",
    "from the cache",
    "compiling, tracing, lowering s",
    "of it tracing, lowering s",
    "whole run s",
    "generations",
    "seconds a generation",
    "share",
    "share of a whole run",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        presets: whose programs are compiled alone, one after the other.
        run: a preset that is run as well, from the command line; None for no run.
        generations: how many to run; the share of a whole run of the preset is extrapolated from them. At least 2, of
            which the first tells nothing about the others' time.
        buckets: of the run, at most; 0 for the preset's.
        quick: preset `quick`, 2 generations.
        out: JSON file for the figures.
    """

    presets: tuple[Preset, ...] = ("default", "classic")
    run: Preset | None = "default"
    generations: int = 2
    buckets: int = 0
    quick: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.generations < 2:
            raise ValueError(f"generations must be at least 2, got {self.generations}; the time of one is a difference")


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
        name: what JAX calls it.
        start: when its compile began.
        end: when it was there.
    """

    name: str
    start: float
    end: float


@dataclass
class Compiles:
    """What JAX compiles while it listens.

    Attributes:
        programs: in order.
        spans: name, begin and end of every tracing and lowering; one may stand within another.
        hits: programs found in the persistent cache.
    """

    programs: list[Program] = field(default_factory=list)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    hits: int = 0

    def __enter__(self) -> "Compiles":
        jax.monitoring.register_event_time_span_listener(self._span)
        jax.monitoring.register_event_listener(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        jax.monitoring.unregister_event_time_span_listener(self._span)
        jax.monitoring.unregister_event_listener(self._event)

    def _span(self, event: str, start_time: float, end_time: float, **about: Any) -> None:
        if event == COMPILE:
            self.programs.append(Program(str(about.get("fun_name", "?")), start_time, end_time))
        elif event in (TRACE, LOWER):
            self.spans.append((str(about.get("fun_name", "?")), start_time, end_time))

    def traced_s(self, name: str | None = None) -> float:
        """Seconds of tracing and lowering, of all or of the function of this name."""
        names = (name, f"jit({name})")
        return covered((start, end) for traced, start, end in self.spans if name is None or traced in names)

    def _event(self, event: str, **about: Any) -> None:
        del about
        self.hits += event == CACHE_HIT


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in at least one span."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def alone(preset: Preset) -> list[dict[str, Any]]:
    """Trace all programs of a preset and compile one after the other. For a process of its own, without a cache."""
    use_every_core()
    config = PRESETS[preset]
    problem = make_problem(config, suite_of(config))
    suite = for_networks(problem.suite)
    state = jax.eval_shape(functools.partial(init, problem), jax.random.key(0))
    lifetime = Lifetime(config.model.bounds, suite, native=problem.model.backend.native)
    champion, examine = state.champion, functools.partial(examine_network, lifetime)
    with Compiles() as compiles:
        lowered = {"init": lower_first(problem)} | lower_stages(problem, state)
        held_out = lower_held_out(examine, champion, suite)
    lowered |= {f"held_out{suffix}": program for suffix, program in held_out.items()}
    executed = {"init": 0} | operations_of(problem, state)
    found = []
    for name, program in lowered.items():
        options = compile_options(
            executed.get(name, operations_held_out(champion, suite) if problem.model.xla_computes else 0)
        )
        cpu, wall = time.process_time(), time.perf_counter()
        program.compile(compiler_options=options)
        found.append(
            {
                "name": name,
                "operations": num_operations(program),
                "traced_s": compiles.traced_s(name),
                "compile_cpu_s": time.process_time() - cpu,
                "compile_s": time.perf_counter() - wall,
                "options": options,
            }
        )
    return found


def num_operations(program: Lowered) -> int:
    """Operations of a program as XLA gets it; those of a function or a loop count once."""
    return program.as_text("hlo").count(" = ")


def program_lines(programs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """A line of the table for each program, and the totals."""
    keys = ("traced_s", "compile_cpu_s", "compile_s")
    total: dict[str, Any] = {key: sum(program[key] for program in programs) for key in ("operations", *keys)}
    return [
        (row["name"], f"{row['operations']:,}", *(f"{row[key]:.1f}" for key in keys), levels(row["options"]))
        for row in (*programs, total | {"name": "all", "options": None})
    ]


def levels(options: dict[str, Any] | None) -> str:
    """Compile options in a few words."""
    if not options:
        return "" if options is None else "JAX's own"
    emitters = "" if options.get("xla_cpu_use_fusion_emitters", True) else ", no fusion emitters"
    return f"level {options['xla_backend_optimization_level']}{emitters}"


def observe(preset: str, generations: int, buckets: int, cache: str, out: str) -> dict[str, Any]:
    """Run the command line and say what it compiled. For a process of its own."""
    marks: list[float] = []

    class Watched(Progress):
        """Notes when each generation ended."""

        def show(self, row: dict[str, Any]) -> None:
            marks.append(time.time())
            super().show(row)

    _console.Progress = Watched
    began = time.time()
    with Compiles() as compiles:
        flags = {
            "preset": preset,
            "max-generations": generations,
            "size-buckets": buckets,
            "compile-cache": cache,
            "out": out,
        }
        evolve_command([word for name, value in flags.items() for word in (f"--{name}", str(value))])
    return {
        "began": began,
        "ended": time.time(),
        "marks": marks,
        "programs": [asdict(program) for program in compiles.programs],
        "traced_s": compiles.traced_s(),
        "hits": compiles.hits,
        "spans": [
            *(span[1:] for span in compiles.spans),
            *((program.start, program.end) for program in compiles.programs),
        ],
    }


def when(program: dict[str, Any], marks: list[float]) -> str:
    """In which part of the run a program was compiled."""
    if program["start"] < marks[0]:
        return BEFORE
    return EVOLVING if program["start"] < marks[-1] else AFTER


def summary(run: dict[str, Any], whole_run: int, large: set[str], choices: int) -> dict[str, Any]:
    """Counts, seconds and shares of one run.

    Args:
        run: from `observe`.
        whole_run: generations to extrapolate to. More generations are added, each as long as those after the first
            were without what compiled among them.
        large: names of large programs, which a warm cache does not show.
        choices: how often the whole run chooses its buckets. Each choice after the first compiles at most what was
            compiled before the first generation's end, once more.
    """
    marks, until = run["marks"], [p for p in run["programs"] if when(p, run["marks"]) != AFTER]
    total, compile_s = run["ended"] - run["began"], covered(run["spans"])
    between = covered((start, end) for start, end in run["spans"] if marks[0] <= start < marks[-1])
    first = covered((start, end) for start, end in run["spans"] if start < marks[0])
    again = choices - 1
    large_first = sum(p["name"] in large for p in until if when(p, marks) == BEFORE)
    num_large = sum(p["name"] in large for p in until)
    each = (marks[-1] - marks[0] - between) / (len(marks) - 1)
    return {
        "large": num_large,
        "large_of_whole_run": num_large + again * large_first,
        "small": len(until) - num_large,
        "hits": run["hits"],
        "compile_s": compile_s,
        "traced_s": run["traced_s"],
        "total_s": total,
        "generations": len(marks),
        "generation_s": each,
        "share": compile_s / total,
        "share_of_whole_run": (compile_s + again * first) / (total + again * first + each * (whole_run - len(marks))),
    }


def listed(programs: list[dict[str, Any]], marks: list[float]) -> list[tuple[str, ...]]:
    """A line for each name in each part of the run: how often, and seconds."""
    found: dict[tuple[str, str], list[float]] = {}
    for program in programs:
        found.setdefault((when(program, marks), program["name"]), []).append(program["end"] - program["start"])
    return [(part, name, str(len(times)), f"{sum(times):.2f}") for (part, name), times in found.items()]


def large_names(run: dict[str, Any]) -> set[str]:
    """Names of the large programs of a run with a cold cache."""
    return {program["name"] for program in run["programs"] if program["end"] - program["start"] >= LARGE_S}


def line(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    counts = (str(row["large"]), str(row["small"]), str(row["hits"]))
    seconds = (f"{row[key]:.1f}" for key in ("compile_s", "traced_s", "total_s"))
    shares = (f"{row['share']:.3f}", f"{row['share_of_whole_run']:.3f}")
    return (name, *counts, *seconds, str(row["generations"]), f"{row['generation_s']:.1f}", *shares)


def main(settings: Settings) -> None:
    """Compile each program alone, run twice, and print or save what was found."""
    if settings.quick:
        settings = replace(settings, presets=("quick",), run="quick", generations=2)
    where = context()
    print(where)
    programs = {preset: in_fresh_process(alone, preset) for preset in settings.presets}
    for preset, found in programs.items():
        print(
            f"\npreset {preset}, each program alone\n\n{markdown(PROGRAM_HEADINGS, program_lines(found))}", flush=True
        )
    whole = None if settings.run is None else whole_run(settings.run, settings)
    save(settings, context=where, programs=programs, run=whole)


def whole_run(preset: Preset, settings: Settings) -> dict[str, Any]:
    """Run the command line with a cold cache and with the warm one, and print what was found."""
    config = PRESETS[preset]
    generations, buckets = config.max_generations, settings.buckets or config.model.size_buckets
    choices = 1 if buckets == 1 else -(-generations // config.model.rebucket_every)
    runs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            print(f"\na run with a {name} cache", flush=True)
            paths = str(Path(folder, "cache")), str(Path(folder, name))
            runs[name] = in_fresh_process(observe, preset, settings.generations, buckets, *paths)
    large = large_names(runs["cold"])
    rows = {name: summary(run, generations, large, choices) for name, run in runs.items()}

    print(f"preset {preset}, {settings.generations} generations, at most {buckets} buckets; wall seconds\n")
    print(markdown(HEADINGS, [line(*item) for item in rows.items()]), end="\n\n")
    listing = listed(runs["cold"]["programs"], runs["cold"]["marks"])
    print(markdown(("when", "program, cold cache", "times", "seconds"), listing), end="\n\n")
    cold = rows["cold"]
    verdict = "within" if cold["large_of_whole_run"] <= MOST_PROGRAMS else "more than"
    print(
        f"{cold['large']} large programs ({LARGE_S} s or longer to compile) and {cold['small']} small ones until the "
        f"last generation; in {generations} generations, which choose buckets {choices} times, at most "
        f"{cold['large_of_whole_run']} large ones, {verdict} the {MOST_PROGRAMS} aimed at"
    )
    for name, row in rows.items():
        verdict = "within" if row["share_of_whole_run"] <= MOST_SHARE else "more than"
        print(
            f"{name}: {row['share_of_whole_run']:.1%} of {generations} generations, {verdict} the {MOST_SHARE:.0%} "
            f"aimed at; extrapolated from {row['generations']}"
        )
    programs = {name: run["programs"] for name, run in runs.items()}
    return {
        "size_buckets": buckets,
        "generations": generations,
        "choices": choices,
        "summaries": rows,
        "programs": programs,
    }


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
