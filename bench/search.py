"""Which way of searching finds what, at equal evaluations: selectors, archives and a strategy on the same environments.

`python -m bench.search --out FILE.json` evolves small networks without gradients, five seeds of each search; the
champion is judged in fresh episodes that chose nothing. `--quick` checks that it works. Results: bench/README.md.

A generation takes a minute to compile and some hundredths of a second to run, so searches that fill a population in
the same way share a program, which is told by a number which of them it is.
"""

import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._context import context, pin
from bench._measure import markdown, save
from bench._one_of import problem_of
from etm_jax.config import EvolutionaryTuringConfig, SelectionConfig
from etm_jax.evolution import init, make_problem, steps
from etm_jax.networks import Bounds, Genome, random_genome
from etm_jax.networks.learning import Lifetime, score
from etm_jax.presets import PRESETS
from etm_jax.selection import (
    AgingSelection,
    AnyArchive,
    AnySelector,
    LexicaseSelection,
    MapElitesArchive,
    NichesSelection,
    NoArchive,
    NoveltyArchive,
    NSGA2Selection,
    SpeciesSelection,
    TournamentSelection,
    TruncationSelection,
    UniformSelection,
)
from etm_jax.training import StrategyConfig, make_strategy
from etm_tasks import make_suite

HEADINGS = (
    "environment",
    "search",
    "found",
    "generations until then",
    "held out: performance",
    "held out: episodes solved",
    "CPU s a seed",
)
Runs = list[dict[str, Any]]  # of one search, one a seed
CHECKED_EVERY = 10  # generations between two looks
HELD_OUT = 1000  # episodes
HELD_OUT_STREAM = 2**31 - 2  # folded into a seed: keys that no generation draws from
T_AT_4 = 2.776  # of Student's distribution: the half width of a 95 % interval of five seeds, over sd / sqrt(5)
STRATEGY, SIGMA = "SNES", 0.3  # evosax's, and the first standard deviation of a weight
KINDS: Any = ("lstm",)  # of controllers; each further one costs compile time

RING = NoveltyArchive(size=2048, admitted=8)
NONE = NoArchive()
SEARCHES: dict[str, tuple[AnySelector, AnyArchive]] = {
    "tournament": (TournamentSelection(), NONE),
    "novelty": (TournamentSelection(), RING),
    "novelty, greedy": (TournamentSelection(size=7), RING),
    "half novelty": (TournamentSelection(), replace(RING, weight=0.5)),
    "truncation": (TruncationSelection(share=0.1), NONE),
    "lexicase": (LexicaseSelection(), NONE),
    "species": (SpeciesSelection(), NONE),
    "random parents": (UniformSelection(num_elites=2), NONE),
    "aging": (AgingSelection(), NONE),
    "nsga2": (NSGA2Selection(), NONE),
    "niches": (NichesSelection(), NONE),
    "map-elites": (UniformSelection(), MapElitesArchive()),
}
# Searches of a group leave as many places to offspring and keep the same archive, so that one program serves them.
GROUPS = (
    (
        "tournament",
        "novelty",
        "novelty, greedy",
        "half novelty",
        "truncation",
        "lexicase",
        "species",
        "random parents",
    ),
    ("aging", "nsga2", "niches"),
    ("map-elites",),
)


@dataclass(frozen=True)
class Setting:
    """Where a search takes place.

    Attributes:
        task: the environment, as on the command line.
        descriptors: what tells networks apart there.
        episodes: that a network is scored on; as few as chance allows.
        generations: of a run.
    """

    task: str
    descriptors: tuple[str, ...]
    episodes: int
    generations: int


ENVIRONMENTS = {
    "deceptive_maze": Setting("deceptive_maze", ("final_x", "final_y"), 4, 300),
    "t_maze": Setting("t_maze,length=10", ("controller_size", "parameters"), 16, 100),
}


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        environments: names of them.
        searches: names of them.
        seeds: runs of each.
        first_seed: the first of them; settings were found on 0 to 2.
        population_size: networks.
        generations: of each run; 0 for the environment's own.
        threads: cores to use.
        quick: one seed, one search, a few networks and generations.
        out: JSON file for the figures.
    """

    environments: tuple[str, ...] = tuple(ENVIRONMENTS)
    searches: tuple[str, ...] = (*SEARCHES, STRATEGY)
    seeds: int = 5
    first_seed: int = 10
    population_size: int = 128
    generations: int = 0
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def config_of(environment: str, search: str, settings: Settings) -> EvolutionaryTuringConfig:
    """The preset of acting networks under a search; LSTMs without external memory, which is enough here."""
    method, archive = SEARCHES[search]
    where, preset = ENVIRONMENTS[environment], PRESETS["acting"]
    return replace(
        preset,
        task=(where.task,),
        population_size=settings.population_size,
        max_generations=settings.generations or where.generations,
        score_episodes=where.episodes,
        selection=SelectionConfig(method, descriptors=where.descriptors),
        archive=archive,
        model=replace(preset.model, bounds=replace(preset.model.bounds, memories=("none",), controllers=KINDS)),
        devices=1,
        individuals_per_batch=settings.population_size // 2 + 1,  # two batches hold the population and the champion
    )


def searched(
    environment: str, group: tuple[str, ...], settings: Settings
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The runs of each search of a group, one a seed; one program for all."""
    configs = [config_of(environment, search, settings) for search in group]
    problems = [make_problem(config, make_suite(config.task)) for config in configs]
    last = configs[0].max_generations
    begin = jax.jit(functools.partial(init, problem_of(problems, 0)))
    live = jax.jit(lambda state, number: steps(problem_of(problems, number), state, jnp.asarray(last), CHECKED_EVERY))
    judge = judge_of(problems[0].suite, configs[0].model.bounds)
    jax.block_until_ready(live(begin(jax.random.key(0)), jnp.asarray(0)))  # compiling is no part of a search
    for number, search in enumerate(group):
        found = []
        for seed in seeds_of(settings):
            started, state, rows = time.process_time(), begin(jax.random.key(seed)), []
            while int(state.generation) < last:
                state, record = live(state, jnp.asarray(number))
                solved = np.where(record.alive, record.accuracy[..., 0], -np.inf).max(axis=-1)
                rows.append(solved[: last - CHECKED_EVERY * len(rows)])
            seconds = time.process_time() - started
            found.append(outcome(seed, np.concatenate(rows), judge(seed, state.champion), seconds))
        yield search, found


