"""Run experiments by their names: `python -m bench.ae A1 B4`, or all of them."""

import argparse
import importlib
import json
import time
from pathlib import Path

import jax.numpy as jnp

from bench._context import context
from bench.ae._figure import draw
from bench.ae._finding import Finding, table

EXPERIMENTS = {
    "A1": "static_regression",
    "A2": "digits",
    "A3": "language_model",
    "B4": "digits_drift",
    "B5": "digits_skew",
    "B6": "cartpole",
    "C7": "stale_gradients",
    "C8": "curvature",
    "D9": "batch_size",
    "D10": "loss_scale",
    "E11": "plateau",
    "F12": "coupling",
    "G13": "hyper_cliff",
    "H14": "gated_depth",
    "I15": "basis_selection",
    "J16": "families",
    "K17": "overhead",
    "L18": "knock_outs",
    "P3": "drift_regression",
}


def main() -> None:
    """Parse, run, print, and write JSON and figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.ae", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; all by default")
    parser.add_argument("--out", type=Path, help="folder for a JSON file and a figure of each experiment")
    parser.add_argument("--quick", action="store_true", help="two seeds and a few steps: does it work?")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"unknown experiments {', '.join(unknown)}; there are {', '.join(EXPERIMENTS)}")
    verdicts = []
    for name in arguments.names or EXPERIMENTS:
        module = importlib.import_module(f"bench.ae.{EXPERIMENTS[name]}")
        question = str(module.__doc__).splitlines()[0].partition(": ")[2]
        print(f"## {name}. {question}\n\nCriterion: {module.CRITERION}.\n")
        cpu = time.process_time()
        found: Finding = module.run(quick=arguments.quick)
        seconds = time.process_time() - cpu
        print(f"{table(found.rows)}\n\n**{found.verdict}**: {found.because} ({seconds:.0f} CPU s).\n", flush=True)
        verdicts.append(f"| {name} | {found.verdict} | {found.because} |")
        if arguments.out:
            save(arguments.out, name, found)
    print("| experiment | verdict | because |\n| --- | --- | --- |\n" + "\n".join(verdicts))


def save(folder: Path, name: str, found: Finding) -> None:
    """One JSON file with every number, and a figure if there are curves."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row.method: {key: jnp.asarray(value).tolist() for key, value in row.values.items()} for row in found.rows}
    about = {"verdict": found.verdict, "because": found.because, "rows": rows, "context": context()}
    (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    if found.curves:
        draw(found, folder / f"{name}.png")


if __name__ == "__main__":
    main()
