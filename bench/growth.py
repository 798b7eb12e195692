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
from bench._work import BITS, FORWARD, IN_TURN, NATIVE, SMALL, TRAINING, Form, drawn, forward_pass, training_steps
from etm_jax.networks import Bounds
from etm_jax.networks.native import why_not

TARGETS = {IN_TURN: 1.3, NATIVE: 1.15}  # the most that seconds or bytes a unit may grow with a doubling, by form
REMATERIALISED = f"{TRAINING}, rematerialised"
UNITS = {"population": "individual", "slots": "slot", "length": "step"}
HEADINGS = (
    "seconds",
    "seconds a unit",
    "x a doubling",
    "MiB",
    "bytes a unit",
    "x a doubling",
    "within the target",
    "peak RSS MiB",
    "compile s",
)
LONGEST, MOST_BYTES = "largest network", 4 * 2**30  # a training step by the native kernel, and the memory it must fit

Series = tuple[str, str, str]  # axis, work and form


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        populations: individuals of small bounds.
        slots: slots of each of a few networks of one shape.
        lengths: vectors to copy, for a few networks of one shape; an episode has `2*length + 1` steps.
        batch_size: episodes that every individual sees.
        rounds: timed rounds.
        longest: slots, and vectors to copy, of the largest network whose memory is measured, by the native kernel.
        xla: measure XLA's form, too, whose compiling takes most of the time.
        quick: one or two tiny sizes of each.
        out: JSON file for the figures.
        figure: PNG file for a figure; needs matplotlib.
    """

    populations: tuple[int, ...] = (50, 150, 500, 1500, 5000)
    slots: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    lengths: tuple[int, ...] = (10, 20, 50, 100, 200, 500, 1000)
    longest: tuple[int, int] = (1024, 500)
    batch_size: int = 16
    rounds: int = 5
    xla: bool = True
    quick: bool = False
    out: Path | None = None
    figure: Path | None = None


@dataclass(frozen=True)
class Point:
    """One size to measure.

    Attributes:
        axis: what grows.
        work: what is measured, in each of the forms.
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


def largest(slots: int) -> Bounds:
    """A network as large as the default bounds allow, but for its slots."""
    return Bounds((slots, slots), (64, 64), (4, 4), (3, 3), (256, 256), addressing=("content_and_location",))


def points(settings: Settings) -> list[Point]:
    """Every size of every axis, the works of an axis one after the other, and the largest network."""
    plain = (FORWARD, TRAINING)
    slots, length = settings.longest
    return [
        *(Point("population", work, size, size, SMALL, 10) for work in plain for size in settings.populations),
        *(Point("slots", work, slots, 4, one_shape(slots), 10) for work in plain for slots in settings.slots),
        *(
            Point("length", work, 2 * length + 1, 4, one_shape(64), length)
            for work in (*plain, REMATERIALISED)
            for length in settings.lengths
        ),
        Point(LONGEST, TRAINING, 2 * length + 1, 1, largest(slots), length),
    ]


def forms(point: Point) -> list[Form]:
    """The forms that make sense, of which the native kernel comes first where there is one.

    The kernel decides by itself what it computes again. It alone runs the largest network.
    """
    bounds = (point.bounds,)
    xla = Form(IN_TURN, bounds, rematerialise=point.work == REMATERIALISED)
    if point.work == REMATERIALISED or why_not(point.bounds.spec):
        return [] if point.axis == LONGEST else [xla]
    native = Form(NATIVE, bounds, native=True)
    return [native] if point.axis == LONGEST else [native, xla]


def measure(point: Point, batch_size: int, rounds: int, xla: bool = True) -> list[dict[str, Any]]:
    """Costs of one size in every form, or in the native kernel's alone, timed in turn, and this process' peak memory.

    That is true of the form that comes first, which needs less than XLA and its compiler do. What the kernel allocates
    within a call, for one individual, is in this memory but not in `program_bytes`, which are the compiler's.
    """
    pin(1)
    task = etm_tasks.make("copy", bits=BITS, min_length=point.length, max_length=point.length)
    population, episode = drawn(task, point.bounds, point.population_size, batch_size)
    found, programs, peaks = [form for form in forms(point) if form.native or xla], [], []
    for form in found:
        if point.work == FORWARD:
            function, arguments = forward_pass(population, episode, form)
        else:
            function, arguments = training_steps(population, task, batch_size, form)
        programs.append(prepare(function, *arguments))
        peaks.append(peak_rss_bytes())
    about = {"axis": point.axis, "work": point.work, "units": point.units}
    return [
        {"form": form.name, **about, **asdict(cost), "rss": peak}
        for form, cost, peak in zip(found, costs_of(programs, rounds), peaks, strict=True)
    ]


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
    """The rows of one axis, work and form, each with its growth since the size before it and whether that is within."""
    units = [row["units"] for row in rows]
    factors = {name: [None, *growth(units, [row[name] for row in rows])] for name in ("seconds", "program_bytes")}
    found = []
    for index, row in enumerate(rows):
        seconds, size = (factors[name][index] for name in ("seconds", "program_bytes"))
        known = [factor for factor in (seconds, size) if factor is not None]
        within = max(known) <= TARGETS[row["form"]] if known else None
        found.append(row | {"seconds_growth": seconds, "bytes_growth": size, "within": within})
    return found


