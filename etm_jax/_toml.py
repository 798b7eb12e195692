"""Settings from a TOML table: frozen dataclasses of plain values, and of dataclasses of plain values."""

import dataclasses
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from etm_jax._require import require, require_choice


def replaced(base: Any, table: dict[str, Any], prefix: str = "") -> Any:
    """Settings with some of them replaced by those of a table.

    Raises:
        ValueError: a key is unknown, or a value is of the wrong type or breaks its rule.
    """
    hints = typing.get_type_hints(type(base))
    known = [item.name for item in fields(base)]
    changes = {}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"unknown config key {prefix}{key!r}; the keys are {', '.join(known)}")
        present = getattr(base, key)
        if is_dataclass(present):
            require(isinstance(value, dict), f"{prefix}{key}", "a table", value)
            changes[key] = replaced(present, value, f"{prefix}{key}.")
        else:
            changes[key] = _typed(value, hints[key], f"{prefix}{key}")
    return dataclasses.replace(base, **changes)


def _typed(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        require(isinstance(value, list), name, "a list", value)
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        require(len(kinds) == len(value), name, f"a list of {len(kinds)}", value)
        return tuple(_typed(entry, kind, name) for entry, kind in zip(value, kinds, strict=True))
    if origin is Literal:
        require_choice(name, value, arguments)
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    require(type(value) is hint, name, f"of type {hint.__name__}", value)
    return value
