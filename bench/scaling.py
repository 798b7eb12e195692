"""How does a generation scale over devices, with the population growing with them and with one population?

`python -m bench.scaling --out FILE.json`; `--quick` checks in a minute that it works. Results: bench/README.md.
"""

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
from bench._timing import Case
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import init, make_problem, step
from etm_jax.evolve import suite_of
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig
from etm_jax.parallel import replicated

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
WEAK, STRONG = "population grows with the devices", "one population"
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
            counts beyond what is there are left out.
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


def measure(num_devices: int, population_size: int, settings: Settings) -> dict[str, Any] | None:
    """Seconds of a generation over so many devices; None where there are not so many. For a process of its own."""
    jax.config.update("jax_num_cpu_devices", num_devices)
    if num_devices > len(jax.devices()):
        return None
    config = replace(
        TINY if settings.quick else CONFIG,
        population_size=population_size,
        devices=num_devices,
        individuals_per_batch=settings.batch_size,
    )
    problem = make_problem(config, suite_of(config))
    whole = replicated(problem.mesh)
    start = jax.jit(lambda key: init(problem, key), out_shardings=whole)(jax.random.key(config.seed))
    cpu = time.process_time()
    generation = jax.jit(lambda state: step(problem, state), in_shardings=whole, out_shardings=whole)
    generation = generation.lower(start).compile()
    compile_s = time.process_time() - cpu

    case = Case("generation", "", lambda: jax.block_until_ready(generation(start)), compile_s)
    case.run()
    for _ in range(settings.rounds):
        case.time_once()
    return {
        "backend": jax.default_backend(),
        "devices": problem.mesh.size,
        "individuals": population_size,
        "wall_s": statistics.median(case.wall_s),
        "cpu_s": statistics.median(case.cpu_s),
        "compile_s": compile_s,
    }


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


def main(settings: Settings) -> None:
    """Measure, and print or save what was measured."""
    if settings.quick:
        settings = replace(settings, devices=(1, 2), per_device=2, rounds=1)
    measured: dict[tuple[int, int], dict[str, Any] | None] = {}  # the two ways meet at the most devices
    found: dict[str, list[dict[str, Any]]] = {}
    for name in (WEAK, STRONG):
        rows = []
        for count in settings.devices:
            size = settings.per_device * (count if name == WEAK else max(settings.devices))
            if (count, size) not in measured:
                print(f"{size} individuals on {count} devices", flush=True)
                measured[count, size] = in_fresh_process(measure, count, size, settings)
            rows.append(measured[count, size])
        found[name] = with_efficiency([row for row in rows if row is not None])

    where, backend = (
        context(),
        jax.default_backend(),
    )  # only now: a process that has an accelerator keeps it from others
    print(f"{where}\n{caution(backend, found[WEAK][-1]['devices'], cores())}\n")
    for name, rows in found.items():
        print(f"{name}\n\n{markdown(HEADINGS, [line(row) for row in rows])}\n")
    save(settings, context=where, cores=cores(), weak=found[WEAK], strong=found[STRONG])


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
