"""Evolved automata in a folder: rule and programme as digits, and the sizes they were evolved with."""

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from etm_jax._files import read_json, write_atomically
from etm_jax._require import require
from etm_jax.automata._controller import EvolvedEM33
from etm_jax.automata._evolved import EvolvedEM43

AUTOMATON = "automaton.json"
MOST_BYTES = 2**26
Evolved = TypeVar("Evolved", EvolvedEM43, EvolvedEM33)


def digits(cells: Any) -> str:
    """States as text, a digit each."""
    return "".join(map(str, np.asarray(cells).tolist()))


def save_automaton(model: EvolvedEM43 | EvolvedEM33, folder: Path) -> None:
    """Write `automaton.json`; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / AUTOMATON, json.dumps(vars(model), indent=2) + "\n")


def load_em43(folder: Path) -> EvolvedEM43:
    """Read back an `EvolvedEM43` that `save_automaton` wrote.

    Raises:
        ValueError: the file is missing or damaged, or sizes and digits do not fit.
    """
    return _load(EvolvedEM43, folder)


def load_em33(folder: Path) -> EvolvedEM33:
    """Read back an `EvolvedEM33`; as `load_em43`."""
    return _load(EvolvedEM33, folder)


def _load(kind: type[Evolved], folder: Path) -> Evolved:
    try:
        settings = read_json(folder / AUTOMATON, MOST_BYTES)
        require(isinstance(settings, dict), AUTOMATON, "an object", settings)
        return kind(**settings)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no automaton that can be read: {error}") from None
