"""Who balances a pole, and who drives a car around tracks never seen: networks with and without memory, and automata.

`python -m bench.control --out FILE.json` evolves every row with several seeds. Of the last population the ten fittest
are tried in episodes that evolution never saw; the one with the best worst episode is then judged in others, which
chose nothing. `--quick` checks that it works. Results: bench/README.md.
"""

import functools
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
from etm_jax.config import EvolutionaryTuringConfig, SelectionConfig
from etm_jax.environment import Environment, EnvironmentSuite, rollout
from etm_jax.evolution import Problem, init, make_problem, steps
from etm_jax.networks import stepper
from etm_jax.presets import PRESETS
from etm_jax.selection import TournamentSelection
from etm_tasks import make_suite

HEADINGS = ("row", "generations", "CPU s", "ten fittest: mean", "chosen: mean", "worst", "solved")
FITTEST = 10
TRIED, JUDGED = 16, {"car": 8, "cart_pole": 50}  # episodes
CAR = PRESETS["acting"]
RINGS = PRESETS["em33"]
BLIND = ",previous=0,speed=0,every=4"


def networks(task: str, controllers: tuple[str, ...], memories: tuple[str, ...]) -> EvolutionaryTuringConfig:
    """The preset of acting networks, of one kind."""
    bounds = replace(CAR.model.bounds, controllers=controllers, memories=memories)
    model = replace(CAR.model, bounds=bounds)
    return replace(CAR, task=(task,), model=model, devices=1, individuals_per_batch=16)


def rings(task: str) -> EvolutionaryTuringConfig:
    """The preset of rings, half as many where a ring has 560 cells."""
    size = RINGS.population_size if task == "cart_pole" else 256
    return replace(RINGS, task=(task,), population_size=size, devices=1)


ROWS = {
    "cart_pole EM-33": rings("cart_pole"),
    "car MLP": networks("car", ("feedforward",), ("none",)),
    "car NTM": networks("car", ("feedforward", "lstm"), ("ntm",)),
    "car EM-33": rings("car,previous=0"),
    "blind car MLP": networks("car" + BLIND, ("feedforward",), ("none",)),
    "blind car LSTM": networks("car" + BLIND, ("lstm",), ("none",)),
    "blind car NTM": networks("car" + BLIND, ("feedforward", "lstm"), ("ntm",)),
    "blind car EM-33": rings("car" + BLIND),
}


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        rows: names of rows.
        seeds: runs of each.
        threads: cores to use.
        quick: one seed, two generations of a small population.
        out: JSON file for the figures.
    """

    rows: tuple[str, ...] = tuple(ROWS)
    seeds: int = 5
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def rewards(problem: Problem, genomes: Any, key: jax.Array, episodes: int) -> np.ndarray:
    """Total rewards [genome episode] of some genomes, all in the same episodes. The key is consumed."""

    def one(genome: Any) -> jax.Array:
        if problem.config.model.kind == "em33":
            start, step = problem.model.policy(genome)
        else:
            start, step = stepper(genome, problem.config.model.bounds)
        return rollout(environment_of(problem), key, start, step, episodes).total_reward

    return np.asarray(jax.jit(jax.vmap(one))(genomes))


def environment_of(problem: Problem) -> Environment:
    """The one that a row evolves in."""
    assert isinstance(problem.suite, EnvironmentSuite)
    return problem.suite.environments[0]


def runs(name: str, config: EvolutionaryTuringConfig, seeds: int) -> list[dict[str, Any]]:
    """One run a seed; one program for all."""
    problem = make_problem(config, make_suite(config.task))
    begin = jax.jit(functools.partial(init, problem))
    last = jnp.asarray(config.max_generations)
    live = jax.jit(lambda state: steps(problem, state, last, 1)[0])
    environment = environment_of(problem)
    found = []
    for seed in range(seeds):
        started, state = time.process_time(), begin(jax.random.key(seed))
        for _ in range(config.max_generations):
            state = live(state)
        jax.block_until_ready(state)
        seconds = time.process_time() - started
        population = state.population
        fittest = jnp.argsort(-jnp.where(population.alive, population.fitness, -jnp.inf))[:FITTEST]
        genomes = jax.tree.map(lambda leaf, fittest=fittest: leaf[fittest], population.genomes)
        key_try, key_judge = jax.random.split(jax.random.key(10_000 + seed))
        chosen = int(np.argmax(rewards(problem, genomes, key_try, TRIED).min(axis=1)))
        judged = rewards(problem, genomes, key_judge, JUDGED[environment.name])
        found.append(
            {
                "seed": seed,
                "cpu_s": seconds,
                "fittest": judged.mean(axis=1).tolist(),
                "chosen": judged[chosen].tolist(),
                "solved": float(environment.accuracy(judged[chosen])),
            }
        )
        print(name, "seed", seed, f"{seconds:.0f} s", np.round(judged[chosen].astype(float), 2).tolist(), flush=True)
    return found


def line(name: str, found: list[dict[str, Any]], generations: int) -> tuple[str, ...]:
    """A row of the table, a number a seed."""

    def each(values: list[float]) -> str:
        return ", ".join(f"{value:.3g}" for value in values)

    return (
        name,
        str(generations),
        f"{np.mean([run['cpu_s'] for run in found]):.0f}",
        each([np.mean(run["fittest"]) for run in found]),
        each([np.mean(run["chosen"]) for run in found]),
        each([np.min(run["chosen"]) for run in found]),
        each([run["solved"] for run in found]),
    )


def main(settings: Settings) -> None:
    """Evolve, judge, print, save."""
    pin(settings.threads)
    rows = {name: ROWS[name] for name in settings.rows}
    if settings.quick:
        settings = replace(settings, seeds=1)
        small = {"population_size": 16, "max_generations": 2, "score_episodes": 1}
        fewer = SelectionConfig(TournamentSelection(size=4))
        rows = {name: replace(ROWS[name], selection=fewer, **small) for name in ("cart_pole EM-33", "car MLP")}
    where = context()
    results: dict[str, list[dict[str, Any]]] = {}
    for name, config in rows.items():
        results[name] = runs(name, config, settings.seeds)
        save(settings, context=where, runs=results)  # a row takes long, so each is kept
    lines = [line(name, found, rows[name].max_generations) for name, found in results.items()]
    print(f"{where}\n\n{markdown(HEADINGS, lines)}\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
