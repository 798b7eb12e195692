"""How much memory does a training step of one network need, with and without recomputing what its backward pass reads?

`python -m bench.memory --out FILE.json`; `--quick` checks that it works. Results: bench/README.md.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._measure import costs_of, in_fresh_process, markdown, peak_rss_bytes, prepare, save
from bench._work import IN_TURN, Form, drawn, training_steps
from etm_jax.training import NetworkConfig

HEADINGS = ("memory", "rematerialised", "program MiB", "peak RSS MiB", "CPU s a step", "compile s")


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        cells: kinds of memory.
        num_slots: slots of it.
        slot_width: numbers in a slot.
        batch_size: sequences.
        length: vectors to copy; an episode has `2*length + 1` steps.
        rounds: timed rounds.
        quick: a tiny network.
        out: JSON file for the figures.
    """

    cells: tuple[str, ...] = ("ntm", "tape", "dnc")
    num_slots: int = 256
    slot_width: int = 64
    batch_size: int = 16
    length: int = 40
    rounds: int = 5
    quick: bool = False
    out: Path | None = None


def measure(settings: Settings, cell: Any, rematerialise: bool) -> dict[str, Any]:
    """Costs of a training step, and the most memory that this process held for it."""
    pin(1)
    bounds = NetworkConfig(
        cell=cell, num_slots=settings.num_slots, slot_width=settings.slot_width, controller_size=100
    ).bounds
    task = etm_tasks.make("copy", min_length=settings.length, max_length=settings.length)
    population, _ = drawn(task, bounds, 1, settings.batch_size)
    form = Form(IN_TURN, (bounds,), rematerialise=rematerialise)
    function, arguments = training_steps(population, task, settings.batch_size, form)
    (cost,) = costs_of([prepare(function, *arguments)], settings.rounds)
    return {"cell": cell, "rematerialised": rematerialise, **asdict(cost), "rss": peak_rss_bytes()}


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""

    def mebibytes(size: int | None) -> str:
        return "" if size is None else f"{size / 2**20:.0f}"

    return (
        row["cell"],
        "yes" if row["rematerialised"] else "no",
        mebibytes(row["program_bytes"]),
        mebibytes(row["rss"]),
        f"{row['cpu_s']:.3f}",
        f"{row['compile_s']:.1f}",
    )


def main(settings: Settings) -> None:
    """Measure each kind of memory in processes of its own, print a table, and save the figures if asked."""
    if settings.quick:
        settings = Settings(("ntm",), 8, 4, 2, 3, 1, quick=True, out=settings.out)
    rows = [
        in_fresh_process(measure, settings, cell, rematerialise)
        for cell in settings.cells
        for rematerialise in (False, True)
    ]
    print(markdown(HEADINGS, [line(row) for row in rows]))
    save(settings, context=context(), rows=rows)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
