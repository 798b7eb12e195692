"""Compile for TPUs that are not there, and read from the compiled program what the compiler expects of it."""

import importlib.util
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies
from jax.extend.core import Jaxpr, jaxprs_in_params

INSTALL = "pip install 'etm-jax[tpu]' (Linux only)"
MISSING = f"libtpu is not installed, so there is no compiler for a TPU; {INSTALL}"


@dataclass(frozen=True)
class Chip:
    """What the estimates assume of one chip.

    Attributes:
        hbm_bytes: memory.
        clock: cycles a second. Peak bfloat16 FLOP/s over the FLOPs of a cycle of its matrix units: 197e12 / (4 units of
            128 x 128) and 918e12 / (4 of 256 x 256). At these clocks the compiler's cycles for streaming an array are
            0.81 of the published bandwidth on both chips.
    """

    hbm_bytes: int
    clock: float


CHIPS = {"TPU v5 lite": Chip(16 * 2**30, 1.5e9), "TPU v6 lite": Chip(32 * 2**30, 1.75e9)}


def tpu_attached() -> bool:
    """True where the system has the device files of a TPU; asking JAX would start its backends."""
    return any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*"))


def prepare_without_tpu() -> None:
    """Let libtpu compile on a machine without a TPU; call before JAX starts a backend.

    Raises:
        SystemExit: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise SystemExit(MISSING)
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no cloud to ask which chips these are
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # one process may hold a chip, and none is held here
    jax.config.update("jax_platforms", "cpu")  # or JAX looks for chips first


def topology_devices(name: str) -> list[Any]:
    """The devices of a topology such as `v5e:2x2`, to compile for."""
    return list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)


@dataclass(frozen=True)
class Program:
    """A function to compile for a mesh.

    Attributes:
        name: what it does.
        function: what to compile.
        inputs: draws its arguments.
        input_sharding: of each argument.
        output_sharding: of the outputs.
        donated: arguments whose memory the outputs may take.
    """

    name: str
    function: Callable[..., Any]
    inputs: Callable[[], tuple[Any, ...]]
    input_sharding: Any
    output_sharding: Any
    donated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Compiled:
    """A compiled program and what is known of it, everything for one chip.

    Attributes:
        run: the program.
        lower_s: wall seconds of tracing and lowering.
        compile_s: wall seconds of compiling.
        matmul_flops: of matrix products; loops count as often as they run.
        flops: XLA's count of all operations; the body of a loop counts once, however often it runs.
        bytes_accessed: XLA's count, in the same way.
        optimal_s: XLA's, in the same way; None where the compiler has no value for an operation and gives a negative.
        cycles: the compiler's estimates for its operations; loops count as often as they run. None where it gives none.
        argument_bytes: memory of the arguments.
        output_bytes: memory of the outputs, without what they share with the arguments.
        temporary_bytes: memory of everything in between.
        code_bytes: memory of the program.
    """

    run: Callable[..., Any]
    lower_s: float
    compile_s: float
    matmul_flops: int
    flops: float | None
    bytes_accessed: float | None
    optimal_s: float | None
    cycles: int | None
    argument_bytes: int
    output_bytes: int
    temporary_bytes: int
    code_bytes: int

    @property
    def memory_bytes(self) -> int:
        """What must fit the chip."""
        return self.argument_bytes + self.output_bytes + self.temporary_bytes + self.code_bytes

    def figures(self) -> dict[str, Any]:
        """What is known, for JSON."""
        known = {name: value for name, value in vars(self).items() if name != "run"}
        return known | {"memory_bytes": self.memory_bytes}


def compile_program(program: Program) -> Compiled:
    """Compile a program for the devices of its shardings, and analyse it."""
    jitted = jax.jit(
        program.function,
        in_shardings=program.input_sharding,
        out_shardings=program.output_sharding,
        donate_argnums=program.donated,
    )
    start = time.perf_counter()
    traced = jitted.trace(*jax.eval_shape(program.inputs))
    lowered = traced.lower()
    middle = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    cost: Any = compiled.cost_analysis() or {}
    memory: Any = compiled.memory_analysis()
    optimal = cost.get("optimal_seconds", -1.0)
    return Compiled(
        run=compiled,
        lower_s=middle - start,
        compile_s=end - middle,
        matmul_flops=matmul_flops(traced.jaxpr.jaxpr),
        flops=cost.get("flops"),
        bytes_accessed=cost.get("bytes accessed"),
        optimal_s=optimal if optimal > 0 else None,
        cycles=cycles_of(compiled.as_text() or ""),
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
    )


def matmul_flops(jaxpr: Jaxpr) -> int:
    """FLOPs of the matrix products in a jaxpr: a scan's body as often as it runs, a cond's dearest branch.

    Raises:
        ValueError: there is a product in a `while` loop, whose number of rounds a jaxpr does not say.
    """
    total = 0
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, [matmul_flops(body) for body in jaxprs_in_params(equation.params)]
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left: Any = equation.invars[0].aval
            out: Any = equation.outvars[0].aval
            total += 2 * math.prod(out.shape) * math.prod(left.shape[axis] for axis in contracted)
        elif name == "while" and any(inner):
            raise ValueError("a matrix product stands in a while loop, whose number of rounds is unknown")
        elif name == "cond":
            total += max(inner)
        else:
            total += sum(inner) * (equation.params["length"] if name == "scan" else 1)
    return total


COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
ESTIMATE = re.compile(r'"estimated_cycles":"(\d+)"')
WHILE = re.compile(r" while\(.*condition=%?([\w.\-]+), body=%?([\w.\-]+)")
BRANCHES = re.compile(
    r" conditional\(.*(?:branch_computations=\{([^}]*)\}|true_computation=(\S+), false_computation=(\S+))"
)
CALL = re.compile(r" call\(.*to_apply=%?([\w.\-]+)")
LIMIT = re.compile(r"%?([\w.\-]+) = s32\[\]\S* constant\((\d+)\)")
LESS = re.compile(r"ROOT .* compare\([^,]*, (?:s32\[\]\S* )?%?([\w.\-]+)\), direction=LT")


def cycles_of(text: str) -> int | None:
    """Cycles of an optimised TPU program as the compiler estimates them, loops as often as they run.

    Copies that overlap with work, collectives and scalar operations have no estimate and count 0. Loops are those of
    `scan`, which count from 0 to a constant.

    Returns:
        None where nothing has an estimate: the program is for another platform.

    Raises:
        ValueError: a loop does not count to a constant.
    """
    if not ESTIMATE.search(text):
        return None
    lines: dict[str, list[str]] = {}
    current, entry = "", ""
    for line in text.splitlines():
        if head := COMPUTATION.match(line):
            current = head.group(2)
            entry = current if head.group(1) else entry
            lines[current] = []
        elif current:
            lines[current].append(line)

    def rounds(condition: str) -> int:
        limits = {match[1]: int(match[2]) for line in lines[condition] if (match := LIMIT.search(line))}
        tested = [match[1] for line in lines[condition] if (match := LESS.search(line))]
        if len(tested) != 1 or tested[0] not in limits:
            raise ValueError(f"the loop of condition {condition} does not count to a constant")
        return limits[tested[0]]

    def cycles(name: str) -> int:
        total = 0
        for line in lines[name]:
            if loop := WHILE.search(line):
                total += rounds(loop.group(1)) * cycles(loop.group(2))
            elif branches := BRANCHES.search(line):
                names = ",".join(filter(None, branches.groups())).split(",")
                total += max(cycles(branch.strip(" %")) for branch in names)
            elif call := CALL.search(line):
                total += cycles(call.group(1))
            elif estimate := ESTIMATE.search(line):
                total += int(estimate.group(1))
        return total

    return cycles(entry)
