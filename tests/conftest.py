"""What every test runs under. It comes before any backend starts, since the number of devices is fixed then."""

import os
from pathlib import Path

# The suite spends its time compiling programs that run once: a third of it is LLVM's later passes. Four devices on two
# busy cores wait for each other; XLA ends the process after 40 seconds of that unless told otherwise.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_cpu_collective_call_terminate_timeout_seconds=900"
)

import hypothesis
import jax
import pytest

CACHE_ROOT = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"

jax.config.update("jax_num_cpu_devices", 4)  # so that sharding is tested without hardware
jax.config.update("jax_debug_nans", False)  # some tests feed NaN on purpose
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(Path(CACHE_ROOT, "etm_jax", "tests")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# Each new shape costs a compile: few examples, and the same ones in every run.
hypothesis.settings.register_profile("etm_jax", deadline=None, derandomize=True, max_examples=8)
hypothesis.settings.load_profile("etm_jax")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error")
    # Two workers may meet in the cache folder; one of them then compiles for itself.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache")


@pytest.fixture(autouse=True, scope="module")
def _free_programs():
    """Every compiled program holds memory maps, of which a process may have 65,530; a whole suite needs more."""
    yield
    jax.clear_caches()