def strategy_runs(environment: str, settings: Settings) -> Runs:
    """evosax's strategy over the weights of one network, the largest of the search space, at as many evaluations."""
    config = config_of(environment, "tournament", settings)
    units = config.model.bounds.controller_size[1]
    bounds = Bounds((8, 8), (4, 4), (1, 1), (1, 1), (units, units), controllers=KINDS, memories=("none",))
    suite: Any = make_suite(config.task)
    draw = functools.partial(random_genome, bounds=bounds, input_size=suite.input_size, output_size=suite.output_size)
    genome = draw(jax.random.key(0))
    strategy = make_strategy(StrategyConfig(STRATEGY, settings.population_size, SIGMA), genome, bounds)
    network = Lifetime(bounds, suite)
    judge = judge_of(suite, bounds)

    def generation(before: Any, key: Array) -> tuple[Any, Array]:
        key_ask, key_tell, key_score = jax.random.split(key, 3)

        def accuracy_and_performance(params: Any) -> tuple[Array, Array]:
            difficulty = jnp.ones(1)
            result = score(network, key_score, replace(genome, params=params), difficulty, config.score_episodes)
            return result.accuracy[0], result.performance[0]

        asked, state = strategy.ask(key_ask, before, strategy.default_params)
        accuracy, performance = jax.vmap(accuracy_and_performance)(asked)
        told, _ = strategy.tell(key_tell, asked, -performance, state, strategy.default_params)
        return told, jnp.max(accuracy)

    @jax.jit
    def evolve(key: Array) -> tuple[Genome, Array]:
        key_genome, key_state, key_run = jax.random.split(key, 3)
        state = strategy.init(key_state, draw(key_genome).params, strategy.default_params)
        state, solved = jax.lax.scan(generation, state, jax.random.split(key_run, config.max_generations))
        return replace(genome, params=strategy.placed(state.mean)), solved

    jax.block_until_ready(evolve(jax.random.key(0)))
    found = []
    for seed in seeds_of(settings):
        started = time.process_time()
        champion, solved = jax.block_until_ready(evolve(jax.random.key(seed)))
        seconds = time.process_time() - started
        found.append(outcome(seed, np.asarray(solved), judge(seed, champion), seconds))
    return found


def seeds_of(settings: Settings) -> range:
    """The seeds to run."""
    return range(settings.first_seed, settings.first_seed + settings.seeds)


def judge_of(suite: Any, bounds: Bounds) -> Callable[[int, Genome], Any]:
    """The scores of a network in fresh episodes, which the seed names."""

    @jax.jit
    def judged(key: Array, genome: Genome) -> Any:
        return score(Lifetime(bounds, suite), key, genome, jnp.ones(1), HELD_OUT)

    return lambda seed, genome: judged(jax.random.fold_in(jax.random.key(seed), HELD_OUT_STREAM), genome)


def outcome(seed: int, solved: np.ndarray, held_out: Any, seconds: float) -> dict[str, Any]:
    """What a run found.

    Args:
        seed: of the run.
        solved: the greatest share of its episodes that some network solved, a number a generation.
        held_out: the champion's scores.
        seconds: CPU seconds.
    """
    reached = np.flatnonzero(solved >= 1)
    return {
        "seed": seed,
        "found": int(reached[0]) + 1 if reached.size else None,
        "performance": float(held_out.performance[0]),
        "solved": float(held_out.accuracy[0]),
        "cpu_s": seconds,
    }


def line(environment: str, search: str, found: Runs) -> tuple[str, ...]:
    """A row of the table."""
    until = [run["found"] for run in found if run["found"] is not None]
    return (
        environment,
        search,
        f"{len(until)} of {len(found)}",
        f"{np.median(until):.0f}" if until else "",
        *(with_interval([run[name] for run in found]) for name in ("performance", "solved")),
        f"{np.mean([run['cpu_s'] for run in found]):.1f}",
    )


def with_interval(values: list[float]) -> str:
    """The mean, and of five seeds the half width of its 95 % interval."""
    spread = f" +- {T_AT_4 * np.std(values, ddof=1) / math.sqrt(5):.2f}" if len(values) == 5 else ""
    return f"{np.mean(values):.2f}{spread}"


def runs_of(environment: str, settings: Settings) -> Iterator[tuple[str, Runs]]:
    """All searches asked for in one environment."""
    for group in GROUPS:
        if asked := tuple(search for search in group if search in settings.searches):
            yield from searched(environment, asked, settings)
    if STRATEGY in settings.searches:
        yield STRATEGY, strategy_runs(environment, settings)


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
    results: dict[str, dict[str, Runs]] = {}
    for environment in settings.environments:
        results[environment] = {}
        for search, found in runs_of(environment, settings):
            results[environment][search] = found
            save(settings, context=where, runs=results)  # each takes minutes, so each is kept
            print(*line(environment, search, found), sep="  ", flush=True)
    lines = [line(where, search, found) for where, of in results.items() for search, found in of.items()]
    print(f"{where}\n\n{markdown(HEADINGS, lines)}\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
