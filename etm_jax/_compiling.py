"""How programs are traced and compiled: without pauses, side by side, each with the options that suit its work."""

import contextlib
import gc
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.stages import Compiled, Lowered

# Up to how many operations in all its calls a program gets which options of XLA. Measured on 2 cores, in CPU seconds
# of the default preset's learning: by default it compiles in 14; at level 1 in 11, and runs as fast; without fusion
# emitters, too, in 7, and takes 1.2 times as long; at level 0 without them in 3, and takes 5 times as long.
COMPILE_OPTIONS: dict[float, dict[str, int | bool]] = {
    1e9: {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    1e11: {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False},
    math.inf: {"xla_backend_optimization_level": 1},
}


def compile_options(operations: int | float) -> dict[str, Any]:
    """Options of XLA for a program that executes about so many arithmetic operations in all its calls.

    None but on CPU, and none where the environment variable XLA_FLAGS says how far to optimise.
    """
    said = "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
    if said or jax.default_backend() != "cpu":
        return {}
    return next(options for most, options in COMPILE_OPTIONS.items() if operations <= most)


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Collect no garbage meanwhile: tracing makes objects by the hundred thousand, which live on.

    Looking through them again and again took a quarter of the time of tracing.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def compile_all(lowered: Mapping[str, Lowered], operations: Mapping[str, int | float]) -> dict[str, Compiled]:
    """Compile programs side by side, each with the `compile_options` for the operations given under its name."""

    def compiled(name: str) -> Compiled:
        return lowered[name].compile(compiler_options=compile_options(operations[name]))

    with ThreadPoolExecutor() as pool:
        return dict(zip(lowered, pool.map(compiled, lowered), strict=True))
