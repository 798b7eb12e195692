"""How fast is one JAX call for a population of many shapes, against a PyTorch loop over networks of exact sizes?

`python -m bench.population --out FILE.json`; `--quick` checks in a minute that it works. Results: bench/README.md.

To compare with figures of machines without AVX-512, set what limits each library, here and for the other scripts:
`XLA_FLAGS=--xla_cpu_max_isa=AVX2`; `ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2` for
PyTorch; and for the native kernel `CXX` to a script that runs `exec g++ "$@" -march=x86-64-v3`.
"""

# pyright: reportMissingImports=false
# PyTorch is a peer to measure against, not a dependency.

import importlib.util
import json
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._timing import Case, compiled_case, time_rounds
from bench._work import (
    BITS,
    CLASSIC,
    FORWARD,
    IN_TURN,
    LEARNING_RATE,
    NATIVE,
    ONE_VMAP,
    SMALL,
    TRAINING,
    Form,
    drawn,
    forward,
    forward_pass,
    training_steps,
)
from etm_jax.networks import Bounds, Genome, compact, describe, multiply_adds
from etm_jax.networks._batches import groups
from etm_jax.networks.genome._buckets import bucket_costs, choose_buckets
from etm_jax.networks.native import why_not
from etm_jax.task import Episode, Task

