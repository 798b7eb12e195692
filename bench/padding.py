"""What share of the multiply-adds that a population executes does it need, at random and after evolution?

`python -m bench.padding --out FILE.json`; `--quick` checks that it works. Results: bench/README.md.
"""

import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._context import context
from bench._measure import markdown, save
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import Problem, init, make_problem, step
from etm_jax.evolution._buckets import upcoming
from etm_jax.networks import Architecture, Bounds, LifetimeConfig, multiply_adds
from etm_jax.networks._batches import groups
from etm_jax.networks._model import ENOUGH
from etm_jax.networks.genome._buckets import bucket_costs, choose_buckets
from etm_jax.presets import CLASSIC
from etm_tasks import make_suite

TARGET = 0.8
HEADINGS = ("generations", "buckets at most", "buckets", "padding efficiency, mean", "least", "most")


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        seeds: a population of the classic preset each.
        generations: how long each evolves.
        rebucket_every: generations after which a run chooses its buckets again.
        buckets: numbers of buckets to try.
        quick: one seed, two generations, few individuals.
        out: JSON file for the figures.
    """

    seeds: tuple[int, ...] = (0, 1)
    generations: int = 40
    rebucket_every: int = 20
    buckets: tuple[int, ...] = (1, 6, 12, 24, 32)
    quick: bool = False
    out: Path | None = None

    @property
    def config(self) -> EvolutionaryTuringConfig:
        """The classic preset's space, selection and variation, with short lifetimes on short episodes."""
        tasks = ("copy=0.5,bits=8,max_length=3", "recall=0.3,bits=6,item_length=1,max_items=2")
        lifetime = LifetimeConfig(steps=4, batch_size=4)
        model = replace(CLASSIC.model, lifetime=lifetime, rebucket_every=self.rebucket_every)
        if self.quick:
            model = replace(model, bounds=Bounds(num_slots=(8, 32)))
        size = 6 if self.quick else CLASSIC.population_size
        return replace(CLASSIC, task=tasks, score_episodes=8, population_size=size, model=model)


def share(problem: Problem, architectures: Architecture, buckets: tuple[Bounds, ...]) -> float:
    """Useful over executed multiply-adds, each individual in the cheapest bucket that holds it."""
    sizes = problem.model.channels
    _, chosen = groups(architectures, 1, buckets)
    return float(multiply_adds(architectures, *sizes).sum() / bucket_costs(buckets, *sizes)[chosen].sum())


def shares(settings: Settings, problem: Problem, seed: int) -> dict[tuple[int, int], tuple[int, float]]:
    """The number of buckets and the share, by generation and most buckets; chosen when a run chooses them."""
    sizes, bounds = problem.model.channels, problem.config.model.bounds
    live = jax.jit(lambda state: step(problem, state)[0])
    draw = jax.jit(lambda state: upcoming(problem, state))
    state, found, choices = init(problem, jax.random.key(seed)), {}, {}
    for generation in range(settings.generations):
        if generation % settings.rebucket_every == 0:
            coming = draw(state)
            choices = {
                most: choose_buckets(coming, bounds, *sizes, most=most, enough=ENOUGH) for most in settings.buckets
            }
        state = live(state)
        architectures = state.population.genomes.architecture
        for most, buckets in choices.items():
            found[generation, most] = len(buckets), share(problem, architectures, buckets)
    return found


def main(settings: Settings) -> None:
    """Evolve, count, print, save."""
    if settings.quick:
        settings = replace(settings, seeds=(0,), generations=2, buckets=(1, 3))
    where = context()
    problem = make_problem(settings.config, make_suite(settings.config.task))
    found = [shares(settings, problem, seed) for seed in settings.seeds]
    rows, cases = [], []
    for first in range(0, settings.generations, settings.rebucket_every):
        last = min(first + settings.rebucket_every, settings.generations)
        for most in settings.buckets:
            span = [run[generation, most] for run in found for generation in range(first, last)]
            counts, values = zip(*span, strict=True)
            figures = statistics.mean(values), min(values), max(values)
            cases.append(
                {"generations": [first, last - 1], "most": most, "size_buckets": max(counts), "shares": values}
            )
            rows.append((f"{first} to {last - 1}", str(most), str(max(counts)), *(f"{value:.3f}" for value in figures)))
    print(f"target {TARGET}")
    print(markdown(HEADINGS, rows))
    save(settings, context=where, target=TARGET, cases=cases)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
