"""A figure of an experiment's curves."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bench.ae._finding import Finding

SMOOTH = 20  # steps of the running mean


def draw(found: Finding, path: Path) -> None:
    """Curves over steps on a log scale; ours in colour, the others in grey."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(found.curves.items()):
        curve = np.convolve(np.asarray(values), np.ones(SMOOTH) / SMOOTH, "valid")
        ours = name.startswith("ae_")
        axes.plot(curve, label=name, lw=1.6 if ours else 1.0, color=None if ours else str(0.2 + 0.08 * (index % 8)))
    axes.set(xlabel="step", ylabel=found.curve_of, yscale="log")
    axes.legend(fontsize=6, ncols=2)
    figure.savefig(path, dpi=120)
