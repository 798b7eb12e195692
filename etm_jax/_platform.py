"""What must be set before JAX starts: CPU cores as devices, and the persistent compile cache."""

import os
from pathlib import Path

import jax


def use_every_core() -> None:
    """Make each CPU core a JAX device, so that a population spreads over them; no effect once JAX has started."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # the caller has used JAX already
        return


def default_compile_cache() -> Path:
    """Where compiled programs are kept between starts: a folder of the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "etm_jax" / "compiled"


def use_compile_cache(folder: str) -> None:
    """Turn on JAX's persistent compile cache.

    Args:
        folder: a path; `"auto"` for JAX's own setting if there is one and else `default_compile_cache()`; `"off"` to
            leave JAX as it is.
    """
    if folder == "off" or (folder == "auto" and jax.config.values["jax_compilation_cache_dir"]):
        return
    path = default_compile_cache() if folder == "auto" else Path(folder)
    jax.config.update("jax_compilation_cache_dir", str(path))
