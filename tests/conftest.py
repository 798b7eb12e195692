"""What every test runs under. It comes before any backend starts, since the number of devices is fixed then."""

import gc
import os
import signal
from pathlib import Path

# The suite spends its time compiling programs that run once: without LLVM's later passes and the fusion emitters that
# is three to five times faster. Four devices on two busy cores wait for each other; XLA ends the process after 40
# seconds of that unless told otherwise.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_collective_call_terminate_timeout_seconds=900",
)

import hypothesis
import jax
import pytest

# JAX traces by making objects, hundreds of thousands a test; Python would look through all that live again and again.
gc.set_threshold(100_000, 20, 50)

# A suite that a shell runs in the background starts deaf to Ctrl-C, which some tests send themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CACHE_ROOT = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"

jax.config.update("jax_num_cpu_devices", 4)  # so that sharding is tested without hardware
jax.config.update("jax_debug_nans", False)  # some tests feed NaN on purpose
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(Path(CACHE_ROOT, "etm_jax", "tests")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# Each new shape costs a compile: few examples, and the same ones in every run.
hypothesis.settings.register_profile("etm_jax", deadline=None, derandomize=True, max_examples=8)
hypothesis.settings.load_profile("etm_jax")


LEFT_OUT = pytest.StashKey[int]()
MEMORY_MAPS = Path("/proc/self/maps")
MANY_MAPS = 15_000  # a process may have 65,530, and one module needs up to 20,000; more only costs memory


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error")
    # Two workers may meet in the cache folder; one of them then compiles for itself.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache")
    config.stash[LEFT_OUT] = 0


def pytest_collection_modifyitems(config, items):
    """Leave out the slow tests, unless they are asked for."""
    if config.getoption("slow") or config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    config.stash[LEFT_OUT] = len(slow)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """The last line of all says what was left out."""
    config = session.config
    if hasattr(config, "workeroutput"):  # a worker of xdist, which prints nothing itself
        config.workeroutput["left_out"] = config.stash[LEFT_OUT]
    result = yield
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and config.stash[LEFT_OUT]:
        reporter.write_line(f"{config.stash[LEFT_OUT]} slow tests were left out; pytest --slow runs all")
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Every worker collects, and leaves out, the same tests."""
    if hasattr(node, "workeroutput"):
        node.config.stash[LEFT_OUT] = node.workeroutput["left_out"]


@pytest.fixture(scope="session")
def kernel():
    """Skips the test where there is no native kernel."""
    from etm_jax.networks.native import library  # here, once the settings above are made

    if library().reason:
        pytest.skip(f"no native kernel: {library().reason}")


@pytest.fixture(params=[False, True], ids=["XLA", "kernel"], scope="session")
def native(request):
    """Networks of the test by XLA, then by the native kernel."""
    if request.param:
        request.getfixturevalue("kernel")
    return request.param


@pytest.fixture(autouse=True, scope="module")
def _free_programs():
    """Every compiled program holds memory maps, of which a process may not have many; a whole suite needs more."""
    yield
    if MEMORY_MAPS.exists() and len(MEMORY_MAPS.read_bytes().splitlines()) > MANY_MAPS:
        jax.clear_caches()
