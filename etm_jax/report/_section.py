"""What a figure is to the page, and the words and number formats that figures and tables share."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from etm_jax.networks.genome._genes import CHOICES
from etm_jax.report._run import number

GENE_WORDS = {
    "num_slots": "memory slots",
    "slot_width": "slot width",
    "num_read_heads": "read heads",
    "num_write_heads": "write heads",
    "controller_size": "controller size",
    "shift_range": "shift range",
    "ponder_steps": "ponder steps",
    "window_size": "window size",
    "num_layers": "encoder layers",
    "attention_heads": "attention heads",
    "addressing": "addressing",
    "controller": "controller",
    "memory": "memory",
    "learning_rate": "initial learning rate",
    "meta_step": "speed of the laws",
    "step_limit": "step limit",
}
GENE_UNITS = {
    "num_slots": "slots",
    "slot_width": "numbers per slot",
    "num_read_heads": "heads",
    "num_write_heads": "heads",
    "controller_size": "hidden units",
    "shift_range": "slots per step",
    "ponder_steps": "steps per input",
    "window_size": "inputs",
    "num_layers": "layers",
    "attention_heads": "heads",
}
UNKNOWN = "–"  # noqa: RUF001 (a dash in a table cell)


@dataclass(frozen=True)
class Key:
    """One entry of a figure's key. Keys stand above the panels, where they cover no data.

    Attributes:
        label: its meaning.
        colour: any CSS colour.
        shape: the mark in the figure.
    """

    label: str
    colour: str
    shape: Literal["line", "dashed", "band", "cross", "diamond", "ring"]


@dataclass(frozen=True)
class Table:
    """Numbers in words, beside a figure.

    Attributes:
        title: its heading.
        head: what each column holds; the first one names the rows.
        rows: as many cells each.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """One figure of the report.

    Attributes:
        title: its heading.
        reading: one sentence on how to read it, or why there is nothing to see.
        panels: `<svg>` elements, laid out side by side where there is room.
        keys: the meaning of lines and marks.
        notes: what was left out, in sentences.
        tables: what the figure shows, in numbers.
    """

    title: str
    reading: str
    panels: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def gene_word(gene: str) -> str:
    """A gene's name in words."""
    return GENE_WORDS.get(gene, gene)


def value_word(gene: str, value: int) -> str:
    """A gene's value in words: the name of its choice, or its number."""
    return CHOICES[gene][1][value].replace("_", " ") if gene in CHOICES else str(value)


def written(value: Any, unit: str = "", digits: int = 3) -> str:
    """A number with its unit; a dash where it is missing or not finite."""
    value = number(value)
    if math.isnan(value):
        return UNKNOWN
    text = f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.{digits}g}"
    return f"{text} {unit}".rstrip()


def score(value: Any) -> str:
    """A score between 0 and 1 with three decimals; a dash where it is missing or not finite."""
    value = number(value)
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def counted(count: int, noun: str) -> str:
    """`1 generation`, `2 generations`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
