"""Rules for settings, each broken with an error that names the setting, the rule and the value."""

import math


def require(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise a ValueError that names the setting, the rule and the value."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}")


def require_share(name: str, value: float) -> None:
    """A number in [0, 1]."""
    require(0 <= value <= 1, name, "a number from 0 to 1", value)


def require_positive(name: str, value: float) -> None:
    """A finite number above 0."""
    require(math.isfinite(value) and value > 0, name, "a finite number above 0", value)


def require_not_negative(name: str, value: float) -> None:
    """A finite number of at least 0."""
    require(math.isfinite(value) and value >= 0, name, "a finite number of at least 0", value)


def require_count(name: str, value: int, least: int) -> None:
    """A whole number of at least `least`."""
    require(isinstance(value, int) and value >= least, name, f"a whole number of at least {least}", value)


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """One of the choices."""
    require(value in choices, name, f"one of {', '.join(choices)}", value)
