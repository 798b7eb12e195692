"""A figure as the page takes it, and its key; known to the drawing modules and to the page."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Key:
    """One entry of a figure's key, which stands above the panels and so covers no data.

    Attributes:
        label: what it means.
        colour: any CSS colour.
        shape: how it looks in the figure.
    """

    label: str
    colour: str
    shape: Literal["line", "dashed", "band", "cross", "diamond", "ring"]


@dataclass(frozen=True)
class Section:
    """One figure of the report.

    Attributes:
        title: its heading.
        reading: one sentence that says how to read it, or why there is nothing to see.
        panels: `<svg>` elements, laid out side by side as far as there is room.
        keys: what lines and marks mean.
        notes: what was left out, in sentences.
    """

    title: str
    reading: str
    panels: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    notes: tuple[str, ...] = ()
