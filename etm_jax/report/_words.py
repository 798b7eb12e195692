"""Words and number formats that the figures and the tables share."""

import math
from typing import Any

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
    "step_limit": "limit of the step",
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


def gene_word(gene: str) -> str:
    """A gene's name in words."""
    return GENE_WORDS.get(gene, gene)


def value_word(gene: str, value: int) -> str:
    """A gene's value in words: the kind it chooses, or its number."""
    return CHOICES[gene][1][value].replace("_", " ") if gene in CHOICES else str(value)


def written(value: Any, unit: str = "", digits: int = 3) -> str:
    """A number for people, with its unit; a dash where it is missing or not finite."""
    value = number(value)
    if math.isnan(value):
        return UNKNOWN
    text = f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.{digits}g}"
    return f"{text} {unit}".rstrip()


def score(value: Any) -> str:
    """A score between 0 and 1, always with three decimals."""
    value = number(value)
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def counted(count: int, noun: str) -> str:
    """`1 generation`, `2 generations`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
