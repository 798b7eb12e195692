"""Tables of runs, who is better by the interval, and the figure of score against multiply-adds."""

import importlib.util
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from bench._measure import markdown
from bench.architecture._contenders import EXAMINED, TASKS, ablations, contenders

CONFIDENCE = 0.95
OURS = ("evolved", "evolved_ntm")
ALL_SIZES = "mean"
COLUMNS = (*(f"{factor}x" for factor in EXAMINED), ALL_SIZES)
HEADINGS = ("contender", "seeds", *COLUMNS, "weights", "multiply-adds", "CPU s", "compile s", "counts a seed")
Runs = list[dict[str, Any]]


def scores_of(run: dict[str, Any]) -> dict[str, float]:
    """The held-out score of a run at each size, and their mean."""
    name = TASKS[run["task"]].score
    scores = {f"{factor}x": scores[name] for factor, scores in run["held_out"].items()}
    return scores | {ALL_SIZES: statistics.mean(scores.values())}


def grouped(runs: Runs) -> dict[str, dict[str, Runs]]:
    """Runs by task and contender, in their own order.

    Raises:
        ValueError: runs of one contender on one task had different settings, or not all runs had the same budget.
    """
    if len(budgets := {run["budget"] for run in runs}) > 1:
        raise ValueError(f"all runs must have the same budget, got {sorted(budgets)} CPU seconds; keep those of one")
    found: dict[str, dict[str, Runs]] = {}
    for task in TASKS:
        for contender in contenders() | ablations():
            own = [run for run in runs if (run["task"], run["contender"]) == (task, contender)]
            if len({run["fingerprint"] for run in own}) > 1:
                raise ValueError(f"the runs of {contender} on {task} had different settings; keep those of one setting")
            if own:
                found.setdefault(task, {})[contender] = sorted(own, key=lambda run: run["seed"])
    return found


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the mean's interval by Student's distribution; None of one value."""
    if len(values) < 2:
        return None
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * statistics.stdev(values) / math.sqrt(len(values)))


def shown(values: Sequence[float]) -> str:
    """A mean with its interval."""
    half = half_width(values)
    return f"{statistics.mean(values):.3f}" + ("" if half is None else f" ± {half:.3f}")


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float] | None:
    """The interval of the difference of two means, whose variances may differ (Welch); None where a side has one value.

    Where nothing varies on either side it is the difference itself.
    """
    if min(len(ours), len(theirs)) < 2:
        return None
    if statistics.pvariance(ours) == statistics.pvariance(theirs) == 0:
        return ours[0] - theirs[0], ours[0] - theirs[0]
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def verdict(interval: tuple[float, float] | None) -> str:
    """Who is better by an interval of a difference."""
    if interval is None:
        return "one seed"
    if interval[0] > 0:
        return "better"
    return "worse" if interval[1] < 0 else "not told apart"


def line(contender: str, runs: Runs) -> tuple[str, ...]:
    """A row of a task's table."""
    scores = [scores_of(run) for run in runs]
    counts = {name: statistics.mean(run["counts"][name] for run in runs) for name in runs[0]["counts"]}
    return (
        contender,
        str(len(runs)),
        *(shown([one[column] for one in scores]) for column in COLUMNS),
        *(f"{statistics.mean(run[what] for run in runs):,.0f}" for what in ("parameters", "multiply_adds")),
        *(f"{statistics.mean(run['cpu_s'][what] for run in runs):.1f}" for what in ("work", "compile")),
        ", ".join(f"{count:,.0f} {name}" for name, count in counts.items()),
    )


def comparison(contender: str, by_contender: dict[str, Runs], other: str) -> tuple[str, ...]:
    """A row: one of ours beside another contender at every size, as the interval of the difference and what it says."""

    def cell(column: str) -> str:
        ours, theirs = ([scores_of(run)[column] for run in by_contender[name]] for name in (contender, other))
        interval = difference(ours, theirs)
        numbers = "" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})"
        return verdict(interval) + numbers

    return (contender, other, *map(cell, COLUMNS))


def sentences(found: dict[str, dict[str, Runs]]) -> list[str]:
    """Of each of ours beside each other: on which tasks it is better by the interval of the mean over all sizes."""
    lines = []
    for ours in OURS:
        for other in contenders() | ablations():
            tasks: dict[str, list[str]] = {}
            ratios = []
            for task, own in found.items():
                if ours == other or not {ours, other} <= set(own):
                    continue
                pair = [[scores_of(run)[ALL_SIZES] for run in own[name]] for name in (ours, other)]
                tasks.setdefault(verdict(difference(*pair)), []).append(task)
                weights = [statistics.mean(run["parameters"] for run in own[name]) for name in (ours, other)]
                ratios.append(weights[0] / weights[1])
            if tasks:
                said = "; ".join(f"{what}: {', '.join(names)}" for what, names in tasks.items())
                lines.append(f"{ours} beside {other}: {said}; {statistics.geometric_mean(ratios):.2f} of its weights")
    return lines


def tables(runs: Runs) -> str:
    """All tables, in Markdown."""
    found, parts = grouped(runs), []
    for task, own in found.items():
        parts.append(f"## {task}\n\n`{TASKS[task].spec}`; score: {TASKS[task].score}; longer: {TASKS[task].longer}")
        parts.append(markdown(HEADINGS, [line(name, of) for name, of in own.items()]))
        pairs = [(ours, other) for ours in OURS if ours in own for other in own if other != ours]
        if pairs:
            rows = [comparison(ours, own, other) for ours, other in pairs]
            parts.append(markdown(("contender", "beside", *COLUMNS), rows))
    said = sentences(found)
    if said:
        parts.append("## By the mean over all sizes\n\n" + "\n".join(f"- {sentence}" for sentence in said))
    for what in ("commit", "processor", "limits", "date"):
        values = sorted({str(run["context"][what]) for run in runs} - {""})
        parts.append(f"{what}: {', '.join(values) or 'none'}")
    return "\n\n".join(parts) + "\n"


def draw(runs: Runs, path: Path) -> None:
    """Mean score over all sizes against multiply-adds a step, a panel a task and a point a run; needs matplotlib."""
    if not importlib.util.find_spec("matplotlib"):
        print("matplotlib is not installed, so there is no figure; pip install 'etm-jax[plot]'")
        return
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    found = grouped(runs)
    columns = min(len(found), 3)
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(4 * columns + 2, 3 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    markers = dict(zip(contenders(), "o*sD^vPX", strict=True))
    seen: dict[str, Any] = {}
    for panel, (task, own) in zip(panels, found.items(), strict=False):
        for index, (name, marker) in enumerate(markers.items()):
            points = [(run["multiply_adds"], scores_of(run)[ALL_SIZES]) for run in own.get(name, [])]
            if points:
                xs, ys = zip(*points, strict=True)
                seen[name] = panel.scatter(xs, ys, marker=marker, s=28, alpha=0.8, color=f"C{index}", label=name)
        panel.set(xscale="log", title=task, xlabel="multiply-adds a step", ylim=(-0.03, 1.03))
        panel.xaxis.set_minor_formatter(NullFormatter())  # within one decade they would overlap
        panel.set_ylabel(f"{TASKS[task].score}, mean of 1x to {EXAMINED[-1]}x")
    for panel in list(figure.axes)[len(found) :]:
        panel.set_axis_off()
    figure.legend(seen.values(), seen.keys(), loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=120)
