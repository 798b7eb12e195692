"""A figure of an experiment's curves."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bench.ae._finding import Finding

SMOOTH = 20  # steps of the running mean; fewer for a curve that is shorter
BESIDE = 12  # with more curves than this the legend stands beside the panel, where it covers none


def draw(found: Finding, path: Path) -> None:
    """Curves over steps on a log scale, each at the last step of its running mean; ours in colour, others in grey."""
    beside = len(found.curves) > BESIDE
    figure = Figure(figsize=(9.5 if beside else 7, 4), layout="constrained")
    axes = figure.subplots()
    theirs = [name for name in found.curves if not name.startswith("ae_")]
    for name, values in found.curves.items():
        window = min(SMOOTH, len(values))
        curve = np.convolve(np.asarray(values), np.ones(window) / window, "valid")
        steps = np.arange(window, len(values) + 1)
        if name in theirs:
            shade = 0.2 + 0.6 * theirs.index(name) / len(theirs)
            axes.plot(steps, curve, label=name, lw=1.0, color=str(shade))
        else:
            axes.plot(steps, curve, label=name, lw=1.6)
    axes.set(xlabel=f"step (mean of the last {SMOOTH})", ylabel=found.curve_of, yscale="log")
    if beside:
        axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(fontsize=6, ncols=2)
    figure.savefig(path, dpi=120)
