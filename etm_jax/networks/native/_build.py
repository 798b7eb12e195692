"""The compiled kernel: built at first use by the system's compiler, kept in the user's cache folder, then checked."""

import _ctypes
import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jaxlib.version

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-w", "-fPIC", "-shared")
COMPILERS = ("g++", "clang++", "c++")
X86_64_V3 = {"avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}  # as the kernel of Linux names them
X86_64_V4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
# Names of XLA's foreign functions, and of those of the library.
TARGETS = {
    f"etm_{name.lower()}": f"Etm{name}" for name in ("Gather", "Scatter", "Places", "Forward", "Weightings", "Backward")
}
SECONDS_TO_COMPILE, SECONDS_TO_ANSWER = 300, 30

logger = logging.getLogger(__name__)


class NoKernelError(Exception):
    """There is no kernel here; the text says why, in one line."""


@dataclass(frozen=True)
class Library:
    """The kernel, or the reason that there is none.

    Attributes:
        functions: its plain functions; None where there is no kernel.
        path: its file.
        reason: why there is no kernel; empty where there is one.
    """

    functions: ctypes.CDLL | None = None
    path: Path | None = None
    reason: str = ""


_lock = threading.Lock()  # two threads must not build and register at once


def library() -> Library:
    """The kernel, built, loaded and checked once a process."""
    with _lock:
        return _library()


@functools.cache
def _library() -> Library:
    try:
        flags, compiler = (*FLAGS, *machine_flags()), find_compiler()
        key, folder = key_of(compiler, flags), cache_folder()
        path, functions = load_or_build(folder, key, compiler, flags)
        for target, name in TARGETS.items():
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(functions, name)), platform="cpu")
        from etm_jax.networks.native._check import check  # here, because it calls what this loads

        check(functions, folder / f"kernel-{key}.json")
    except NoKernelError as error:
        return Library(reason=str(error))
    except (OSError, jax.errors.JaxRuntimeError) as error:  # such as a full disk; a jaxlib with other foreign functions
        return Library(reason=" ".join(str(error).split()))
    return Library(functions, path)


def find_compiler() -> str:
    """The C++ compiler that the environment variable CXX names, or the first known one."""
    named = os.environ.get("CXX")
    found = [shutil.which(name) for name in ([named] if named else COMPILERS)]
    if not any(found):
        looked = f"{named}, as CXX says" if named else ", ".join(COMPILERS)
        raise NoKernelError(f"no C++ compiler was found (looked for {looked}); install g++ or clang++, or set CXX")
    return next(path for path in found if path)


def machine_flags() -> tuple[str, ...]:
    """What tells the compiler which instructions the machine has."""
    machine = platform.machine().lower()
    if platform.system() == "Windows":
        raise NoKernelError("the kernel is not written for Windows' compilers")
    if machine in ("aarch64", "arm64"):
        return ()
    if machine not in ("x86_64", "amd64"):
        raise NoKernelError(f"the kernel is written for x86-64 and aarch64, and this machine is {machine}")
    features = set(processor().split())
    missing = sorted(X86_64_V3 - features)
    if missing:
        raise NoKernelError(f"the processor has no {', '.join(missing)}, which x86-64-v3 needs, or does not say so")
    return ("-march=x86-64-v4" if features >= X86_64_V4 else "-march=x86-64-v3",)


@functools.cache
def processor() -> str:
    """The features of the processor, in one line; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return " ".join(sorted(found.group(1).split())) if found else ""


def sources() -> list[Path]:
    """The files of the kernel."""
    return sorted(path for path in SOURCES.iterdir() if path.suffix in (".cc", ".h"))


def key_of(compiler: str, flags: tuple[str, ...]) -> str:
    """What a library belongs to: sources, compiler, flags, processor and jaxlib, as a hash."""
    try:
        version = run_compiler([compiler, "--version"], SECONDS_TO_ANSWER)
    except subprocess.TimeoutExpired:
        raise NoKernelError(f"{compiler} --version does not answer; set CXX to a C++ compiler") from None
    if version.returncode:
        raise NoKernelError(f"{compiler} --version fails; set CXX to a C++ compiler")
    whole = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        whole.update(f"{path.name} {len(content)}\n".encode() + content)
    parts = (compiler, version.stdout, *flags, platform.machine(), processor(), jaxlib.version.__version__)
    whole.update("\n".join(parts).encode())
    return whole.hexdigest()[:32]


def run_compiler(command: list[str], seconds: int | float) -> subprocess.CompletedProcess[str]:
    """What the compiler says; in whatever language and encoding."""
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)


def cache_folder() -> Path:
    """The folder of built libraries, in the user's cache folder; no other user may write there."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base, "etm_jax", "native")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        reason = f"{folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME to a folder that can be written"
        raise NoKernelError(reason) from None
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoKernelError(f"others can write to {folder}, from which libraries are loaded; chmod 700 it")
    return folder


def load_or_build(folder: Path, key: str, compiler: str, flags: tuple[str, ...]) -> tuple[Path, ctypes.CDLL]:
    """The library of this key, from the folder or newly built; a file that cannot be loaded is built again."""
    for path in sorted(folder.glob(f"kernel-{key}-*.so")):
        functions = load(path, key)
        if functions:
            return path, functions
    path = build(folder, key, compiler, flags)
    functions = load(path, key)
    if not functions:
        raise NoKernelError(f"{path} was built but cannot be loaded")
    return path, functions


def load(path: Path, key: str) -> ctypes.CDLL | None:
    """The library, unless the file is damaged or was built for another key."""
    try:
        if path.name != name_of(key, path):  # the loader itself breaks off the process where a file is cut off
            return None
        functions = ctypes.CDLL(str(path))
    except OSError:
        return None
    try:
        functions.etm_key.restype = ctypes.c_char_p
        for name in ("etm_kept_floats", "etm_trace_floats", "etm_live_length"):
            getattr(functions, name).restype = ctypes.c_int64
        if functions.etm_key() == key.encode():
            return functions
    except AttributeError:
        pass
    _ctypes.dlclose(functions._handle)
    return None


def name_of(key: str, path: Path) -> str:
    """The name of a library of this key and with the content of this file."""
    return f"kernel-{key}-{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}.so"


def build(folder: Path, key: str, compiler: str, flags: tuple[str, ...]) -> Path:
    """Compile to a temporary neighbour and rename it, so that another process finds all of the file or nothing."""
    logger.info("compiling the native kernel with %s, about 10 s, once for this machine", compiler)
    began = time.monotonic()
    descriptor, temporary = tempfile.mkstemp(suffix=".so", prefix=".", dir=folder)
    os.close(descriptor)
    include = f"-I{jax.ffi.include_dir()}"
    command = [compiler, *flags, f'-DETM_KEY="{key}"', include, str(SOURCES / "kernel.cc"), "-o", temporary]
    try:
        done = run_compiler(command, SECONDS_TO_COMPILE)
        if done.returncode:
            lines = done.stderr.splitlines() or ["no message"]
            first = next((line for line in lines if "error" in line), lines[0])
            raise NoKernelError(f"{compiler} cannot compile the kernel: {first}")
        os.chmod(temporary, 0o700)
        path = folder / name_of(key, Path(temporary))
        os.replace(temporary, path)
    except subprocess.TimeoutExpired:
        raise NoKernelError(f"{compiler} did not finish within {SECONDS_TO_COMPILE} s") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    logger.info("compiled the native kernel in %.1f s", time.monotonic() - began)
    return path
