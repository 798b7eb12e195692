"""What would a generation cost on a TPU, and what is the largest population that fits?

`python -m bench.tpu --out FILE.json`; `--quick` checks that it works. Where there is a TPU, the programs run on it and
are timed. Where there is none, they are compiled for TPUs that are not there, and the compiler is asked. Results and
what the figures mean: bench/results/tpu.json.
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._aot import CHIPS, Compiled, Program, compile_program, prepare_without_tpu, topology_devices, tpu_attached
from bench._context import context, version
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import Problem, init, make_problem, steps
from etm_jax.evolve import suite_of
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig
from etm_jax.networks.learning import Lifetime, learn, learnable
from etm_jax.parallel import replicated
from etm_jax.presets import PRESETS

TOPOLOGIES = ("v5e:2x2", "v6e:2x4")
HERE = "here"
TINY = EvolutionaryTuringConfig(
    task=("copy=1,bits=2,max_length=2",),
    score_episodes=4,
    model=NetworksConfig(
        bounds=Bounds((5, 7), (3, 4), (1, 1), (1, 1), (4, 6), addressing=("content_and_location",)),
        lifetime=LifetimeConfig(steps=3, batch_size=2),
    ),
)
REPEATS = 3
USABLE = 0.95  # share of the memory; the runtime keeps some for itself
HEADINGS = (
    "topology",
    "individuals",
    "program",
    "matmul GFLOP",
    "GFLOP, loops once",
    "GB, loops once",
    "optimal s, loops once",
    "estimated s",
    "measured s",
    "arguments MiB",
    "outputs MiB",
    "temporaries MiB",
    "code MiB",
    "compile s",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        preset: settings of the run.
        per_chip: individuals on each chip.
        topologies: TPUs to compile for; `here` for the devices of this machine, where the programs run too. Empty:
            `here` on a machine with a TPU, v5e of 4 chips and v6e of 8 chips elsewhere.
        fit: look for the largest population; two more compiles a topology.
        quick: tiny networks on one small topology.
        out: JSON file for the figures.
    """

    preset: Literal["default", "classic", "quick"] = "classic"
    per_chip: int = 64
    topologies: tuple[str, ...] = ()
    fit: bool = True
    quick: bool = False
    out: Path | None = None


def generation(problem: Problem) -> Program:
    """What a run compiles: the state whole on every device, the population spread for learning and scoring."""
    whole, config = replicated(problem.mesh), problem.config

    def inputs() -> tuple[Any, ...]:
        return init(problem, jax.random.key(config.seed)), jnp.asarray(config.max_generations)

    return Program(
        "generation",
        lambda state, last: steps(problem, state, last, config.generations_per_chunk),
        inputs,
        input_sharding=whole,
        output_sharding=whole,
        donated=(0,),
    )


def training_step(problem: Problem) -> Program:
    """One gradient step of each individual's lifetime, the population spread over the chips."""
    (axis,) = problem.mesh.axis_names
    model = problem.config.model
    lifetime = Lifetime(model.bounds, learnable(problem.suite), model.lifetime)

    def one(key: jax.Array, genome: Any) -> Any:
        return learn(lifetime, key, genome, jnp.ones(len(problem.suite.names)), 1.0, 1)

    def inputs() -> tuple[Any, ...]:
        key_init, key_learn = jax.random.split(jax.random.key(problem.config.seed))
        keys = jax.random.split(key_learn, problem.config.population_size)
        return keys, init(problem, key_init).population.genomes

    split = NamedSharding(problem.mesh, PartitionSpec(axis))
    spread = jax.shard_map(jax.vmap(one), mesh=problem.mesh, in_specs=split.spec, out_specs=split.spec, check_vma=False)
    return Program("training step", spread, inputs, input_sharding=split, output_sharding=split, donated=(1,))


def make(settings: Settings, devices: list[Any], per_chip: int) -> Problem:
    """The problem of the preset for a mesh of the devices, every chip's individuals in one vmap."""
    config = TINY if settings.quick else PRESETS[settings.preset]
    size = per_chip * len(devices)
    model = replace(config.model, native="off")  # the processor that compiles may have a kernel, a TPU has none
    config = replace(config, population_size=size, individuals_per_batch=size, devices=0, model=model)
    mesh = jax.make_mesh((len(devices),), ("population",), axis_types=(AxisType.Auto,), devices=devices)
    return replace(make_problem(config, suite_of(config)), mesh=mesh)


def attempt(program: Program) -> Compiled | str:
    """The compiled program, or why there is none."""
    try:
        return compile_program(program)
    except Exception as error:  # the compiler raises many kinds; each belongs in the table, none stops the others
        return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"


