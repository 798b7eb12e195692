"""Rules for settings. A broken rule raises a ValueError that names the setting, the rule and the value."""

import functools
import math
import numbers
import typing
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

LEAST, MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # normal numbers of float32
MOST_SEED = 2**32 - 1  # a larger seed would draw the same numbers as one of these
WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a string"}


def require(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise a ValueError unless the rule holds."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}")


def is_number(value: object) -> bool:
    """Whether this is a real number, and not a boolean."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def require_share(name: str, value: float) -> None:
    """Require a number in [0, 1]."""
    require(is_number(value) and bool(0 <= value <= 1), name, "a number from 0 to 1", value)


def require_positive(name: str, value: float) -> None:
    """Require a finite number above 0 that float32 can hold."""
    fits = is_number(value) and math.isfinite(value) and bool(value > 0)
    require(fits, name, "a finite number above 0", value)
    require_float32(name, value)


def require_not_negative(name: str, value: float) -> None:
    """Require a finite number of at least 0 that float32 can hold."""
    fits = is_number(value) and math.isfinite(value) and bool(value >= 0)
    require(fits, name, "a finite number of at least 0", value)
    require_float32(name, value)


def require_float32(name: str, value: float) -> None:
    """Require 0, or a normal number of float32: a smaller one would become 0 there, and a larger one infinite."""
    holds = value == 0 or LEAST <= abs(value) <= MOST
    require(bool(holds), name, f"0 or from {LEAST:.3g} to {MOST:.3g}, which float32 can hold", value)


def require_count(name: str, value: int, least: int) -> None:
    """Require a whole number of at least `least`, which 32 bits can hold."""
    require(type(value) is int and value >= least, name, f"a whole number of at least {least}", value)
    require(value <= MOST_SEED, name, f"at most {MOST_SEED}", value)


def require_seed(name: str, value: int) -> None:
    """Require a whole number that fits a seed of 32 bits."""
    require_count(name, value, 0)


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Require one of the choices."""
    require(value in choices, name, f"one of {', '.join(choices)}", value)


def require_types(settings: Any, prefix: str = "") -> None:
    """Require every field of a dataclass to have the type of its annotation; literals are left to `require_choice`.

    A whole number passes as a number; True and False pass as neither.
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
        rule = f"a tuple of {word}s" if arguments[-1] is Ellipsis else f"a tuple of {len(arguments)} {word}s"
        require(isinstance(value, tuple) and len(value) == len(kinds), name, rule, value)
        for entry, entry_kind in zip(typing.cast(tuple, value), kinds, strict=True):
            _require_type(f"an entry of {name}", entry, entry_kind)
    elif kind is float:
        require(is_number(value), name, WORDS[float], value)
    elif isinstance(kind, type):
        require(type(value) is kind, name, WORDS.get(kind, f"a {kind.__name__}"), value)


def check_suite(kind: str, names: Sequence[str], weights: Sequence[float]) -> None:
    """Refuse a suite without members, with two of the same name, or with weights that do not fit its members."""
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a suite needs one or more {kind}s of different names, got {list(names)}")
    fits = len(weights) == len(names) and all(is_number(w) and math.isfinite(w) and w > 0 for w in weights)
    if not fits:
        raise ValueError(f"a suite needs one positive weight a {kind}, got {weights} for {list(names)}")
    for name, weight in zip(names, weights, strict=True):
        require_float32(f"the weight of {kind} {name!r}", weight)
    require_float32("the sum of the weights", sum(weights))
