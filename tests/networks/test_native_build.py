"""The native kernel where it is installed: built once, loaded only if it is right, done without where it cannot be."""

import errno
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import pytest
from helpers import ROOT

from etm_jax.cells import CellSpec
from etm_jax.networks.native import _build, _check, choose_backend, library

# Compiles at once.
SOURCE = """
extern "C" const char* etm_key() { return ETM_KEY; }
extern "C" long etm_kept_floats() { return 0; }
extern "C" long etm_live_length() { return 0; }
extern "C" long etm_trace_floats() { return 0; }
"""


@pytest.fixture
def small_source(tmp_path, monkeypatch):
    try:
        compiler = _build.find_compiler()
    except _build.NoKernelError as error:
        pytest.skip(str(error))
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "kernel.cc").write_text(SOURCE)
    monkeypatch.setattr(_build, "SOURCES", folder)
    monkeypatch.setattr(_build, "TARGETS", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return compiler


def built(compiler):
    key = _build.key_of(compiler, _build.FLAGS)
    path, functions = _build.load_or_build(_build.cache_folder(), key, compiler, _build.FLAGS)
    return path, key, functions


# 1. what is loaded


def test_a_library_is_built_once(small_source):
    path, _, functions = built(small_source)
    written = path.stat().st_mtime_ns
    assert functions is not None
    assert built(small_source)[0].stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing temporary is left


def test_two_at_once_build_the_same_library(small_source):
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(built, [small_source] * 2)
    assert first[1] == second[1]
    assert first[2].etm_key() == second[2].etm_key() == first[1].encode()
    assert {file.name for file in first[0].parent.iterdir()} == {first[0].name, second[0].name}


def test_another_source_compiler_or_flag_is_another_library(small_source, monkeypatch):
    key = _build.key_of(small_source, _build.FLAGS)
    others = {_build.key_of(small_source, (*_build.FLAGS, "-g"))}
    for module, name, value in ((_build.jaxlib.version, "__version__", "0"), (_build, "processor", lambda: "avx2")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            others.add(_build.key_of(small_source, _build.FLAGS))
    (_build.SOURCES / "kernel.cc").write_text(SOURCE + "// changed")
    others.add(_build.key_of(small_source, _build.FLAGS))
    assert len(others) == 4 and key not in others


@pytest.mark.parametrize("damage", ["cut off", "a byte changed", "no library", "of another key"])
def test_a_damaged_or_wrong_file_is_not_loaded_and_built_again(small_source, damage):
    key, folder = _build.key_of(small_source, _build.FLAGS), _build.cache_folder()
    path = _build.build(folder, "another" if damage == "of another key" else key, small_source, _build.FLAGS)
    content = path.read_bytes()
    if damage == "cut off":  # the system's loader would end the process with a bus error
        path.write_bytes(content[:4096])
    elif damage == "a byte changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:  # under the name that its content would have for this key
        if damage == "no library":
            path.write_text(damage)
        path = path.rename(folder / _build.name_of(key, path))
    assert _build.load(path, key) is None
    again, _, functions = built(small_source)
    assert functions.etm_key() == key.encode()
    assert again.name == _build.name_of(key, again)


def test_the_self_check_asks_xla_again_where_its_file_is_wrong(kernel, tmp_path):
    reference = tmp_path / "reference.json"
    for content in ("not JSON", "[1.0, 2.0]"):
        reference.write_text(content)
        _check.check(library().functions, reference)
    right = reference.read_text()
    reference.write_text(right.replace("1", "7"))
    _check.check(library().functions, reference)
    assert reference.read_text() == right


def test_the_self_check_fails_where_the_results_differ(kernel, tmp_path, monkeypatch):
    monkeypatch.setattr(_check, "TOLERANCE", 1e-12)
    with pytest.raises(_build.NoKernelError, match="in its self-check it differs from XLA by"):
        _check.check(library().functions, tmp_path / "reference.json")


# 2. where there is no kernel

ANSWERS = '[ "$1" = --version ] && exit 0\n'


def compiler_of(text):
    """A compiler that is this shell script."""

    def put(patch, folder):
        path = folder / "compiler"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        patch.setenv("CXX", str(path))

    return put


def no_compiler(patch, folder):
    patch.delenv("CXX", raising=False)
    patch.setattr(shutil, "which", lambda name: None)


def silent_compiler(patch, folder):
    patch.setattr(_build, "SECONDS_TO_ANSWER", 0.1)
    compiler_of("exec sleep 10")(patch, folder)


def endless_compiler(patch, folder):
    patch.setattr(_build, "SECONDS_TO_COMPILE", 0.1)
    compiler_of(ANSWERS + "exec sleep 10")(patch, folder)


def old_processor(patch, folder):
    patch.setattr(platform, "machine", lambda: "x86_64")
    patch.setattr(_build, "processor", lambda: "fpu sse sse2")


def cache_is_a_file(patch, folder):
    (folder / "file").write_text("")
    patch.setenv("XDG_CACHE_HOME", str(folder / "file"))


def cache_can_only_be_read(patch, folder):
    def refuse(**where):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(where["dir"]))

    patch.setattr(tempfile, "mkstemp", refuse)  # root may write into every folder


def check_raises(error):
    def check(functions, reference):
        raise error

    return lambda patch, folder: patch.setattr(_check, "check", check)


UNFIT = {
    "no compiler": (no_compiler, r"no C\+\+ compiler was found \(looked for g\+\+, .*; install"),
    "CXX names nothing": (lambda patch, _: patch.setenv("CXX", "no-such-compiler"), "looked for no-such-compiler"),
    "CXX names no compiler": (compiler_of("exit 1"), "--version fails; set CXX"),
    "a compiler without an answer": (silent_compiler, "--version does not answer; set CXX"),
    "a compiler that fails": (compiler_of(ANSWERS + "echo 'x: error: broken' >&2; exit 1"), "cannot compile.*broken"),
    "a compiler that says nothing": (compiler_of(ANSWERS + "exit 1"), "cannot compile the kernel: no message"),
    "a compiler in no encoding": (compiler_of(ANSWERS + r"printf '\377\n' >&2; exit 1"), "cannot compile the kernel: "),
    "a compiler that makes nothing": (compiler_of(ANSWERS + "exit 0"), "was built but cannot be loaded"),
    "a compiler without end": (endless_compiler, "did not finish within 0.1 s"),
    "a processor with SSE2 alone": (old_processor, "the processor has no avx, avx2, .*fma"),
    "another machine": (lambda patch, _: patch.setattr(platform, "machine", lambda: "riscv64"), "machine is riscv64"),
    "Windows": (lambda patch, _: patch.setattr(platform, "system", lambda: "Windows"), "Windows"),
    "a cache that is a file": (cache_is_a_file, "cannot be made .*; set XDG_CACHE_HOME"),
    "a cache that can only be read": (cache_can_only_be_read, "Permission denied"),
    "a cache open to others": (lambda patch, folder: _build.cache_folder().chmod(0o777), "chmod 700"),
    "a failing self-check": (check_raises(_build.NoKernelError("in its self-check it differs")), "in its self-check"),
    "a jaxlib of other calls": (check_raises(jax.errors.JaxRuntimeError("INVALID:\nversion")), "INVALID: version"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_where_there_is_no_kernel_xla_computes_and_one_line_says_why(small_source, tmp_path, monkeypatch, case):
    make_unfit, message = UNFIT[case]
    monkeypatch.setattr(_build, "_library", _build._library.__wrapped__)  # not what this process has found before
    make_unfit(monkeypatch, tmp_path)
    backend = choose_backend("auto", CellSpec())
    assert not backend.native
    assert "\n" not in backend.why_xla
    with pytest.raises(ValueError, match=f"^native must be auto or off here, .*{message}"):
        choose_backend("on", CellSpec())


def test_where_nothing_is_wrong_the_kernel_is_used(small_source, monkeypatch):
    """Else the test above could pass whatever it breaks."""
    monkeypatch.setattr(_build, "_library", _build._library.__wrapped__)
    monkeypatch.setattr(_check, "check", lambda functions, reference: None)
    assert choose_backend("on", CellSpec()).native


# 3. every set of instructions


def forms():
    """Flags for the instructions that this machine can run, the plain vectors of other machines among them."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return [()]
    features = set(_build.processor().split())
    wider = (("-march=x86-64-v3", _build.X86_64_V3), ("-march=x86-64-v4", _build.X86_64_V4))
    return [("-march=x86-64",), *((flag,) for flag, needed in wider if features >= needed)]


FORMS = pytest.mark.parametrize("flags", forms(), ids=lambda flags: " ".join(flags) or "default")


@pytest.fixture
def compiler():
    try:
        return _build.find_compiler()
    except _build.NoKernelError as error:
        pytest.skip(str(error))


@pytest.mark.slow  # 12 CPU seconds of compiling each
@FORMS
def test_sanitizers_find_nothing_in_random_calls(compiler, tmp_path, flags):
    """Out-of-range genes too, which must be refused."""
    program = tmp_path / "fuzz"
    sanitizers = ["-std=c++17", "-O1", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    source = Path(__file__).with_name("native_fuzz.cc")
    command = [compiler, *sanitizers, *flags, f"-I{_build.SOURCES}", str(source), "-o", str(program)]
    made = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in made.stderr:  # the sanitizers' own libraries
        pytest.skip(f"no sanitizers here: {made.stderr[-200:]}")
    assert made.returncode == 0, made.stderr[-4000:]
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.slow
@FORMS
def test_every_form_computes_what_xla_computes(compiler, tmp_path, flags):
    """The self-check of a library built for these instructions, in a process of its own."""
    code = f"from etm_jax.networks.native import _build; _build.machine_flags = lambda: {flags!r}; "
    code += "print(_build.library().reason or 'right')"
    paths = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tasks")])}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | paths, capture_output=True, text=True)
    assert done.stdout == "right\n", done.stdout + done.stderr[-2000:]
