"""What a champion does step by step in one episode, and its heads; after the figures of Graves et al. 2014."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax.environment import EnvironmentSuite, Rollout, Suite
from etm_jax.report._acting import has_places, path_section
from etm_jax.report._draw import ACCENT, INK, MUTED, SECOND, tint, to_svg
from etm_jax.report._section import Section
from etm_jax.report._words import counted

IN_USE = 0.02  # a slot that no head ever weights more than this is not drawn at the ends
FEWEST_SLOTS = 12
WIDTH = 7.2  # inches
CELLS = "#7d8590"  # grey that is legible on light and on dark


@dataclass(frozen=True)
class Trace:
    """One episode of a model, cut after its last valid step.

    Attributes:
        channels: [channel time] by title, from 0 to 1, NaN where nothing counts: what the network saw and answered.
        reads: [head slot time].
        writes: [head slot time].
    """

    channels: dict[str, np.ndarray]
    reads: np.ndarray
    writes: np.ndarray


def check_channels(model: Any, suite: Suite) -> None:
    """Refuse a model that was made for another suite.

    Raises:
        ValueError: it takes other inputs.
    """
    if model.input_size != suite.input_size:
        raise ValueError(
            f"model takes {model.input_size} input channels but the suite has {suite.input_size}; give the suite that "
            "the run was made with"
        )


def trace_of(suite: EnvironmentSuite, lived: Rollout) -> Trace:
    """The first episode of a rollout in the suite's first environment; no memory is shown."""
    end = int(np.sum(lived.step_valid[0]))
    rewards, logits = np.asarray(lived.rewards[0, :end]), lived.logits[0, :end]
    most = float(rewards.max(initial=0.0)) or 1.0
    if getattr(suite.environments[0], "continuous", False):
        actions = {"Actions (0 is -1)": (np.clip(logits, -1, 1) + 1).T / 2}
    else:
        actions = {"Actions": np.asarray(jax.nn.softmax(logits)).T}
    seen = np.asarray(lived.observations[0, :end]).T
    channels = {"Observations (0 is -1)": (seen + 1) / 2} if seen.min() < 0 else {"Observations": seen}
    channels |= {**actions, f"Reward (1 is {most:.3g})": rewards[None] / most}
    return Trace(channels, *[np.zeros((0, 0, end))] * 2)


def acting_sections(model: Any, suite: EnvironmentSuite, run: Path, trace: Trace) -> list[Section]:
    """What every champion that acts is shown by: one episode, and where it went in environments that have places."""
    sections = [trace_section(trace, suite.names[0])]
    if has_places(suite):
        sections.append(path_section(model, suite, run / "path.png"))
    return sections


def slots_in_use(weightings: np.ndarray) -> tuple[int, int]:
    """The first slot to draw and the one after the last, for weightings [head slot time]."""
    num_slots = weightings.shape[1]
    used = np.flatnonzero(np.max(weightings, axis=(0, 2)) > IN_USE)
    first, end = (int(used[0]), int(used[-1]) + 1) if used.size else (0, num_slots)
    end = min(num_slots, max(end, first + FEWEST_SLOTS))
    return max(0, min(first, end - FEWEST_SLOTS)), end


def trace_section(lived: Trace, task: str, who: str = "champion") -> Section:
    """The episode, the network's answer, and the weighting of every head, one above the other over a common time."""
    title = f"What the {who} reads and writes"
    num_steps = next(iter(lived.channels.values())).shape[-1]
    weightings = np.concatenate([lived.reads, lived.writes])
    first, end = slots_in_use(weightings) if weightings.size else (0, 0)
    num_slots = weightings.shape[1]
    alt = (
        f"The {who} on one {task} episode of {counted(num_steps, 'step')}: "
        f"{', '.join(title.lower() for title in lived.channels)}"
    )
    if weightings.size:
        writes, reads = counted(len(lived.writes), "write head"), counted(len(lived.reads), "read head")
        alt += f", the weighting of {writes} and of {reads} over {num_slots} slots"
    slot_height = float(np.clip(0.035 * (end - first), 1.1, 2.4))
    heights = [1.0] * len(lived.channels) + [slot_height] * (len(weightings) if weightings.size else 0)
    at = f"One {task} episode at full length, time running to the right"
    panels = (
        to_svg(lambda figure: _draw(figure, lived, (first, end), heights), (WIDTH, sum(heights) + 0.9), f"{alt}."),
    )
    if not weightings.size:
        return Section(f"What the {who} answers", f"{at}; the {who} has no heads.", panels)
    shown = f"Slots {first} to {end - 1} of {num_slots} are drawn; no head weights any other above {IN_USE}."
    return Section(
        title=title,
        reading=f"{at}: a sharp diagonal means that a head steps from slot to slot, equal diagonals of a write and a "
        "later read head mean that it reads back what was written, and a smear means that it has not learned where to "
        "look.",
        panels=panels,
        notes=(shown,) if end - first < num_slots else (),
    )


def _draw(figure: Figure, lived: Trace, slots: tuple[int, int], heights: list[float]) -> None:
    first, end = slots
    panels = [(title, "channel", values, 0, CELLS) for title, values in lived.channels.items()]
    if end > first:
        writes, reads = (enumerate(heads, start=1) for heads in (lived.writes, lived.reads))
        panels += [(f"Write head {n}", "slot", head[first:end], first, SECOND) for n, head in writes]
        panels += [(f"Read head {n}", "slot", head[first:end], first, ACCENT) for n, head in reads]
    all_axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (title, unit, values, start, colour) in zip(all_axes, panels, strict=True):
        is_head = unit == "slot"
        image = axes.imshow(
            values,
            cmap=tint(colour, 0.0 if is_head else 0.12),
            norm=PowerNorm(0.5 if is_head else 1.0, vmin=0, vmax=1),
            extent=(-0.5, values.shape[1] - 0.5, start + len(values) - 0.5, start - 0.5),
            aspect="auto",
            interpolation="none",
        )
        axes.set(title=title, ylabel=unit)
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color=MUTED, linewidth=0.6)
        if len(values) == 1:
            axes.set_yticks([start])
        else:
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.01, ticks=[0, 0.25, 1] if is_head else [0, 1])
        bar.set_label("weight" if is_head else "value", color=INK)
        bar.outline.set_visible(False)
    all_axes[-1].set_xlabel("time (steps)")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
