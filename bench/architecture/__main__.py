"""Does evolving an architecture pay, at equal CPU seconds and an equal choice of the network?

`python -m bench.architecture --seeds 101 102 103 104 105 --out FOLDER` lets every contender evolve or train on every
task for `--budget` CPU seconds a seed. An evolution or a restarted training ends before that where its network makes no
mistake on the validation episodes, since no other could be chosen any more. A run has a process and one core of its
own, and its JSON file in the folder; what is there is not run again. The tables and the figure are made of all files in
it. `--quick` checks in a minute that it works. To run on a certain core, put `taskset -c CORE` before the command.
Results: bench/README.md.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tasks"))

from bench._context import commit
from bench._measure import in_fresh_process
from bench.architecture._contenders import DEVELOPMENT, REPORTED, TASKS, Plan, ablations, contenders
from bench.architecture._search import measure
from bench.architecture._summary import draw, tables

QUICK = ("evolved", "graves", "random_search")


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        tasks: names of tasks; none for the tables only, of what is in the folder.
        contenders: names of contenders, or of ablations.
        seeds: a run each; settings are found on 0 to 9, results are of 101 to 105.
        budget: CPU seconds of evolving or training that each run gets.
        quick: one task, three contenders, tiny sizes.
        out: folder of the JSON files, the tables and the figure.
    """

    tasks: tuple[str, ...] = tuple(TASKS)
    contenders: tuple[str, ...] = tuple(contenders())
    seeds: tuple[int, ...] = DEVELOPMENT[:1]
    budget: float = 120.0
    quick: bool = False
    out: Path = Path("runs/architecture")

    @property
    def plans(self) -> list[Plan]:
        """The runs; seeds are outermost, so that what is there early holds all contenders."""
        sizes: dict[str, Any] = {"validation": 8, "held_out": 16, "quick": True} if self.quick else {}
        return [
            Plan(task, contender, seed, self.budget, **sizes)
            for seed in self.seeds
            for task in self.tasks
            for contender in self.contenders
        ]


def check(settings: Settings) -> None:
    """Refuse what is unknown, and reported seeds whose settings are in no commit.

    Raises:
        SystemExit: one of these.
    """
    for what, names, known in (
        ("tasks", settings.tasks, TASKS),
        ("contenders", settings.contenders, contenders() | ablations()),
    ):
        if unknown := [name for name in names if name not in known]:
            raise SystemExit(f"unknown {what} {', '.join(unknown)}; there are {', '.join(known)}")
    if not settings.budget > 0:
        raise SystemExit(f"--budget must be above 0 CPU seconds, got {settings.budget}")
    if (reported := set(settings.seeds) & set(REPORTED)) and commit().endswith("-dirty"):
        raise SystemExit(f"seeds {sorted(reported)} are for settings that are fixed; commit them first")


def kept(path: Path, plan: Plan) -> bool:
    """Whether a run is in the folder.

    Raises:
        SystemExit: it is, with other settings.
    """
    if not path.exists():
        return False
    if json.loads(path.read_text())["fingerprint"] != plan.fingerprint:
        raise SystemExit(f"{path} was measured with other settings; move it, or name another --out")
    return True


def main(settings: Settings) -> None:
    """Do the runs that are missing, then make the tables and the figure of all in the folder."""
    if settings.quick:
        tasks, names = settings.tasks[:1], tuple(name for name in settings.contenders if name in QUICK)
        settings = replace(settings, tasks=tasks, contenders=names, seeds=settings.seeds[:1], budget=2.0)
    check(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    for plan in settings.plans:
        path = settings.out / f"{plan.name}.json"
        if kept(path, plan):
            continue
        run = in_fresh_process(measure, plan)
        path.write_text(json.dumps(run, indent=2) + "\n")
        shares = ", ".join(f"{factor}x {scores[plan.what.score]:.3f}" for factor, scores in run["held_out"].items())
        print(f"{plan.name}: {shares}; CPU s {run['cpu_s']}, {run['counts']}", flush=True)
    runs = [json.loads(path.read_text()) for path in sorted(settings.out.glob("*-*.json"))]
    if not runs:
        raise SystemExit(f"there are no runs in {settings.out}; name tasks")
    text = tables(runs)
    (settings.out / "tables.md").write_text(text)
    print(f"\n{text}")
    draw(runs, settings.out / "front.png")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