def measured(program: Program, compiled: Compiled) -> float:
    """Median wall seconds of the program on its devices, after a warm-up; it gets fresh arguments each time."""
    draw = jax.jit(program.inputs, out_shardings=program.input_sharding)
    seconds = []
    for _ in range(REPEATS + 1):
        arguments = jax.block_until_ready(draw())
        start = time.perf_counter()
        jax.block_until_ready(compiled.run(*arguments))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def largest_population(settings: Settings, devices: list[Any], compiled: Compiled, hbm_bytes: int) -> dict[str, Any]:
    """Individuals on a chip whose generation still fits it: from the memory at two sizes, then checked by a compile."""
    smaller = max(settings.per_chip // 4, 1)
    if smaller == settings.per_chip:
        return {"error": "per_chip must be at least 2 to compare two sizes"}
    less = attempt(generation(make(settings, devices, smaller)))
    if isinstance(less, str):
        return {"error": less}
    each = (compiled.memory_bytes - less.memory_bytes) / (settings.per_chip - smaller)
    fixed = compiled.memory_bytes - each * settings.per_chip
    found = {"compared_per_chip": [smaller, settings.per_chip], "bytes_each": each, "bytes_fixed": fixed}
    if each <= 0:
        return found | {"error": "memory does not grow between the two sizes; choose a larger per_chip"}
    most = int((USABLE * hbm_bytes - fixed) / each)
    found |= {"per_chip": most, "population": most * len(devices)}
    if settings.quick:  # thousands of tiny networks are no quick compile
        return found | {"checked": None}
    check = attempt(generation(make(settings, devices, most)))
    if isinstance(check, str):
        return found | {"checked": False, "error": check}
    found |= {"checked": check.memory_bytes <= hbm_bytes, "checked_per_chip": most, "checked_bytes": check.memory_bytes}
    if not found["checked"]:  # memory bends upwards: between two compiled sizes a line is safer than beyond them
        each = (check.memory_bytes - compiled.memory_bytes) / (most - settings.per_chip)
        most = settings.per_chip + int((USABLE * hbm_bytes - compiled.memory_bytes) / each)
        found |= {"per_chip": most, "population": most * len(devices)}
    return found


def examine(settings: Settings, topology: str) -> dict[str, Any]:
    """Everything about one topology."""
    devices = jax.devices() if topology == HERE else topology_devices(topology)
    problem, kind = make(settings, devices, settings.per_chip), devices[0].device_kind
    chip = CHIPS.get(kind)
    found: dict[str, Any] = {"topology": topology, "chip": kind, "chips": len(devices), "per_chip": settings.per_chip}
    programs: dict[str, Any] = {}
    for program in (training_step(problem), generation(problem)):
        print(f"{topology}: compiling the {program.name} of {problem.config.population_size}", flush=True)
        compiled = attempt(program)
        if isinstance(compiled, str):
            programs[program.name] = {"error": compiled}
            continue
        figures = compiled.figures()
        if chip and compiled.cycles:
            figures["estimated_s"] = compiled.cycles / chip.clock
        if topology == HERE:
            figures["measured_s"] = measured(program, compiled)
        programs[program.name] = figures
        if settings.fit and chip and program.name == "generation":
            print(f"{topology}: looking for the largest population", flush=True)
            found["largest"] = largest_population(settings, devices, compiled, chip.hbm_bytes)
    return found | {"programs": programs}


def row(found: dict[str, Any], name: str) -> tuple[str, ...]:
    """One line of the table, as text."""
    figures = found["programs"][name]
    start = (f"{found['topology']}, {found['chips']} chips", str(found["chips"] * found["per_chip"]), name)
    if "error" in figures:
        return (*start, f"fails: {figures['error']}", *[""] * (len(HEADINGS) - 4))

    def text(key: str, unit: float, digits: int = 3) -> str:
        value = figures.get(key)
        return "" if value is None else f"{value / unit:.{digits}g}"

    work = (text("matmul_flops", 1e9), text("flops", 1e9), text("bytes_accessed", 1e9))
    times = (text("optimal_s", 1), text("estimated_s", 1), text("measured_s", 1))
    parts = ("argument_bytes", "output_bytes", "temporary_bytes", "code_bytes")
    return (*start, *work, *times, *(f"{figures[part] / 2**20:.1f}" for part in parts), text("compile_s", 1))


def sentence(found: dict[str, Any]) -> str:
    """The largest population, in words."""
    largest, topology = found.get("largest"), found["topology"]
    if largest is None:
        return f"{topology}: the largest population was not looked for."
    if "per_chip" not in largest:
        return f"{topology}: no largest population: {largest['error']}"
    ways = {
        True: f"extrapolated from {largest['compared_per_chip']} on a chip; a compile at that size fits",
        False: f"a compile of {largest.get('checked_per_chip')} on a chip does not fit, so interpolated below it",
        None: f"extrapolated from {largest['compared_per_chip']} on a chip, not checked",
    }
    if "error" in largest:
        ways[False] = f"extrapolated, and a compile at that size fails: {largest['error']}"
    return (
        f"{topology}: the largest population is {largest['population']}, {largest['per_chip']} on a chip "
        f"({ways[largest['checked']]})."
    )


def main(settings: Settings) -> None:
    """Compile, run where that is possible, and print or save what was found."""
    topologies = settings.topologies or ((HERE,) if tpu_attached() else TOPOLOGIES)
    if any(topology != HERE for topology in topologies):
        prepare_without_tpu()
    if settings.quick:
        settings, topologies = replace(settings, per_chip=4), topologies[:1]
    found = [examine(settings, topology) for topology in topologies]
    where = context() | {"libtpu": version("libtpu")}
    Console(width=140).print(where)
    rows = [row(one, name) for one in found for name in one["programs"]]
    for line in (HEADINGS, ("---",) * len(HEADINGS), *rows):
        print(f"| {' | '.join(line)} |")
    print("\n".join(["", *map(sentence, found)]))
    if settings.out:
        shown = {name: value for name, value in vars(settings).items() if name != "out"}
        settings.out.write_text(json.dumps({"context": where, "settings": shown, "found": found}, indent=2) + "\n")
    if any("error" in figures for one in found for figures in one["programs"].values()):
        raise SystemExit("a program does not compile; see the table")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
