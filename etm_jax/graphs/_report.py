"""A picture of an evolved graph: who leads where, and how strongly."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etm_jax.environment import EnvironmentSuite
from etm_jax.graphs._evolved import EvolvedGraph
from etm_jax.report._draw import ACCENT, INK, MUTED, SECOND, to_svg
from etm_jax.report._section import Key, Section, counted
from etm_jax.report._trace import acting_sections, check_channels, played, trace_of

SIZE = (7.2, 4.8)  # inches


def sections(model: EvolvedGraph, suite: EnvironmentSuite, run: Path) -> list[Section]:
    """One episode, where the graph goes, and the graph itself.

    Raises:
        ValueError: the graph was not made for this suite.
    """
    check_channels(model, suite)
    acted = trace_of(suite, played(model, suite, 1))
    return [*acting_sections(model, suite, run, acted), graph_section(model, suite)]


def graph_section(model: EvolvedGraph, suite: EnvironmentSuite) -> Section:
    """The graph, signals running to the right."""
    made = model.architecture
    size = f"{counted(int(made['nodes']), 'node')} and {counted(int(made['enabled_connections']), 'connection')}"
    return Section(
        title="The champion's graph",
        reading=f"Signals run from the inputs on the left to the outputs on the right; {size}. An arc that bends down "
        "leads back, one that bends to the left stays within a column. Width is the size of the weight.",
        panels=(to_svg(lambda figure: _draw(figure, model, suite), SIZE, f"Graph of {size}."),),
        keys=(Key("positive weight", ACCENT, "line"), Key("negative weight", SECOND, "line")),
    )


def _draw(figure: Figure, model: EvolvedGraph, suite: EnvironmentSuite) -> None:
    axes = figure.add_subplot()
    places = _places(np.array(model.nodes["places"], float))
    at = dict(zip(model.nodes["ids"], places, strict=True))
    columns = [model.connections[name] for name in ("sources", "targets", "weights", "enabled")]
    most = max((abs(weight) for weight in columns[2]), default=1.0) or 1.0
    for source, target, weight, enabled in zip(*columns, strict=True):
        if enabled:
            _arc(axes, at[source], at[target], float(weight), most)
    axes.scatter(*places.T, s=36, color=MUTED, zorder=3)
    inputs, outputs = _labels(model, suite)
    first = len(inputs)
    for names, rows, side in ((inputs, places[:first], -1), (outputs, places[first : first + len(outputs)], 1)):
        for name, (x, y) in zip(names, rows, strict=True):
            align = "right" if side < 0 else "left"
            axes.text(x + 0.03 * side, y, name, ha=align, va="center", color=INK, fontsize=8)
    axes.set(xlim=(-0.25, 1.25), ylim=(-0.15, 1.1))
    axes.set_axis_off()


def _places(columns: np.ndarray) -> np.ndarray:
    """Where nodes are drawn: across by their place, down by their turn among those of one place."""
    placed = np.stack([columns, np.full(len(columns), 0.5)], axis=1)
    for column in np.unique(columns):
        rows = np.flatnonzero(columns == column)
        if len(rows) > 1:
            placed[rows, 1] = np.linspace(1, 0, len(rows))
        elif 0 < column < 1:
            placed[rows, 1] = 0.1 + 0.8 * (rows[0] * 0.618 % 1)  # hidden nodes seldom share a place
    return placed


def _arc(axes: Axes, start: np.ndarray, end: np.ndarray, weight: float, most: float) -> None:
    """One connection; one that leads back bends below, one within a column to the left."""
    colour = ACCENT if weight > 0 else SECOND
    bend = (0.0, 0.0) if end[0] > start[0] else (0.0, -0.18) if end[0] < start[0] else (-0.14, 0.0)
    middle = (np.array(start) + np.array(end)) / 2 + np.array(bend)
    t = np.linspace(0, 1, 20)[:, None]
    path = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * middle + t**2 * np.array(end)
    axes.plot(*path.T, color=colour, linewidth=0.4 + 2.6 * abs(weight) / most, alpha=0.7, zorder=2)


def _labels(model: EvolvedGraph, suite: EnvironmentSuite) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs: the environment's own if it is alone and has them."""
    acts, environment = model.acts, suite.environments[0]
    alone = len(suite.environments) == 1
    seen = list(getattr(environment, "observed", ())) if alone else []
    done = list(getattr(environment, "actions", ())) if alone else []
    seen += [f"input {index}" for index in range(len(seen), acts.input_size)]
    done += [f"output {index}" for index in range(len(done), acts.output_size)]
    if acts.tape:
        width = range(acts.tape.slot_width)
        seen += [f"read {index}" for index in width]
        done += [f"write {index}" for index in width] + ["write gate", "jump", "move back", "stay", "move on"]
    return [*seen, "bias"], done
