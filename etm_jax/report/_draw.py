"""What all figures share: colours that follow the page's light or dark theme, and drawings as SVG or PNG."""

import hashlib
import html
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etm_jax._files import write_atomically

INK, MUTED, GRID, PAPER = "#101112", "#707172", "#d0d1d2", "#fdfcfb"  # stand-ins for the page's CSS variables
THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"}
ACCENT, SECOND, FAILED = "#2f7fd6", "#d9730d", "#d6336c"  # legible on light and on dark, as are the tasks' colours
TASK_COLOURS = ("#2f7fd6", "#d9730d", "#1a9e77", "#b455c4", "#a8841a", "#e0525f", "#5f7fa8", "#7a9a2f")
MARK_BELOW = 13  # rows; fewer points are marked, since a line through one point cannot be seen

SMALL = (3.75, 2.5)  # inches; a panel that shares its row with others
KEY_ROW = 0.17  # inches; a row of a key below a panel
SHORT_LABEL = 22  # characters; two columns of a key have room for such labels
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
}


def to_svg(draw: Callable[[Figure], None], size: tuple[float, float], alt: str) -> str:
    """A drawing of `size` inches as an `<svg>` element, which screen readers read as `alt`."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = _own_ids(text[text.index("<svg ") + len("<svg ") :], alt)
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    width = round(size[0] * 96)
    return f'<svg role="img" aria-label="{html.escape(alt)}" style="--natural:{width}px" {text}'


def save_png(draw: Callable[[Figure], None], size: tuple[float, float], path: Path) -> None:
    """Write a drawing of `size` inches as a PNG file, on white."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def _own_ids(svg: str, name: str) -> str:
    """Renumber the ids: matplotlib repeats some in every figure, and others depend on memory addresses."""
    prefix = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]
    ids = dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))
    new = {old: f"f{prefix}-{number}" for number, old in enumerate(ids)}
    return re.sub(r'(\bid="|#)([\w.-]+)', lambda match: match[1] + new.get(match[2], match[2]), svg)


def label_axes(axes: Axes, title: str, unit: str, along: str = "generation") -> None:
    """Set the title and the labels of a panel whose x-axis counts `along`; there may be a single count."""
    axes.set(title=title, xlabel=along, ylabel=unit, xlim=at_least_two_wide(axes.get_xlim()))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def with_key_below(labels: Sequence[str]) -> tuple[tuple[float, float], Callable[[Figure], None]]:
    """A small panel that has its own key where it covers no data.

    Returns:
        The panel's size in inches, and what draws the key once the axes have artists with these labels.
    """
    columns = 2 if max(map(len, labels)) <= SHORT_LABEL else 1
    height = SMALL[1] + KEY_ROW * (-(-len(labels) // columns) + 1)

    def draw(figure: Figure) -> None:
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")

    return (SMALL[0], height), draw


def at_least_two_wide(limits: tuple[float, float]) -> tuple[float, float]:
    """Axis limits for whole numbers: unchanged, or one to each side of a single value."""
    low, high = limits
    return limits if high - low >= 1 else ((low + high) / 2 - 1, (low + high) / 2 + 1)


def marker(rows: Sequence[Any]) -> str | None:
    """A point marker where rows are too few for a line to show."""
    return "." if len(rows) < MARK_BELOW else None


def task_colours(names: Sequence[str]) -> dict[str, str]:
    """The colour of each task, the same in every figure."""
    return {name: TASK_COLOURS[index % len(TASK_COLOURS)] for index, name in enumerate(names)}


def tint(colour: str, lightest: float) -> Colormap:
    """A colour scale from opacity `lightest` to opaque, for any background; NaN is transparent."""
    stops = np.linspace(lightest, 1, 16)
    scale = LinearSegmentedColormap.from_list("tint", [(*to_rgb(colour), alpha) for alpha in stops])
    return scale.with_extremes(bad=(0, 0, 0, 0))
