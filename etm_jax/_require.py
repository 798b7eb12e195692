"""Rules for settings, each broken with an error that names the setting, the rule and the value."""

import functools
import math
import numbers
import typing
from dataclasses import fields
from typing import Any

import numpy as np

LEAST, MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # normal numbers of float32
MOST_SEED = 2**32 - 1  # a larger one would draw the same numbers as one of these
WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


def require(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise a ValueError that names the setting, the rule and the value."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}")


def is_number(value: object) -> bool:
    """Whether this is a number, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def require_share(name: str, value: float) -> None:
    """A number in [0, 1]."""
    require(is_number(value) and bool(0 <= value <= 1), name, "a number from 0 to 1", value)


def require_positive(name: str, value: float) -> None:
    """A finite number above 0, which float32 can hold."""
    fits = is_number(value) and math.isfinite(value) and bool(value > 0)
    require(fits, name, "a finite number above 0", value)
    require_float32(name, value)


def require_not_negative(name: str, value: float) -> None:
    """A finite number of at least 0, which float32 can hold."""
    fits = is_number(value) and math.isfinite(value) and bool(value >= 0)
    require(fits, name, "a finite number of at least 0", value)
    require_float32(name, value)


def require_float32(name: str, value: float) -> None:
    """0, or a size that float32 holds as a normal number: a smaller one is 0 there, and a larger one infinite."""
    holds = value == 0 or LEAST <= abs(value) <= MOST
    require(bool(holds), name, f"0 or from {LEAST:.3g} to {MOST:.3g}, which float32 can hold", value)


def require_count(name: str, value: int, least: int) -> None:
    """A whole number of at least `least`."""
    require(type(value) is int and value >= least, name, f"a whole number of at least {least}", value)


def require_seed(name: str, value: int) -> None:
    """A whole number that a seed of 32 bits can be."""
    require_count(name, value, 0)
    require(value <= MOST_SEED, name, f"at most {MOST_SEED}", value)


def require_types(settings: Any, prefix: str = "") -> None:
    """Every field of a dataclass is of the type that its annotation says; choices are checked by their own rules.

    A whole number may stand for a number; True and False for neither.
    """
    for name, kind in _types(type(settings)).items():
        _require_type(prefix + name, getattr(settings, name), kind)


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}


def _require_type(name: str, value: object, kind: Any) -> None:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        kinds = arguments[:1] * len(value) if isinstance(value, tuple) and arguments[-1] is Ellipsis else arguments
        word = WORDS[arguments[0]].removeprefix("a ")
        many = f"a tuple of {word}s" if arguments[-1] is Ellipsis else f"a tuple of {len(arguments)} {word}s"
        require(isinstance(value, tuple) and len(value) == len(kinds), name, many, value)
        for entry, entry_kind in zip(typing.cast(tuple, value), kinds, strict=True):
            _require_type(f"an entry of {name}", entry, entry_kind)
    elif kind is float:
        require(is_number(value), name, WORDS[float], value)
    elif isinstance(kind, type):
        require(type(value) is kind, name, WORDS.get(kind, f"a {kind.__name__}"), value)


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """One of the choices."""
    require(value in choices, name, f"one of {', '.join(choices)}", value)
