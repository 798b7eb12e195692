"""Run benchmarks one after the other, each in a process of its own, and gather what they found.

`python -m bench.run --all --quick` checks that all of them work; `python -m bench.run tpu population` runs some.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._context import ROOT, context


@dataclass(frozen=True)
class Bench:
    """A benchmark: `python -m bench.NAME` with `--quick` and `--out`.

    Attributes:
        question: what it answers.
        out: what `--out` names, `file` for a JSON file or `folder`.
    """

    question: str
    out: str = "file"


BENCHES = {
    "population": Bench("How fast is one JAX call for a population of many shapes, against a PyTorch loop?"),
    "pytorch_ntm": Bench(
        "How many CPU seconds does a network of Graves' shape take to learn to copy, beside pytorch-ntm's recipe?"
    ),
    "padding": Bench("What share of the multiply-adds that a population executes do its networks need?"),
    "tpu": Bench("What would a generation cost on a TPU, and what is the largest population that fits?"),
    "roofline": Bench("What share of the machine's own rate of matrix products does useful work reach?"),
    "growth": Bench(
        "How do seconds and bytes grow with the population, the slots of a memory and the length of a sequence?"
    ),
    "scaling": Bench("How does a generation scale over devices?"),
    "compile": Bench("How many programs does a run compile, and what share of its time is that?"),
    "peers": Bench("How fast are ask and tell, beside the genetic algorithms of evosax and QDax?"),
    "memory": Bench("How much memory does a training step of one network need, with and without recomputing?"),
    "emergent": Bench("How many genomes of the automaton EM-43 run in a second, packed into bits and cell by cell?"),
    "automata": Bench("Which functions of numbers does the evolution of automata find?"),
    "control": Bench("Which models balance a pole or drive a car on tracks never seen, with and without memory?"),
    "search": Bench("Which way of searching finds what, at equal evaluations?"),
    "architecture": Bench("Does evolving an architecture pay, at equal CPU seconds?", out="folder"),
    "quality_diversity": Bench("Does MAP-Elites keep what QDax's keeps, and how long does a batch take to come in?"),
    "graphs": Bench("Does NEAT solve XOR and parity, how fast beside neat-python, and what do limits cost?"),
    "evolved_ntm": Bench("Does NEAT find a Turing machine that copies, and does it copy what is longer and wider?"),
    "graph_maze": Bench("Does NEAT find a graph that remembers a cue, by a tape or by its own loops?"),
    "double_t_maze": Bench("Does an evolution strategy teach a network to search again when the reward has moved?"),
    "prior_work": Bench("What do networks trained here reach, beside the prior work's table?", out="folder"),
    "ae": Bench("Does adaptive evolution help, and where does it not?", out="folder"),
}
HEADINGS = ("benchmark", "question", "result", "CPU s", "wall s", "log")


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        names: benchmarks, in this order.
        all: all of them.
        quick: tiny sizes: do they work?
        out: folder for logs, figures and the table.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    all: bool = False
    quick: bool = False
    out: Path = Path("runs/bench")


def unregistered() -> list[str]:
    """Benchmarks in the folder that the registry lacks."""
    folder = Path(__file__).parent
    scripts = {path.stem for path in folder.glob("[!_]*.py")} - {Path(__file__).stem}
    packages = {path.parent.name for path in folder.glob("*/__main__.py")}
    return sorted((scripts | packages) - set(BENCHES))


def chosen(settings: Settings) -> tuple[str, ...]:
    """The names to run.

    Raises:
        SystemExit: a name is unknown, none is given, or a benchmark is missing from the registry.
    """
    known = ", ".join(BENCHES)
    if forgotten := unregistered():
        raise SystemExit(f"bench/ has {', '.join(forgotten)}, which BENCHES in bench/run.py lacks; add them")
    if unknown := [name for name in settings.names if name not in BENCHES]:
        raise SystemExit(f"unknown benchmarks {', '.join(unknown)}; there are {known}")
    if bool(settings.names) == settings.all:
        raise SystemExit(f"give names, of {known}, or --all")
    return tuple(BENCHES) if settings.all else settings.names


def run(name: str, quick: bool, out: Path) -> dict[str, Any]:
    """Run one benchmark; its output goes to `NAME.log`, its figures to `NAME.json` or the folder `NAME`."""
    bench, log = BENCHES[name], out / f"{name}.log"
    figures = out / (f"{name}.json" if bench.out == "file" else name)
    command = [sys.executable, "-m", f"bench.{name}", "--out", str(figures), *(["--quick"] if quick else [])]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with log.open("w") as file:
        status = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"name": name, "status": status, "cpu_s": cpu, "wall_s": wall, "log": log.name, "figures": figures.name}


def table(results: list[dict[str, Any]]) -> str:
    """One line a benchmark, in Markdown."""

    def line(result: dict[str, Any]) -> tuple[str, ...]:
        outcome = "ran" if result["status"] == 0 else f"FAILED, exit status {result['status']}"
        seconds = (f"{result['cpu_s']:.0f}", f"{result['wall_s']:.0f}")
        return (result["name"], BENCHES[result["name"]].question, outcome, *seconds, result["log"])

    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(line, results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def main(settings: Settings) -> None:
    """Run, print the table, write it beside the logs, and fail if a benchmark failed."""
    names, out = chosen(settings), settings.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in names:
        print(f"{name}: {BENCHES[name].question}", flush=True)
        results.append(run(name, settings.quick, out))
        if results[-1]["status"]:
            print("\n".join((out / results[-1]["log"]).read_text().splitlines()[-20:]), flush=True)
    text = table(results)
    print(f"\n{text}\nLogs and figures: {out}")
    (out / "run.md").write_text(text)
    about = {"context": context(), "quick": settings.quick, "results": results}
    questions = {name: asdict(BENCHES[name]) for name in names}
    (out / "run.json").write_text(json.dumps(about | {"benches": questions}, indent=2) + "\n")
    if any(result["status"] for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
