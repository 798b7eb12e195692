"""Which functions of numbers does evolution find, in how many generations, and do they hold for other numbers?

`python -m bench.automata --out FILE.json`; `--quick` checks that it works. Results: bench/README.md.
"""

import functools
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

from bench._context import context, pin
from bench._measure import markdown, save
from etm_jax.evolution import Problem, init, make_problem, steps
from etm_jax.presets import PRESETS
from etm_jax.selection import LexicaseSelection, TournamentSelection
from etm_tasks import make_suite

HEADINGS = (
    "function",
    "population",
    "generations at most",
    "solved",
    "exact on 1 to 60",
    "exact to 500",
    "generations",
    "CPU s",
)
ALL_RIGHT = 2.0  # validation_score of an automaton: the share of exact values and the performance


@dataclass(frozen=True)
class Row:
    """What one function is given.

    Attributes:
        function: of numbers.
        population_size: genomes.
        generations: at most.
        programme_length: cells.
        rule_rate: of mutation of the rule.
        programme_rate: of mutation of the programme.
        immigrant_rate: share of random genomes among the offspring.
        lexicase: selection by single numbers; otherwise by tournaments.
        elite_share: of the population, which survives unchanged.
        rule: that all have, so that programmes alone evolve; empty for none.
    """

    function: str
    population_size: int
    generations: int
    programme_length: int
    rule_rate: float = 0.03
    programme_rate: float = 0.08
    immigrant_rate: float = 0.2
    lexicase: bool = False
    elite_share: float = 0.1
    rule: str = ""


DOUBLING_RULE = "0100123223201003122210112213030102202303301200000121031103023121"  # with some programme it doubles
# Budgets in which a plain genetic algorithm solved the first three, and rates of those who found the automata.
ROWS = {
    "increment": Row("increment", 500, 60, 10),
    "plus_two": Row("plus_two", 1000, 60, 10),
    "decrement": Row("decrement", 1000, 60, 10),
    "doubling": Row("doubling", 2000, 300, 32, 0.02, 0.06, 0.05, True, 0.01),
    "doubling_by_mean_error": Row("doubling", 2000, 300, 32, 0.02, 0.06, 0.05),
    "doubling_programme_alone": Row("doubling", 2000, 300, 32, 0.02, 0.06, 0.05, True, 0.01, DOUBLING_RULE),
}


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        rows: names of them.
        seeds: runs of each.
        chunk: generations between two looks.
        threads: cores to use.
        quick: one seed, few genomes and generations.
        out: JSON file for the figures.
    """

    rows: tuple[str, ...] = tuple(ROWS)
    seeds: int = 10
    chunk: int = 10
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def problem_of(row: Row) -> Problem:
    """The preset of automata with the row's budget."""
    base = PRESETS["em43"]
    num_elites = round(row.elite_share * row.population_size)
    method = (LexicaseSelection if row.lexicase else TournamentSelection)(num_elites=num_elites)
    rates = {"rule_rate": row.rule_rate, "programme_rate": row.programme_rate, "rule": row.rule}
    variation = replace(base.model.variation, **rates)
    config = replace(
        base,
        task=(row.function,),
        population_size=row.population_size,
        max_generations=row.generations,
        devices=1,
        selection=replace(base.selection, method=method),
        immigrant_rate=row.immigrant_rate,
        model=replace(base.model, programme_length=row.programme_length, variation=variation),
    )
    return make_problem(config, make_suite(config.task))


def runs(name: str, row: Row, settings: Settings) -> list[dict[str, Any]]:
    """One run a seed, until all numbers that evolution sees are right; one program for all."""
    problem = problem_of(row)
    begin = jax.jit(functools.partial(init, problem))
    live = jax.jit(lambda state: steps(problem, state, jnp.asarray(row.generations), settings.chunk)[0])
    found = []
    for seed in range(settings.seeds):
        started, state = time.process_time(), begin(jax.random.key(seed))
        while int(state.generation) < row.generations and float(state.champion_score) < ALL_RIGHT:
            state = live(state)
        seconds = time.process_time() - started
        held_out = problem.model.report(state.champion, problem.config.seed)["held_out"]
        found.append(
            {
                "seed": seed,
                "solved": float(state.champion_score) >= ALL_RIGHT,
                "generations": int(state.generation),
                "near": held_out["accuracy"][row.function],
                "far": held_out["extra"][row.function]["exact_far_beyond"],
                "cpu_s": seconds,
            }
        )
        print(name, found[-1], flush=True)
    return found


def main(settings: Settings) -> None:
    """Evolve, count, print, save."""
    pin(settings.threads)
    rows = {name: ROWS[name] for name in settings.rows}
    if settings.quick:
        settings = replace(settings, seeds=1, chunk=2)
        rows = {"increment": Row("increment", 50, 4, 6)}
    where = context()
    results = {name: runs(name, row, settings) for name, row in rows.items()}
    lines = []
    for name, found in results.items():
        solved = [run for run in found if run["solved"]]
        lines.append(
            (
                name,
                str(rows[name].population_size),
                str(rows[name].generations),
                f"{len(solved)} of {len(found)}",
                f"{sum(run['solved'] and run['near'] == 1 for run in found)}",
                f"{sum(run['solved'] and run['near'] == run['far'] == 1 for run in found)}",
                ", ".join(str(run["generations"]) for run in solved) or "none",
                f"{sum(run['cpu_s'] for run in found) / len(found):.1f}",
            )
        )
    print(f"{where}\n")
    print(markdown(HEADINGS, lines), end="\n\n")
    save(settings, context=where, runs=results)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