# Of a lifetime whose steps are timed, so that what is done once a lifetime counts as with so many. At padded sizes that
# is below 1 % of one step.
STEPS_LIVE, STEPS_PADDED = 10, 1
TOLERANCE = 1e-4  # between the two libraries, on logits and on the loss after a training step
TORCH = "PyTorch, one after the other"
HEADINGS = (
    "",
    "CPU s, median",
    "CPU s, least",
    "wall s, median",
    "individuals/CPU s",
    "vs PyTorch",
    "compile s",
    "MiB",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        population_size: individuals, drawn from the default bounds.
        batch_size: episodes that every individual sees.
        length: vectors to copy; an episode has `2*length + 1` steps.
        repeats: timed rounds; a round runs every case once, so that the figures of a round compare.
        threads: cores to use.
        quick: 5 small individuals and one round.
        buckets: numbers of size buckets to try.
        peers: measure PyTorch too.
        out: JSON file for the figures.
    """

    population_size: int = 50
    batch_size: int = 16
    length: int = 10
    repeats: int = 3
    threads: int = 1
    quick: bool = False
    buckets: tuple[int, ...] = (12, 32)
    peers: bool = True
    out: Path | None = None


def forms(population: Genome, bounds: Bounds, task: Task, buckets: tuple[int, ...]) -> list[Form]:
    """Ways to go over a population; the native kernel where there is one."""
    sizes = task.input_size, task.output_size
    found = [Form(ONE_VMAP, (bounds,), batch_size=0), Form(IN_TURN, (bounds,))]
    for most in buckets:
        shapes = choose_buckets(population.architecture, bounds, *sizes, most=most, enough=1.0)
        found.append(Form(f"etm_jax, {most} buckets", tuple(shapes)))
    if reason := why_not(bounds.spec):
        print(f"without the native kernel: {reason}")
    else:
        found.append(Form(NATIVE, (bounds,), native=True))
    return found


def padding_efficiency(population: Genome, task: Task, form: Form) -> float:
    """What share of the multiply-adds that a form executes the networks need."""
    if form.native:
        return 1.0
    sizes, architectures = (task.input_size, task.output_size), population.architecture
    size = len(architectures.num_slots)
    _, chosen = groups(architectures, form.batch_size or size, form.buckets)
    executed = bucket_costs(form.buckets, *sizes)[chosen] * (form.batch_size or size)
    return float(multiply_adds(architectures, *sizes).sum() / executed.sum())


def jax_cases(
    population: Genome, episode: Episode, task: Task, bounds: Bounds, buckets: tuple[int, ...]
) -> tuple[list[Case], dict[str, float]]:
    """Forward passes and training steps of the population, compiled, and each form's padding efficiency."""
    cases, efficiencies = [], {}
    for form in forms(population, bounds, task, buckets):
        efficiencies[form.name] = padding_efficiency(population, task, form)
        function, arguments = forward_pass(population, episode, form)
        cases.append(compiled_case(FORWARD, form.name, function, *arguments))
        steps = STEPS_LIVE if form.native else STEPS_PADDED
        function, arguments = training_steps(population, task, episode.inputs.shape[0], form, steps)
        cases.append(compiled_case(TRAINING, form.name, function, *arguments, times=steps))
    return cases, efficiencies


def torch_cases(population: Genome, episode: Episode, task: Task, bounds: Bounds, threads: int) -> list[Case]:
    """The same architectures at exact sizes, one after the other, after a check that both sides agree."""
    import torch

    from bench._torch_ntm import TorchNTM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs, targets = (torch.from_numpy(np.array(array)) for array in (episode.inputs, episode.targets))
    valid = torch.from_numpy(np.array(episode.step_valid))
    size = len(population.architecture.num_slots)
    genomes = [jax.tree.map(lambda leaf, i=i: leaf[i], population) for i in range(size)]
    models = [TorchNTM(task.input_size, task.output_size, describe(genome.architecture)) for genome in genomes]
    optimisers = [torch.optim.Adam(model.parameters(), lr=LEARNING_RATE) for model in models]

    def step(model: TorchNTM, optimiser: torch.optim.Adam) -> None:
        optimiser.zero_grad()
        loss_of(model).backward()
        optimiser.step()

    def loss_of(model: TorchNTM) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(model(inputs)[valid], targets[valid])

    def run_forward() -> None:
        with torch.no_grad():
            for model in models:
                model(inputs)

    def run_training() -> None:
        for model, optimiser in zip(models, optimisers, strict=True):
            step(model, optimiser)

    params, _ = compact(genomes[0], bounds).cell.arrays()
    models[0].load(jax.tree.map(np.asarray, params))
    form = Form(IN_TURN, (bounds,))
    logits = jax.jit(lambda genome: forward(genome, episode, form))(genomes[0])
    require_close("logits", models[0](inputs).detach().numpy(), logits)
    step(models[0], optimisers[0])
    state = optax.adam(LEARNING_RATE).init(genomes[0].params)

    @jax.jit
    def one_step(params: Any, state: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            return task.loss(forward(replace(genomes[0], params=params), episode, form), episode)

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optax.adam(LEARNING_RATE).update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    _, _, ours = one_step(*one_step(genomes[0].params, state)[:2])
    require_close("the loss after a training step", loss_of(models[0]).detach().numpy(), ours)
    return [Case(FORWARD, TORCH, run_forward), Case(TRAINING, TORCH, run_training)]


def require_close(what: str, theirs: np.ndarray, ours: jax.Array) -> None:
    """Stop the benchmark where the two sides do not compute the same function."""
    worst = float(np.max(np.abs(theirs - np.asarray(ours))))
    if not worst <= TOLERANCE:
        raise SystemExit(f"PyTorch and etm_jax differ by {worst:.2g} in {what}, more than {TOLERANCE}: nothing to time")


def rows(cases: list[Case], work: str, population_size: int) -> list[tuple[str, ...]]:
    """The table of one kind of work, as text."""
    chosen = [case for case in cases if case.work == work]
    medians = {case.name: statistics.median(case.cpu_s) for case in chosen}

    def text(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    def row(case: Case) -> tuple[str, ...]:
        cpu, wall = medians[case.name], statistics.median(case.wall_s)
        speedup = f"{medians[TORCH] / cpu:.2f}x" if TORCH in medians else ""
        times = (text(cpu, 2), text(min(case.cpu_s), 2), text(wall, 2), text(population_size / cpu, 1))
        return (case.name, *times, speedup, text(case.compile_s, 1), text(case.memory_mib, 0))

    return [row(case) for case in chosen]


def main(settings: Settings) -> None:
    """Measure, and print or save what was measured."""
    console = Console(width=140)
    pin(settings.threads)
    where = context()
    if settings.quick:
        settings = replace(settings, population_size=5, repeats=1, buckets=(2,))
    bounds = SMALL if settings.quick else CLASSIC
    task = etm_tasks.make("copy", bits=BITS, min_length=settings.length, max_length=settings.length)
    population, episode = drawn(task, bounds, settings.population_size, settings.batch_size)
    cases, efficiencies = jax_cases(population, episode, task, bounds, settings.buckets)
    if settings.peers and importlib.util.find_spec("torch"):
        cases += torch_cases(population, episode, task, bounds, settings.threads)
    elif settings.peers:
        console.print("PyTorch is not installed, so nothing is compared with it; pip install 'etm-jax[bench]'")
    time_rounds(cases, settings.repeats)

    console.print(where)
    for name, value in efficiencies.items():
        console.print(f"padding efficiency {value:.3f} (useful / executed multiply-adds): {name}")
    for work in (FORWARD, TRAINING):
        table = Table(*HEADINGS, title=f"{work}, {settings.population_size} individuals")
        lines = rows(cases, work, settings.population_size)
        for line in lines:
            table.add_row(*line)
        console.print(table)
        print(
            "\n".join(f"| {' | '.join(line)} |" for line in [(work, *HEADINGS[1:]), ("---",) * len(HEADINGS), *lines])
        )
    if settings.out:
        measured = [case.figures() for case in cases]
        shown = {name: value for name, value in vars(settings).items() if name != "out"}
        figures = {"context": where, "settings": shown, "padding_efficiency": efficiencies, "cases": measured}
        settings.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
