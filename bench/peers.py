"""How fast are ask and tell of a population of one fixed shape, beside the genetic algorithms of evosax and QDax?

`python -m bench.peers --out FILE.json`; `--quick` checks that it works. QDax is measured where it is installed.
Results, and what the three do differently: bench/results/peers.json.
"""

# pyright: reportMissingImports=false
# QDax is a peer to measure against, not a dependency.

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from evosax.algorithms import SimpleGA

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._context import context, pin, version
from bench._measure import Program, costs_of, markdown, prepare, save
from etm_jax.evolution import EvolvingTuringMachine
from etm_jax.networks import Bounds, Genome, random_genome

INPUT_SIZE = OUTPUT_SIZE = 8
SHAPE = Bounds((8, 8), (8, 8), (1, 1), (1, 1), (16, 16), addressing=("content_and_location",))
TINY = Bounds((5, 5), (3, 3), (1, 1), (1, 1), (4, 4), addressing=("content_and_location",))
NOISE = 0.02  # standard deviation of the mutation of evosax and QDax
OURS, EVOSAX, QDAX = "etm_jax", "evosax, SimpleGA", "QDax, GeneticAlgorithm"
HEADINGS = (
    "",
    "individuals",
    "generations/s",
    "ns a weight and individual",
    "time of evosax's",
    "MiB",
    "compile s",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        populations: individuals.
        generations: of one compiled scan.
        rounds: timed rounds.
        threads: cores to use.
        quick: tiny genomes and populations.
        out: JSON file for the figures.
    """

    populations: tuple[int, ...] = (256, 1024, 4096)
    generations: int = 5
    rounds: int = 3
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def sphere(weights: Any) -> jax.Array:
    """The sum of squares of one individual's weights, to be minimised: next to no cost."""
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(weights)), jnp.array(0.0))


def num_weights(bounds: Bounds) -> int:
    """Weights of a genome whose bounds allow one shape, where no entry is padding.

    Raises:
        ValueError: the bounds allow several shapes.
    """
    if len(bounds.addressing) > 1 or any(low != high for low, high in bounds.ranges.values()):
        raise ValueError(f"the bounds must allow one shape, without padding, got {bounds}; set low = high")
    draw = functools.partial(random_genome, bounds=bounds, input_size=INPUT_SIZE, output_size=OUTPUT_SIZE)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(draw, jax.random.key(0)).params))


def ours(bounds: Bounds, population_size: int, generations: int) -> Program:
    """Ask and tell of `EvolvingTuringMachine`."""
    draw = functools.partial(random_genome, bounds=bounds, input_size=INPUT_SIZE, output_size=OUTPUT_SIZE)
    machine = EvolvingTuringMachine(population_size, draw(jax.random.key(0)), bounds)
    params = machine.default_params

    def score(genomes: Genome) -> jax.Array:
        return jax.vmap(sphere)(genomes.params)

    genomes = jax.vmap(draw)(jax.random.split(jax.random.key(0), population_size))
    start = machine.init(jax.random.key(1), genomes, score(genomes), params)
    return program(machine, score, start, params, generations)


def evosax(dimensions: int, population_size: int, generations: int) -> Program:
    """Ask and tell of `SimpleGA`, with as many weights."""
    start = jax.random.normal(jax.random.key(0), (population_size, dimensions))
    algorithm = SimpleGA(population_size, jnp.zeros(dimensions), std_schedule=lambda _: NOISE)
    params, score = algorithm.default_params, jax.vmap(sphere)
    return program(
        algorithm, score, algorithm.init(jax.random.key(1), start, score(start), params), params, generations
    )


