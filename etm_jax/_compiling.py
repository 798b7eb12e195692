"""Tracing without garbage collection, and parallel compilation with options that suit each program's work."""

import contextlib
import gc
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.stages import Compiled, Lowered

# XLA's options by the most operations that a program executes in all its calls. Learning in the default preset on 2
# cores, CPU seconds of compilation: 14 by default; 11 at level 1, at the same speed; 7 at level 1 without fusion
# emitters, 1.2 times slower to run; 3 at level 0 without them, 5 times slower to run.
COMPILE_OPTIONS: dict[float, dict[str, int | bool]] = {
    1e9: {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    1e11: {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False},
    math.inf: {"xla_backend_optimization_level": 1},
}


def compile_options(operations: int | float) -> dict[str, Any]:
    """XLA's options for a program that executes about this many arithmetic operations in all its calls.

    Empty on anything but CPU, and where the environment variable XLA_FLAGS sets the optimisation level.
    """
    chosen = "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
    if chosen or jax.default_backend() != "cpu":
        return {}
    return next(options for most, options in COMPILE_OPTIONS.items() if operations <= most)


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Switch garbage collection off while tracing."""
    # Tracing makes hundreds of thousands of objects that stay alive; scanning them took a quarter of its time.
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def compile_all(lowered: Mapping[str, Lowered], operations: Mapping[str, int | float]) -> dict[str, Compiled]:
    """Compile programs in parallel, each with the `compile_options` for the operations given under its name."""

    def compiled(name: str) -> Compiled:
        return lowered[name].compile(compiler_options=compile_options(operations[name]))

    with ThreadPoolExecutor() as pool:
        return dict(zip(lowered, pool.map(compiled, lowered), strict=True))
