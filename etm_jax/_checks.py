"""Checks that several parts share."""

import math
from collections.abc import Sequence

from etm_jax._require import is_number, require_float32


def check_suite(kind: str, names: Sequence[str], weights: Sequence[float]) -> None:
    """Refuse a suite without members, with two of the same name, or with weights that do not fit.

    Raises:
        ValueError: it is one of these.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a suite needs one or more {kind}s of different names, got {list(names)}")
    fits = len(weights) == len(names) and all(is_number(w) and math.isfinite(w) and w > 0 for w in weights)
    if not fits:
        raise ValueError(f"a suite needs one positive weight a {kind}, got {weights} for {list(names)}")
    for name, weight in zip(names, weights, strict=True):
        require_float32(f"the weight of {kind} {name!r}", weight)
    require_float32("the sum of the weights", sum(weights))
