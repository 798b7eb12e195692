"""The prior work's table, row for row: parameters, seconds and accuracy on fresh episodes, over several seeds.

`python -m bench.prior_work --rows copy parity --seeds 1 2 3 --out FOLDER` trains each (in `runs/`), and keeps one JSON
file for each of them in the folder; what is there is not trained again. The table is made of all files in it.
`--quick` checks that it works. Results: bench/README.md.
"""

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tasks"))

from bench._measure import markdown
from bench.prior_work._rows import ROWS
from bench.prior_work._train import measure
from etm_jax.parallel import use_compile_cache

HEADINGS = ("row", "prior", "ours", "weights, prior", "ours", "minutes, prior", "ours", "accuracy, prior", "ours")
QUICK = ("parity", "vocab_copy")
QUICK_FLAGS = ["--steps", "2", "--steps-per-chunk", "2", "--batch-size", "2", "--score-episodes", "2"]


@dataclass(frozen=True)
class Settings:
    """What to train.

    Attributes:
        rows: names of rows; none for the table only, of what is in the folder.
        all: all rows.
        seeds: a run each; the settings were found on seed 0.
        minutes: wall time of a run, after which it is stopped and examined as it is.
        runs: folder of the run folders.
        quick: two rows, two steps.
        out: folder of the JSON files.
    """

    rows: tuple[str, ...] = ()
    all: bool = False
    seeds: tuple[int, ...] = (1, 2, 3)
    minutes: float = 15.0
    runs: Path = Path("runs/prior_work")
    quick: bool = False
    out: Path = Path("bench/prior_work/results")


def found_in(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What was measured, by row, in the order of the seeds; rows with the same settings share their networks."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    found = {name: [each for each in results if each["config"] == row.config] for name, row in ROWS.items()}
    return {name: sorted(runs, key=lambda run: run["seed"]) for name, runs in found.items() if runs}


def line(name: str, results: list[dict[str, Any]]) -> tuple[str, ...]:
    """One row of the table; of several seeds the mean and, in brackets, each."""
    row = ROWS[name]
    prior, genes = row.prior, results[0]["architecture"]
    first = next(iter(row.exams))
    scores = [result["exams"][first][row.measure] for result in results]
    minutes = [result["seconds"]["total"] / 60 for result in results]
    return (
        name,
        prior.network,
        f"{genes['memory']} {genes['num_slots']}x{genes['slot_width']}, "
        f"{genes['controller']} {genes['controller_size']}",
        "" if prior.parameters is None else f"{prior.parameters:,}",
        f"{results[0]['num_parameters']:,}",
        prior.minutes if prior.parameters else "",
        f"{statistics.mean(minutes):.1f} ({', '.join(f'{each:.1f}' for each in minutes)})",
        "" if prior.accuracy is None else f"{prior.accuracy:g}",
        f"**{statistics.mean(scores):.4g}** ({', '.join(f'{each:.4g}' for each in scores)}), {row.measure}, {first}",
    )


def longer(name: str, results: list[dict[str, Any]]) -> tuple[str, ...]:
    """Accuracy on every exam, a seed after the other."""
    exams = (
        f"{label}: {', '.join(format(result['exams'][label][ROWS[name].measure], '.3g') for result in results)}"
        for label in ROWS[name].exams
    )
    return (name, ROWS[name].measure, "; ".join(exams))


def main(settings: Settings) -> None:
    """Train what is asked for, and print the table of all that is there.

    Raises:
        SystemExit: a row is unknown, or a training failed.
    """
    if unknown := sorted(set(settings.rows) - set(ROWS)):
        raise SystemExit(f"unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    use_compile_cache("auto")
    names = QUICK if settings.quick else tuple(ROWS) if settings.all else settings.rows
    runs = settings.out / "runs" if settings.quick else settings.runs
    flags, seeds = (QUICK_FLAGS, (0,)) if settings.quick else ([], settings.seeds)
    settings.out.mkdir(parents=True, exist_ok=True)
    for row in (ROWS[name] for name in names):
        for seed in seeds:
            run = f"{row.config}-{seed}"
            path = settings.out / f"{run}.json"
            if not path.exists():
                result = measure(row, seed, runs / run, settings.minutes, flags)
                path.write_text(json.dumps(result, indent=2) + "\n")
    found = found_in(settings.out)
    print(markdown(HEADINGS, [line(name, results) for name, results in found.items()]))
    print()
    print(markdown(("row", "score", "on exactly, a seed each"), [longer(*item) for item in found.items()]))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