def by_series(rows: list[dict[str, Any]]) -> dict[Series, list[dict[str, Any]]]:
    """The rows of each axis, work and form, in order."""
    found: dict[Series, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["axis"], row["work"], row["form"]), []).append(row)
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


def sentence(series: Series, rows: list[dict[str, Any]]) -> str:
    """Where the growth is more than it may be."""
    target, name = TARGETS[series[2]], ", ".join(series)
    broken = [
        f"{before['units']} to {row['units']}" for before, row in itertools.pairwise(rows) if row["within"] is False
    ]
    if all(row["within"] is None for row in rows):
        return f"{name}: nothing to compare"
    return f"{name}: " + (f"more than {target}x from {', '.join(broken)}" if broken else f"within {target}x")


def fits(row: dict[str, Any], slots: int) -> str:
    """Whether the largest network's training step fits into the memory it must fit into."""
    what = f"{LONGEST}, {row['units']} steps of {slots} slots, {row['work']}, {row['form']}"
    if row["rss"] is None:
        return f"{what}: the system does not say how much memory it takes"
    verdict = "fits" if row["rss"] <= MOST_BYTES else "does NOT fit"
    most = MOST_BYTES / 2**30
    return f"{what}: {row['rss'] / 2**30:.2f} GiB, {row['cpu_s']:.1f} CPU s: {verdict} into {most:.0f} GiB"


def draw(groups: dict[Series, list[dict[str, Any]]], path: Path) -> None:
    """Seconds and bytes a unit over the units, a column an axis; level lines are growth in proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, len(UNITS), squeeze=False)
    for column, (axis, unit) in enumerate(UNITS.items()):
        for panel, name in zip(panels[:, column], ("seconds", "program_bytes"), strict=True):
            for (where, work, form), rows in groups.items():
                known = [(row["units"], row[name] / row["units"]) for row in rows if row[name] is not None]
                if where == axis and known:
                    panel.plot(*zip(*known, strict=True), "o-", ms=3, label=f"{work}: {form}")
            panel.set(xscale="log", yscale="log", xlabel=f"{unit}s", ylabel=f"{name.removeprefix('program_')} / {unit}")
            if panel.lines:
                panel.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def main(settings: Settings) -> None:
    """Measure, and print, draw or save what was measured."""
    if settings.quick:
        settings = replace(
            settings, populations=(2, 4), slots=(8,), lengths=(3,), longest=(16, 5), batch_size=2, rounds=1
        )
    rows = []
    for point in points(settings):
        if not settings.xla and point.work == REMATERIALISED:
            continue
        print(f"{point.work}, {point.axis} {point.units}", flush=True)
        rows += in_fresh_process(measure, point, settings.batch_size, settings.rounds, settings.xla)
    longest = [row for row in rows if row["axis"] == LONGEST]
    groups = {key: with_growth(group) for key, group in by_series(rows).items() if key[0] != LONGEST}

    pin(1)
    where = context()
    print(f"{where}\nseconds are CPU seconds on a CPU, wall seconds elsewhere; one device\n")
    for (axis, work, form), group in groups.items():
        headings = (f"{work}, {form}: {UNITS[axis]}s", *HEADINGS)
        print(markdown(headings, [line(row) for row in group]), end="\n\n")
    print("\n".join(sentence(series, group) for series, group in groups.items()))
    print("\n".join(fits(row, settings.longest[0]) for row in longest))
    shown = [row for group in groups.values() for row in group]
    save(settings, context=where, targets=TARGETS, rows=shown, longest=longest)
    if settings.figure:
        draw(groups, settings.figure)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
