"""What must be set before JAX starts: CPU cores as devices, several processes, and the persistent compile cache."""

import os
from pathlib import Path

import jax

SECONDS_TO_WAIT_AT_THE_END = 24 * 3600  # for process 0, which scores the champion and writes the report


def use_every_core() -> None:
    """Make each CPU core a JAX device, so that a population spreads over them; no effect once JAX has started.

    A number set before, for example by the environment variable JAX_NUM_CPU_DEVICES, is kept.
    """
    if jax.config.values["jax_num_cpu_devices"] >= 0:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # the caller has used JAX already
        return


def join_processes(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Connect this process to the others of a distributed run; call it before anything starts JAX.

    Args:
        coordinator: host and port of process 0; None for the environment variable JAX_COORDINATOR_ADDRESS, or where JAX
            finds it by itself (SLURM, Open MPI, Kubernetes, Cloud TPU).
        num_processes: of the whole run; None where JAX finds it by itself.
        process_id: 0 to `num_processes - 1`; None where JAX finds it by itself.

    Raises:
        ValueError: the set-up is incomplete or inconsistent.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"coordinator must look like HOST:PORT, for example 10.0.0.1:1234, got {coordinator!r}")
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    if process_id is not None and not 0 <= process_id < (num_processes or process_id + 1):
        raise ValueError(f"process_id must be from 0 to num_processes - 1, got {process_id} with {num_processes=}")
    try:
        jax.distributed.initialize(
            coordinator, num_processes, process_id, shutdown_timeout_seconds=SECONDS_TO_WAIT_AT_THE_END
        )
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"cannot set up the distributed run: {reason} Outside SLURM, Cloud TPU and the like, give every process "
            "--coordinator HOST:PORT, --num-processes and its own --process-id"
        ) from None


def default_compile_cache() -> Path:
    """The folder for compiled programs in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "etm_jax" / "compiled"


def use_compile_cache(folder: str) -> None:
    """Turn on JAX's persistent compile cache.

    Args:
        folder: a path; `"auto"` for JAX's own setting, or `default_compile_cache()` if it has none; `"off"` to leave
            JAX unchanged.
    """
    if folder == "off" or (folder == "auto" and jax.config.values["jax_compilation_cache_dir"]):
        return
    path = default_compile_cache() if folder == "auto" else Path(folder)
    jax.config.update("jax_compilation_cache_dir", str(path))
