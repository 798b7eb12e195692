"""What a benchmark ran on, saved next to its numbers."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import jax

ROOT = Path(__file__).resolve().parents[1]
# Environment variables that limit the instructions or the threads of JAX, PyTorch and the native kernel.
LIMITS = ("XLA_FLAGS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "CXX", "OMP_NUM_THREADS")


def pin(threads: int) -> None:
    """Allow this process `threads` cores; call before anything touches a device, where thread pools are made."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def context() -> dict[str, str | int]:
    """Device, versions, date, commit, processor, and what limits it."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "device": jax.devices()[0].device_kind,
        "processor": processor(),
        "limits": " ".join(f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ),
        "cores": os.cpu_count() or 0,
        "cores_used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "python": platform.python_version(),
        "jax": version("jax"),
        "torch": version("torch"),
    }


def commit() -> str:
    """The short commit, with `-dirty` where a tracked file differs from it; `unknown` outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str:
    """A package's version, or `absent`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
