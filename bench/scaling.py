"""How does a generation scale over devices?

The population grows with them, or is one population; and two cores learn with the classic preset's. `python -m
bench.scaling --out FILE.json`; `--quick` checks in a minute or two that it works. Results: bench/README.md.
"""

import functools
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._context import context
from bench._measure import in_fresh_process, markdown, save
from bench._timing import Case, time_rounds
from bench._work import NATIVE
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import Problem, init, make_problem, step
from etm_jax.evolution._generation import learn
from etm_jax.evolution._state import EvolutionState
from etm_jax.evolve import suite_of
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig
from etm_jax.networks.native import why_not
from etm_jax.parallel import replicated
from etm_jax.presets import CLASSIC

# One shape: all individuals cost the same, so that no device waits for a costly individual of another.
CONFIG = EvolutionaryTuringConfig(
    task=("copy=1,bits=8,max_length=8",),
    score_episodes=32,
    model=NetworksConfig(
        bounds=Bounds((32, 32), (16, 16), (1, 1), (1, 1), (64, 64), addressing=("content_and_location",)),
        lifetime=LifetimeConfig(steps=20, batch_size=8),
    ),
)
TINY = replace(
    CONFIG,
    task=("copy=1,bits=2,max_length=2",),
    model=NetworksConfig(
        bounds=Bounds((5, 5), (3, 3), (1, 1), (1, 1), (4, 4), addressing=("content_and_location",)),
        lifetime=LifetimeConfig(inheritance="darwinian"),  # no learning, which compiles sooner
    ),
)
TINY_LEARNING = replace(
    TINY, population_size=4, model=replace(TINY.model, lifetime=LifetimeConfig(steps=2, batch_size=2))
)
XLA = "etm_jax, XLA"
WEAK, STRONG, LEARNING = "population grows with the devices", "one population", "learning of the classic preset"
TWO_CORES, TARGET = (1, 2), 1.8  # devices of the learning, and how many times as fast two of them must be
HEADINGS = (
    "devices",
    "individuals",
    "wall s",
    "CPU s",
    "CPU s an individual",
    "wall efficiency",
    "CPU efficiency",
    "compile s",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        devices: how many to spread over, the least first; on CPU as many are made as asked for, on an accelerator
            counts beyond what is there are left out. The classic preset learns on one and on two.
        per_device: individuals on each device; the one population has this many for each of the most devices.
        batch_size: individuals in one vmap on a device; 0 for what a run takes, 1 on CPU and all elsewhere.
        rounds: timed generations.
        quick: tiny networks, 1 and 2 devices.
        out: JSON file for the figures.
    """

    devices: tuple[int, ...] = (1, 2, 4, 8)
    per_device: int = 4
    batch_size: int = 0
    rounds: int = 5
    quick: bool = False
    out: Path | None = None


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def config_of(way: str, form: str, count: int, settings: Settings) -> EvolutionaryTuringConfig:
    """What is measured over so many devices."""
    if way == LEARNING:
        config = TINY_LEARNING if settings.quick else CLASSIC
    else:
        most = count if way == WEAK else max(settings.devices)
        config = replace(TINY if settings.quick else CONFIG, population_size=settings.per_device * most)
    assert isinstance(config.model, NetworksConfig)
    return replace(
        config,
        model=replace(config.model, native="on" if form == NATIVE else "off"),
        devices=count,
        individuals_per_batch=settings.batch_size,
    )


def learned(problem: Problem, state: EvolutionState) -> Any:
    """The population after its lifetime."""
    return learn(problem, state, state.population, None)


def prepare(way: str, config: EvolutionaryTuringConfig) -> Case:
    """A generation, or its learning, compiled."""
    problem = make_problem(config, suite_of(config))
    whole = replicated(problem.mesh)
    start = jax.jit(lambda key: init(problem, key), out_shardings=whole)(jax.random.key(config.seed))
    function = functools.partial(learned if way == LEARNING else step, problem)
    cpu = time.process_time()
    program = jax.jit(function, in_shardings=whole, out_shardings=whole).lower(start).compile()
    return Case(way, "", lambda: jax.block_until_ready(program(start)), time.process_time() - cpu)


def measure(way: str, form: str, settings: Settings) -> list[dict[str, Any]]:
    """Seconds over each number of devices, timed in turn; nothing without the form. For a process of its own."""
    counts = TWO_CORES if way == LEARNING else settings.devices
    jax.config.update("jax_num_cpu_devices", max(counts))
    configs = [config_of(way, form, count, settings) for count in counts if count <= len(jax.devices())]
    if form == NATIVE and (reason := why_not(configs[0].model.bounds.spec)):
        print(f"without the native kernel: {reason}")
        return []
    cases = [prepare(way, config) for config in configs]
    time_rounds(cases, settings.rounds)
    return [
        {
            "form": form,
            "backend": jax.default_backend(),
            "devices": config.devices,
            "individuals": config.population_size,
            "wall_s": statistics.median(case.wall_s),
            "cpu_s": statistics.median(case.cpu_s),
            "compile_s": case.compile_s,
        }
        for config, case in zip(configs, cases, strict=True)
    ]


def with_efficiency(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, and what of the first row's speed each keeps.

    Wall: individuals in a second on each device, t(1)/t(n) where a device always has as many. CPU: individuals in a CPU
    second. 1 is perfect.
    """
    first = rows[0]

    def speed(row: dict[str, Any]) -> float:
        return row["individuals"] / row["wall_s"] / row["devices"]

    def economy(row: dict[str, Any]) -> float:
        return row["individuals"] / row["cpu_s"]

    return [
        row | {"wall_efficiency": speed(row) / speed(first), "cpu_efficiency": economy(row) / economy(first)}
        for row in rows
    ]


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of a table."""
    figures = (row["wall_s"], row["cpu_s"], row["cpu_s"] / row["individuals"])
    shares = (row["wall_efficiency"], row["cpu_efficiency"])
    return (
        str(row["devices"]),
        str(row["individuals"]),
        *(f"{value:.3g}" for value in figures),
        *(f"{value:.2f}" for value in shares),
        f"{row['compile_s']:.1f}",
    )


def caution(backend: str, most_devices: int, num_cores: int) -> str:
    """What the figures can mean on this machine."""
    if backend != "cpu":
        return f"{backend}: real devices; CPU seconds are the host's and say little"
    if most_devices <= num_cores:
        return f"{num_cores} cores, at least as many as devices: wall seconds mean something on an idle machine"
    return (
        f"{num_cores} cores: with more devices than that they take turns on a core, and only CPU seconds an individual "
        "mean something"
    )


def faster(rows: list[dict[str, Any]]) -> str:
    """How many times as fast two devices are as one."""
    if len(rows) < len(TWO_CORES):
        return "there is one device, so nothing to compare"
    times = rows[0]["wall_s"] / rows[1]["wall_s"]
    verdict = "reached" if times >= TARGET else "missed"
    return f"{LEARNING}: 2 devices are {times:.2f} times as fast as 1; target {TARGET} {verdict}"


def main(settings: Settings) -> None:
    """Measure, and print or save what was measured."""
    if settings.quick:
        settings = replace(settings, devices=(1, 2), per_device=2, rounds=1)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    # The classic preset without the native kernel takes minutes a generation, and `population` measures it.
    for way, form in ((WEAK, XLA), (WEAK, NATIVE), (STRONG, XLA), (STRONG, NATIVE), (LEARNING, NATIVE)):
        print(f"{way}: {form}", flush=True)
        if rows := in_fresh_process(measure, way, form, settings):
            found[way, form] = with_efficiency(rows)

    where = context()  # only now: a process that has an accelerator keeps it from others
    print(f"{where}\n{caution(jax.default_backend(), found[WEAK, XLA][-1]['devices'], cores())}\n")
    for (way, form), rows in found.items():
        print(f"{way}: {form}\n\n{markdown(HEADINGS, [line(row) for row in rows])}\n")
    if rows := found.get((LEARNING, NATIVE)):
        print(faster(rows))
    series = [{"way": way, "rows": rows} for (way, _), rows in found.items()]
    save(settings, context=where, cores=cores(), target=TARGET, series=series)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
