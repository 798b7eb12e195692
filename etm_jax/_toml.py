"""Settings to and from TOML: frozen dataclasses of plain values and of such dataclasses.

Where a setting is one of several dataclasses, its table says which under `kind`.
"""

import dataclasses
import json
import tomllib
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union

from etm_jax._require import require, require_choice

KIND = "kind"
Settings = TypeVar("Settings")


def to_toml(config: Any, name: str = "") -> str:
    """The settings as TOML text; `from_toml` reads it back."""
    kind = getattr(config, KIND, None)
    lines = [f"[{name}]"] if name else []
    lines += [f"{KIND} = {_literal(kind)}"] if kind else []
    tables = []
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            tables.append(to_toml(value, f"{name}.{item.name}" if name else item.name))
        else:
            lines.append(f"{item.name} = {_literal(value)}")
    return "\n".join(["\n".join(lines) + "\n", *tables])


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(entry) for entry in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a TOML string but for this character
    return repr(value if isinstance(value, int) else float(value))  # repr of a NumPy number is no TOML


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the config is not valid TOML: {error}") from None
    except RecursionError:
        raise ValueError("the config is not valid: it is nested too deeply") from None


def read_table(path: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        ValueError: the file cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read the config {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read the config {path}: it is not UTF-8, {error.reason}") from None
    return parse_toml(text)


def from_toml(text: str, default: Settings) -> Settings:
    """Read settings; what the text leaves out is taken from `default`.

    Raises:
        ValueError: the text is not TOML, a key is unknown, or a value is of the wrong type or breaks its rule.
    """
    return replaced(default, parse_toml(text))


def replaced(base: Any, table: dict[str, Any], prefix: str = "") -> Any:
    """Settings with some of them replaced by those of a table.

    Raises:
        ValueError: a key is unknown, or a value is of the wrong type or breaks its rule.
    """
    hints = typing.get_type_hints(type(base))
    known = [item.name for item in fields(base)]
    changes = {}
    for key, value in table.items():
        if key == KIND and hasattr(base, KIND):
            continue  # `_of_kind` has made the base of that kind
        if key not in known:
            raise ValueError(f"unknown config key {prefix}{key!r}; the keys are {', '.join(known)}")
        present = getattr(base, key)
        if is_dataclass(present):
            require(isinstance(value, dict), f"{prefix}{key}", "a table", value)
            present = _of_kind(present, value, hints[key], f"{prefix}{key}")
            changes[key] = replaced(present, value, f"{prefix}{key}.")
        else:
            changes[key] = _typed(value, hints[key], f"{prefix}{key}")
    return dataclasses.replace(base, **changes)


def _of_kind(present: Any, table: dict[str, Any], hint: Any, name: str) -> Any:
    """The settings that a table changes: those that are there, or the defaults of the kind that the table names."""
    own = getattr(present, KIND, None)
    if own is None or KIND not in table or table[KIND] == own:
        return present
    kinds = {kind.kind: kind for kind in typing.get_args(hint)} if typing.get_origin(hint) in (Union, UnionType) else {}
    require_choice(f"{name}.{KIND}", table[KIND], tuple(kinds))
    return kinds[table[KIND]]()


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
