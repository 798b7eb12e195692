"""What share of the machine's own rate of matrix products does useful work reach?

`python -m bench.roofline --out FILE.json`; `--quick` checks in a minute that it works. Results: bench/README.md.
"""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._measure import Cost, Program, markdown, prepare, save
from bench._timing import Case, time_rounds
from bench._work import BITS, CLASSIC, FORWARD, NATIVE, SMALL, TRAINING, drawn
from bench.population import jax_cases
from etm_jax.networks import multiply_adds

# Shares of the square product's rate, on a CPU: by XLA, and by the native kernel.
TARGETS = {FORWARD: 0.35, TRAINING: 0.35}
NATIVE_TARGETS = {FORWARD: 0.6, TRAINING: 0.45}
FORWARDS = {FORWARD: 1, TRAINING: 3}  # a backward pass counts as two forward passes
RATE_HEADINGS = ("product, float32", "GFLOP", "seconds", "GFLOP/s", "compile s")
WORK_HEADINGS = (
    "work",
    "form",
    "padding efficiency",
    "useful GFLOP",
    "seconds",
    "wall s",
    "useful GFLOP/s",
    "share of the square product's",
    "share of the controller's",
    "compile s",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        population_size: individuals, drawn from the default bounds.
        batch_size: episodes that every individual sees, and rows of the controller's product.
        length: vectors to copy; an episode has `2*length + 1` steps.
        buckets: numbers of size buckets to try, besides none.
        square: side of the square matrices.
        units: sizes K = H of the controller's product, [batch, K] x [K, 4 H].
        rounds: timed rounds.
        quick: 5 small individuals, small products.
        out: JSON file for the figures.
    """

    population_size: int = 50
    batch_size: int = 16
    length: int = 10
    buckets: tuple[int, ...] = (12,)
    square: int = 2048
    units: tuple[int, ...] = (160, 256, 400)
    rounds: int = 5
    quick: bool = False
    out: Path | None = None


def square_product(size: int) -> tuple[float, Program]:
    """One large square product: its operations, and the program."""
    left, right = jax.random.normal(jax.random.key(0), (2, size, size))
    return 2.0 * size**3, prepare(jnp.matmul, left, right)


def controller_product(batch: int, units: int, count: int = 1000) -> tuple[float, Program]:
    """The controller's product for `count` steps: the same weights, other rows."""
    key_rows, key_weights = jax.random.split(jax.random.key(0))
    rows = jax.random.normal(key_rows, (count, batch, units))
    weights = jax.random.normal(key_weights, (units, 4 * units))

    def total(rows: jax.Array, weights: jax.Array) -> jax.Array:
        start = jnp.zeros((batch, 4 * units))
        return jax.lax.scan(lambda so_far, row: (so_far + row @ weights, None), start, rows)[0]

    return 8.0 * batch * units**2 * count, prepare(total, rows, weights)


def useful_flop(multiply_adds_a_step: float, steps: int, batch_size: int, forwards: int) -> float:
    """Operations at the networks' real sizes: two for a multiply-add, every step of every episode."""
    return 2.0 * multiply_adds_a_step * steps * batch_size * forwards


def works(settings: Settings) -> tuple[list[tuple[float, Case]], dict[str, float]]:
    """Forward passes and training steps in every form, with their operations; and the forms' padding efficiency."""
    bounds = SMALL if settings.quick else CLASSIC
    task = etm_tasks.make("copy", bits=BITS, min_length=settings.length, max_length=settings.length)
    population, episode = drawn(task, bounds, settings.population_size, settings.batch_size)
    cases, efficiencies = jax_cases(population, episode, task, bounds, settings.buckets)
    needed = float(jnp.sum(multiply_adds(population.architecture, task.input_size, task.output_size)))
    steps = episode.inputs.shape[1]
    found = [(useful_flop(needed, steps, settings.batch_size, FORWARDS[case.work]), case) for case in cases]
    return found, efficiencies


def figures(work: str, name: str, flop: float, cost: Cost) -> dict[str, Any]:
    """Operations and their rate beside what they cost."""
    return {"work": work, "name": name, "flop": flop, "flop_per_s": flop / cost.seconds, **asdict(cost)}


def with_shares(measured: list[dict[str, Any]], square: float, controller: float) -> list[dict[str, Any]]:
    """The figures of useful work, and what of the two measured rates it reaches."""
    return [
        row | {"of_square": row["flop_per_s"] / square, "of_controller": row["flop_per_s"] / controller}
        for row in measured
    ]


def text(names: tuple[str, ...], row: dict[str, Any], *columns: str) -> tuple[str, ...]:
    """A line of a table: names, then figures; rates in 10^9 operations a second."""
    units = {"flop": 1e9, "flop_per_s": 1e9}
    return (*names, *(f"{row[column] / units.get(column, 1):.3g}" for column in columns))


def verdicts(measured: list[dict[str, Any]]) -> list[str]:
    """For each work what XLA's best form and the native kernel reach of the square product's rate."""
    found = []
    for work in FORWARDS:
        for native, targets in ((False, TARGETS), (True, NATIVE_TARGETS)):
            rows = [row for row in measured if row["work"] == work and (row["name"] == NATIVE) == native]
            if rows:
                row, target = max(rows, key=lambda row: row["of_square"]), targets[work]
                verdict = "reached" if row["of_square"] >= target else "missed"
                share = f"{row['of_square']:.3f} of the square product's rate"
                found.append(f"{work}: {share}, {row['name']}; target {target} {verdict}")
    return found


def main(settings: Settings) -> None:
    """Measure, and print or save what was measured."""
    pin(1)
    if settings.quick:
        settings = replace(settings, population_size=5, square=256, units=(32, 64), rounds=1, buckets=())
    where = context()
    products = {f"[{settings.square}, {settings.square}] x the same": square_product(settings.square)}
    for units in settings.units:
        name = f"[{settings.batch_size}, {units}] x [{units}, {4 * units}]"
        products[name] = controller_product(settings.batch_size, units)
    useful, efficiencies = works(settings)
    time_rounds([*(program.case for _, program in products.values()), *(case for _, case in useful)], settings.rounds)
    rates = [figures("product", name, flop, program.cost()) for name, (flop, program) in products.items()]
    best = max(row["flop_per_s"] for row in rates[1:])
    found = [figures(case.work, case.name, flop, Program(case, 1, None).cost()) for flop, case in useful]
    found = with_shares(found, rates[0]["flop_per_s"], best)

    print(f"{where}\nseconds are CPU seconds on a CPU, wall seconds elsewhere\n")
    lines = [text((row["name"],), row, "flop", "seconds", "flop_per_s", "compile_s") for row in rates]
    print(markdown(RATE_HEADINGS, lines), end="\n\n")
    columns = ("flop", "seconds", "wall_s", "flop_per_s", "of_square", "of_controller", "compile_s")
    lines = [
        text((row["work"], row["name"], f"{efficiencies[row['name']]:.3f}"), row, *columns)
        for row in sorted(found, key=lambda row: row["work"])
    ]
    print(markdown(WORK_HEADINGS, lines), end="\n\n")
    print("\n".join(verdicts(found)))
    targets = {"xla": TARGETS, "native": NATIVE_TARGETS}
    save(settings, context=where, padding_efficiency=efficiencies, targets=targets, rates=rates, works=found)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