def program(algorithm: Any, score: Callable[[Any], jax.Array], start: Any, params: Any, generations: int) -> Program:
    """A scan over generations of whatever has evosax's ask and tell; what each found best is carried to the end."""

    def generation(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        key_ask, key_tell = jax.random.split(key)
        population, state = algorithm.ask(key_ask, state, params)
        state, metrics = algorithm.tell(key_tell, population, score(population), state, params)
        return state, metrics["best_fitness_in_generation"]

    def evolve(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        return jax.lax.scan(generation, state, jax.random.split(key, generations))

    return prepare(evolve, start, jax.random.key(2))


def qdax(dimensions: int, population_size: int, generations: int) -> Program:
    """Parents drawn uniformly and mutated, and the best of parents and offspring kept."""
    from qdax.baselines.genetic_algorithm import GeneticAlgorithm
    from qdax.core.emitters.mutation_operators import isoline_variation
    from qdax.core.emitters.standard_emitters import MixingEmitter
    from qdax.utils.metrics import default_ga_metrics

    # QDax declares a pair of results for both functions, and takes one.
    unused: Any = lambda genotypes, key: genotypes  # noqa: E731 - every individual comes from variation
    variation: Any = functools.partial(isoline_variation, iso_sigma=NOISE, line_sigma=0.0)
    emitter = MixingEmitter(
        mutation_fn=unused,
        variation_fn=variation,
        variation_percentage=1.0,
        batch_size=population_size,
    )
    algorithm = GeneticAlgorithm(
        lambda genotypes, key: (-jax.vmap(sphere)(genotypes)[:, None], {}), emitter, default_ga_metrics
    )
    start = jax.random.normal(jax.random.key(0), (population_size, dimensions))
    repertoire, emitter_state, _ = algorithm.init(start, population_size, jax.random.key(1))

    def evolve(repertoire: Any, key: jax.Array) -> Any:
        (repertoire, _, _), metrics = jax.lax.scan(
            algorithm.scan_update, (repertoire, emitter_state, key), None, length=generations
        )
        return repertoire, metrics

    return prepare(evolve, repertoire, jax.random.key(2))


def nanoseconds(seconds: float, generations: int, population_size: int, weights: int) -> float:
    """Of one weight of one individual in one generation."""
    return seconds / (generations * population_size * weights) * 1e9


def rows_of(population_size: int, bounds: Bounds, weights: int, settings: Settings) -> list[dict[str, Any]]:
    """The peers at one population, timed in turn."""
    programs = {
        OURS: ours(bounds, population_size, settings.generations),
        EVOSAX: evosax(weights, population_size, settings.generations),
    }
    if importlib.util.find_spec("qdax"):
        programs[QDAX] = qdax(weights, population_size, settings.generations)
    costs = dict(zip(programs, costs_of(list(programs.values()), settings.rounds), strict=True))
    return [
        {
            "name": name,
            "individuals": population_size,
            "generations_per_s": settings.generations / cost.seconds,
            "ns": nanoseconds(cost.seconds, settings.generations, population_size, weights),
            "of_evosax": cost.seconds / costs[EVOSAX].seconds,
            **asdict(cost),
        }
        for name, cost in costs.items()
    ]


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    size = "" if row["program_bytes"] is None else f"{row['program_bytes'] / 2**20:.0f}"
    figures = (f"{row['generations_per_s']:.3g}", f"{row['ns']:.3g}", f"{row['of_evosax']:.2f}x")
    return (row["name"], str(row["individuals"]), *figures, size, f"{row['compile_s']:.1f}")


def main(settings: Settings) -> None:
    """Measure, and print or save what was measured."""
    pin(settings.threads)
    if settings.quick:
        settings = replace(settings, populations=(16,), generations=2, rounds=1)
    where = context() | {"evosax": version("evosax"), "qdax": version("qdax")}
    bounds = TINY if settings.quick else SHAPE
    weights, rows = num_weights(bounds), []
    for population_size in settings.populations:
        print(f"{population_size} individuals", flush=True)
        rows += rows_of(population_size, bounds, weights, settings)
    print(f"{where}\n{weights} weights; seconds are CPU seconds on a CPU, wall seconds elsewhere\n")
    print(markdown(HEADINGS, [line(row) for row in rows]))
    if not importlib.util.find_spec("qdax"):
        print("\nQDax is not installed, so it is not measured; pip install 'etm-jax[bench]'")
    save(settings, context=where, weights=weights, rows=rows)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
