"""Which way of searching finds what, at equal evaluations: selectors and archives on the same environments.

`python -m bench.search --out FILE.json` evolves small networks without gradients, five seeds of each search; the
champion is judged in fresh episodes that chose nothing. `--quick` checks that it works. Results: bench/README.md.
"""

import functools
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._context import context, pin
from bench._measure import markdown, save
from etm_jax._command_line import make_suite
from etm_jax._presets import PRESETS
from etm_jax.config import ArchiveConfig, EvolutionaryTuringConfig, SelectionConfig
from etm_jax.evolution import init, make_problem, steps, summarise

HEADINGS = ("environment", "search", "fitness found, mean of seeds", "held out: performance", "solved", "CPU s a seed")
CHECKED_EVERY = 5  # generations between two looks
T_AT_4 = 2.776  # of Student's distribution: the half width of a 95 % interval of five seeds, over sd / sqrt(5)
PLACES = ("final_x", "final_y")
SIZES = ("controller_size", "num_slots")

SEARCHES: dict[str, tuple[SelectionConfig, ArchiveConfig]] = {
    "tournament": (SelectionConfig(), ArchiveConfig()),
    "truncation": (SelectionConfig(method="truncation", truncation_share=0.1), ArchiveConfig()),
    "lexicase": (SelectionConfig(method="lexicase"), ArchiveConfig()),
    "aging": (SelectionConfig(method="aging"), ArchiveConfig()),
    "nsga2": (SelectionConfig(method="nsga2"), ArchiveConfig()),
    "niches": (SelectionConfig(method="niches"), ArchiveConfig()),
    "species": (SelectionConfig(method="species"), ArchiveConfig()),
    "random parents": (SelectionConfig(method="uniform"), ArchiveConfig()),
    "novelty": (SelectionConfig(), ArchiveConfig(kind="novelty", size=512)),
    "half novelty": (SelectionConfig(), ArchiveConfig(kind="novelty", size=512, novelty_weight=0.5)),
    "map-elites": (SelectionConfig(method="uniform", num_elites=0), ArchiveConfig(kind="map-elites")),
}
ENVIRONMENTS = {"deceptive_maze": PLACES, "t_maze": SIZES}  # and what tells networks apart there


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        environments: names of them.
        searches: names of them.
        seeds: runs of each.
        population_size: networks.
        generations: of each run.
        threads: cores to use.
        quick: one seed, one search, a few networks and generations.
        out: JSON file for the figures.
    """

    environments: tuple[str, ...] = tuple(ENVIRONMENTS)
    searches: tuple[str, ...] = tuple(SEARCHES)
    seeds: int = 5
    population_size: int = 128
    generations: int = 60
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def config_of(environment: str, search: str, settings: Settings) -> EvolutionaryTuringConfig:
    """The preset of acting networks under a search; as few episodes as chance in the environment allows."""
    selection, archive = SEARCHES[search]
    return replace(
        PRESETS["acting"],
        task=(environment,),
        population_size=settings.population_size,
        max_generations=settings.generations,
        score_episodes=2 if environment == "deceptive_maze" else 16,
        selection=replace(selection, descriptors=ENVIRONMENTS[environment]),
        archive=archive,
        devices=1,
        lanes=16,
    )


def runs(environment: str, search: str, settings: Settings) -> list[dict[str, Any]]:
    """One run a seed; one program for all."""
    config = config_of(environment, search, settings)
    problem = make_problem(config, make_suite(config.task))
    begin = jax.jit(functools.partial(init, problem))
    live = jax.jit(lambda state: steps(problem, state, jnp.asarray(config.max_generations), CHECKED_EVERY))
    found = []
    jax.block_until_ready(live(begin(jax.random.key(0))))  # compiling is no part of a search
    for seed in range(settings.seeds):
        started, state, first = time.process_time(), begin(jax.random.key(seed)), None
        best = -math.inf
        while int(state.generation) < config.max_generations:
            state, metrics = live(state)
            best = max(best, float(np.max(np.where(metrics["alive"], metrics["performance"][..., 0], -np.inf))))
            if first is None and best > 0.99:
                first = int(state.generation)
        seconds = time.process_time() - started
        held_out = summarise(problem, state, 0.0, 0.0, 0.0)["held_out"]
        found.append(
            {
                "seed": seed,
                "best": best,
                "generations": first,
                "performance": held_out["performance"][environment],
                "solved": held_out["accuracy"][environment],
                "cpu_s": seconds,
            }
        )
    print(environment, search, [round(run["performance"], 2) for run in found], flush=True)
    return found


def line(environment: str, search: str, found: list[dict[str, Any]]) -> tuple[str, ...]:
    """A row of the table."""
    best, performance = ([run[name] for run in found] for name in ("best", "performance"))
    return (
        environment,
        search,
        with_interval(best),
        with_interval(performance),
        f"{sum(run['solved'] >= 0.99 for run in found)} of {len(found)}",
        f"{np.mean([run['cpu_s'] for run in found]):.0f}",
    )


def with_interval(values: list[float]) -> str:
    """The mean, and of five seeds the half width of its 95 % interval."""
    spread = f" +- {T_AT_4 * np.std(values, ddof=1) / math.sqrt(5):.2f}" if len(values) == 5 else ""
    return f"{np.mean(values):.2f}{spread}"


def main(settings: Settings) -> None:
    """Search, judge, print, save."""
    pin(settings.threads)
    if settings.quick:
        settings = replace(
            settings,
            environments=("deceptive_maze",),
            searches=("map-elites",),
            seeds=1,
            population_size=8,
            generations=2,
        )
    where = context()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for environment in settings.environments:
        results[environment] = {}
        for search in settings.searches:
            results[environment][search] = runs(environment, search, settings)
            save(settings, context=where, runs=results)  # each takes minutes, so each is kept
    lines = [line(where, search, found) for where, of in results.items() for search, found in of.items()]
    print(f"{where}\n\n{markdown(HEADINGS, lines)}\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
