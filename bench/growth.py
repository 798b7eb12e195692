"""How do seconds and bytes grow with the population, the slots of a memory and the length of a sequence?

`python -m bench.growth --out FILE.json --figure FILE.png`; `--quick` checks that it works. Results: bench/README.md.
"""

import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._measure import costs_of, in_fresh_process, markdown, peak_rss_bytes, prepare, save
from bench._work import drawn, forward_pass, training_step
from bench.population import BITS, FORWARD, SMALL, TRAINING
from etm_jax.networks import Bounds

TARGET = 1.3  # the most that seconds or bytes a unit may grow with a doubling
REMATERIALISED = f"{TRAINING}, rematerialised"
UNITS = {"population": "individual", "slots": "slot", "length": "step"}
HEADINGS = (
    "seconds",
    "seconds a unit",
    "x a doubling",
    "MiB",
    "bytes a unit",
    "x a doubling",
    f"within {TARGET}x",
    "peak RSS MiB",
    "compile s",
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        populations: individuals of small bounds.
        slots: slots of each of a few networks of one shape.
        lengths: vectors to copy, for a few networks of one shape; an episode has `2*length + 1` steps.
        batch_size: episodes that every individual sees.
        rounds: timed rounds.
        quick: one or two tiny sizes of each.
        out: JSON file for the figures.
        figure: PNG file for a figure; needs matplotlib.
    """

    populations: tuple[int, ...] = (50, 150, 500, 1500, 5000)
    slots: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    lengths: tuple[int, ...] = (10, 20, 50, 100, 200, 500, 1000)
    batch_size: int = 16
    rounds: int = 5
    quick: bool = False
    out: Path | None = None
    figure: Path | None = None


@dataclass(frozen=True)
class Point:
    """One size to measure.

    Attributes:
        axis: what grows.
        work: what is measured.
        units: how much of what grows: individuals, slots or steps.
        population_size: individuals.
        bounds: their search space.
        length: vectors to copy.
    """

    axis: str
    work: str
    units: int
    population_size: int
    bounds: Bounds
    length: int


def one_shape(slots: int) -> Bounds:
    """Networks that differ in nothing but their weights."""
    return Bounds((slots, slots), (16, 16), (1, 1), (1, 1), (64, 64), addressing=("content_and_location",))


def points(settings: Settings) -> list[Point]:
    """Every size of every axis, the works of an axis one after the other."""
    plain = (FORWARD, TRAINING)
    return [
        *(Point("population", work, size, size, SMALL, 10) for work in plain for size in settings.populations),
        *(Point("slots", work, slots, 4, one_shape(slots), 10) for work in plain for slots in settings.slots),
        *(
            Point("length", work, 2 * length + 1, 4, one_shape(64), length)
            for work in (*plain, REMATERIALISED)
            for length in settings.lengths
        ),
    ]


def measure(point: Point, batch_size: int, rounds: int) -> dict[str, Any]:
    """Costs of one size, and the most memory that this process held for it."""
    pin(1)
    task = etm_tasks.make("copy", bits=BITS, min_length=point.length, max_length=point.length)
    population, episode = drawn(task, point.bounds, point.population_size, batch_size)
    if point.work == FORWARD:
        function, arguments = forward_pass(population, episode, point.bounds)
    else:
        function, arguments = training_step(population, episode, task, point.bounds, point.work == REMATERIALISED)
    (cost,) = costs_of([prepare(function, *arguments)], rounds)
    return {"axis": point.axis, "work": point.work, "units": point.units, **asdict(cost), "rss": peak_rss_bytes()}


def growth(units: Sequence[int], amounts: Sequence[float | None]) -> list[float | None]:
    """By what factor an amount for one unit grows with a doubling of the units, between each size and the next.

    Between sizes that differ by another factor it is the factor that, once for every doubling, would give the same.
    1 is an amount in proportion to the units. None where an amount is unknown.
    """
    found: list[float | None] = []
    for index in range(1, len(units)):
        before, after = amounts[index - 1], amounts[index]
        if before is None or after is None:
            found.append(None)
        else:
            factor = (after / units[index]) / (before / units[index - 1])
            found.append(factor ** (1 / math.log2(units[index] / units[index - 1])))
    return found


def with_growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one work and axis, each with its growth since the size before it and whether that is within."""
    units = [row["units"] for row in rows]
    factors = {name: [None, *growth(units, [row[name] for row in rows])] for name in ("seconds", "program_bytes")}
    found = []
    for index, row in enumerate(rows):
        seconds, size = (factors[name][index] for name in ("seconds", "program_bytes"))
        known = [factor for factor in (seconds, size) if factor is not None]
        within = max(known) <= TARGET if known else None
        found.append(row | {"seconds_growth": seconds, "bytes_growth": size, "within": within})
    return found


def by_work(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The rows of each axis and work, in order."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["axis"], row["work"]), []).append(row)
    return found


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of a table."""

    def text(value: float | None, unit: float = 1) -> str:
        return "" if value is None else f"{value / unit:.3g}"

    size, units = row["program_bytes"], row["units"]
    verdict = {None: "", True: "yes", False: "NO"}[row["within"]]
    return (
        str(units),
        text(row["seconds"]),
        text(row["seconds"] / units),
        text(row["seconds_growth"]),
        text(size, 2**20),
        text(size, units),
        text(row["bytes_growth"]),
        verdict,
        text(row["rss"], 2**20),
        text(row["compile_s"]),
    )


def sentence(axis: str, work: str, rows: list[dict[str, Any]]) -> str:
    """Where the growth is more than it may be."""
    broken = [
        f"{before['units']} to {row['units']}" for before, row in itertools.pairwise(rows) if row["within"] is False
    ]
    if all(row["within"] is None for row in rows):
        return f"{axis}, {work}: nothing to compare"
    return f"{axis}, {work}: " + (f"more than {TARGET}x from {', '.join(broken)}" if broken else f"within {TARGET}x")


def draw(groups: dict[tuple[str, str], list[dict[str, Any]]], path: Path) -> None:
    """Seconds and bytes a unit over the units, a column an axis; level lines are growth in proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, len(UNITS), squeeze=False)
    for column, (axis, unit) in enumerate(UNITS.items()):
        for panel, name in zip(panels[:, column], ("seconds", "program_bytes"), strict=True):
            for (where, work), rows in groups.items():
                known = [(row["units"], row[name] / row["units"]) for row in rows if row[name] is not None]
                if where == axis and known:
                    panel.plot(*zip(*known, strict=True), "o-", ms=3, label=work)
            panel.set(xscale="log", yscale="log", xlabel=f"{unit}s", ylabel=f"{name.removeprefix('program_')} / {unit}")
            if panel.lines:
                panel.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def main(settings: Settings) -> None:
    """Measure, and print, draw or save what was measured."""
    if settings.quick:
        settings = replace(settings, populations=(2, 4), slots=(8,), lengths=(3,), batch_size=2, rounds=1)
    rows = []
    for point in points(settings):
        print(f"{point.work}, {point.axis} {point.units}", flush=True)
        rows.append(in_fresh_process(measure, point, settings.batch_size, settings.rounds))
    groups = {key: with_growth(group) for key, group in by_work(rows).items()}

    pin(1)
    where = context()
    print(f"{where}\nseconds are CPU seconds on a CPU, wall seconds elsewhere; one device\n")
    for (axis, work), group in groups.items():
        print(markdown((f"{work}: {UNITS[axis]}s", *HEADINGS), [line(row) for row in group]), end="\n\n")
    print("\n".join(sentence(axis, work, group) for (axis, work), group in groups.items()))
    save(settings, context=where, target=TARGET, rows=[row for group in groups.values() for row in group])
    if settings.figure:
        draw(groups, settings.figure)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
