"""How fast is one JAX call for a population of many shapes, against a PyTorch loop over networks of exact sizes?

`python -m bench.population --out FILE.json`; `--quick` checks in a minute that it works. Results: bench/README.md.
"""

# pyright: reportMissingImports=false
# PyTorch is a peer to measure against, not a dependency.

import functools
import importlib.util
import json
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
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
from etm_jax.networks import Bounds, Genome, LifetimeConfig, apply, compact, describe, multiply_adds, random_genome
from etm_jax.networks._batches import groups, over_population
from etm_jax.networks.genome._buckets import bucket_costs, choose_buckets, crop, uncrop
from etm_jax.networks.learning import default_micro_batch
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.networks.native import why_not
from etm_jax.parallel import device_mesh
from etm_jax.task import Episode, Task, TaskSuite

BITS = 8
LEARNING_RATE = 1e-3
TOLERANCE = 1e-4  # between the two libraries, on logits and on the loss after a training step
CLASSIC = Bounds(addressing=("content_and_location",))
SMALL = Bounds((4, 12), (3, 6), (1, 2), (1, 2), (4, 10), addressing=("content_and_location",))
FORWARD, TRAINING = "forward", "training step"
STEPS = 10  # of a lifetime whose steps are timed: what is done once a lifetime counts as with so many
NATIVE = "etm_jax, native kernel"
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


def forward(
    genome: Genome, episode: Episode, bounds: Bounds, rematerialise: bool = False, native: bool = False
) -> jax.Array:
    """Logits of one individual for a batch."""
    micro_batch = default_micro_batch(bounds, episode.inputs.shape[0])
    return apply(genome, episode.inputs, bounds, native=native, rematerialise=rematerialise, micro_batch=micro_batch)


def train_step(
    genome: Genome,
    state: Any,
    episode: Episode,
    task: Task,
    bounds: Bounds,
    rematerialise: bool = False,
) -> Any:
    """Forward, backward and Adam update of one individual: its new genome, optimiser state and loss before it."""

    def loss(params: Any) -> jax.Array:
        return task.loss(forward(replace(genome, params=params), episode, bounds, rematerialise), episode)

    value, gradients = jax.value_and_grad(loss)(genome.params)
    updates, state = optax.adam(LEARNING_RATE).update(gradients, state)
    return replace(genome, params=optax.apply_updates(genome.params, updates)), state, value


def forms(population: Genome, bounds: Bounds, task: Task, buckets: tuple[int, ...]) -> dict[str, tuple[Any, float]]:
    """Ways to go over a population, each with its padding efficiency; they take a function of a bucket."""
    sizes = task.input_size, task.output_size
    mesh, architectures = device_mesh(1), population.architecture
    choices = {
        f"etm_jax, {most} buckets": choose_buckets(architectures, bounds, *sizes, most=most, enough=1.0)
        for most in buckets
    }
    choices = {"etm_jax, one vmap": (bounds,), "etm_jax, one after the other": (bounds,), **choices}
    if not why_not(bounds.spec):
        choices[NATIVE] = (bounds,)
    found = {}
    useful = multiply_adds(architectures, *sizes)
    for name, shapes in choices.items():
        batch_size = 0 if "vmap" in name else 1
        _, chosen = groups(architectures, batch_size or len(architectures.num_slots), shapes)
        executed = bucket_costs(shapes, *sizes)[chosen] * (1 if batch_size else len(architectures.num_slots))

        def over(function: Any, batch_size: int = batch_size, shapes: Any = shapes) -> Any:
            run = over_population(function, mesh, batch_size, shapes)
            return lambda *own: run(own, own[0].architecture, ())

        found[name] = over, 1.0 if name == NATIVE else float(useful.sum() / executed.sum())
    return found


def jax_cases(
    population: Genome, episode: Episode, task: Task, bounds: Bounds, buckets: tuple[int, ...]
) -> tuple[list[Case], dict[str, float]]:
    """Forward passes and training steps of the population, compiled, and each form's padding efficiency."""
    config = LifetimeConfig(batch_size=episode.inputs.shape[0], learning_rate=LEARNING_RATE)
    suite, keys = TaskSuite((task,), (1.0,)), jax.random.split(jax.random.key(1), len(population.learning.meta_step))
    cases, efficiencies = [], {}

    def run_forward(native: bool, bucket: Bounds, own: tuple[Genome], shared: tuple[()]) -> jax.Array:
        del shared
        return forward(crop(own[0], bucket), episode, bucket, native=native)

    def run_training(native: bool, bucket: Bounds, own: tuple[Genome, jax.Array], shared: tuple[()]) -> Genome:
        del shared
        lifetime = Lifetime(bucket, suite, config, flat=True, native=native)
        return uncrop(learn(lifetime, own[1], crop(own[0], bucket), jnp.ones(1), 1.0, STEPS), bounds)

    for name, (over, efficiency) in forms(population, bounds, task, buckets).items():
        efficiencies[name] = efficiency
        alone, learning = (over(functools.partial(run, name == NATIVE)) for run in (run_forward, run_training))
        cases.append(compiled_case(FORWARD, name, alone, population))
        cases.append(compiled_case(TRAINING, name, learning, population, keys, times=STEPS))
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
    logits = jax.jit(lambda genome: forward(genome, episode, bounds))(genomes[0])
    require_close("logits", models[0](inputs).detach().numpy(), logits)
    step(models[0], optimisers[0])
    state = optax.adam(LEARNING_RATE).init(genomes[0].params)
    one_step = jax.jit(lambda genome, state: train_step(genome, state, episode, task, bounds, rematerialise=False))
    _, _, ours = one_step(*one_step(genomes[0], state)[:2])
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
    key_genomes, key_episode = jax.random.split(jax.random.key(0))
    keys = jax.random.split(key_genomes, settings.population_size)
    draw = jax.jit(jax.vmap(lambda key: random_genome(key, bounds, task.input_size, task.output_size)))
    population = draw(keys)
    episode = task.sample(key_episode, settings.batch_size)

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
