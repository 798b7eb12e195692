"""Checks that several parts share."""

import math
from collections.abc import Sequence


def check_suite(kind: str, names: Sequence[str], weights: Sequence[float]) -> None:
    """Refuse a suite without members, with two of the same name, or with weights that do not fit.

    Raises:
        ValueError: it is one of these.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a suite needs one or more {kind}s of different names, got {list(names)}")
    if len(weights) != len(names) or not all(math.isfinite(w) and w > 0 for w in weights):
        raise ValueError(f"a suite needs one positive weight a {kind}, got {weights} for {list(names)}")
