"""Evolved automata in a folder: rule and programme as digits, and the sizes they were evolved with."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from etm_jax._files import read_json, write_atomically
from etm_jax._require import require
from etm_jax.automata._controller import EvolvedEM33
from etm_jax.automata._evolved import EvolvedEM43

AUTOMATON = "automaton.json"
MOST_BYTES = 2**26


def digits(cells: Any) -> str:
    """States as text, a digit each."""
    return "".join(map(str, np.asarray(cells).tolist()))


def save_automaton(model: EvolvedEM43 | EvolvedEM33, folder: Path) -> None:
    """Write `automaton.json`; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / AUTOMATON, json.dumps(vars(model), indent=2) + "\n")


def load_automaton(folder: Path) -> EvolvedEM43 | EvolvedEM33:
    """Read back what `save_automaton` wrote.

    Raises:
        ValueError: the file is missing or damaged, or sizes and digits do not fit.
    """
    try:
        settings = read_json(folder / AUTOMATON, MOST_BYTES)
        require(isinstance(settings, dict), AUTOMATON, "an object", settings)
        return EvolvedEM33(**settings) if "num_actions" in settings else EvolvedEM43(**settings)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no automaton that can be read: {error}") from None
