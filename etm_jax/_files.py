"""Atomic writes of files and folders, a lock for one writing process, and JSON of bounded size."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, where the lock excludes no other process
    fcntl = None


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file through a temporary neighbour, so that a crash never leaves half of it.

    Raises:
        OSError: it cannot be written; an older file is left unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk, where the system can."""
    with contextlib.suppress(OSError):  # some file systems cannot sync folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Replace a folder by one that `fill` writes; `present` finds the old or the new one at any time."""
    fresh, old = (path.with_name(f".{path.name}.{word}") for word in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fill(fresh)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(fresh, path)
    shutil.rmtree(old, ignore_errors=True)


def present(path: Path) -> Path:
    """The folder that `replace_folder` wrote last; the old one if it was stopped between its two renames."""
    old = path.with_name(f".{path.name}.old")
    return old if old.exists() and not path.exists() else path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file that names this process and its host.

    The system releases the lock when the process ends in any way, so a file left behind blocks no other process.

    Raises:
        ValueError: another process holds the lock.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _take(descriptor):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise ValueError(f"{path.parent} is in use by {holder}; wait until it ends, or stop it")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)  # the previous holder has just deleted this file
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: trust what the file says
        words = os.pread(descriptor, 200, 0).decode(errors="replace").split()
        here = len(words) == 4 and words[1].isdecimal() and words[3] == socket.gethostname()
        return not (here and _alive(int(words[1])))
    return True


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_json(path: Path, most_bytes: int) -> Any:
    """The content of a JSON file that need not be trusted.

    Args:
        path: of the file.
        most_bytes: a larger file is refused unread.

    Raises:
        ValueError: it is not a regular file, too large, not UTF-8, or not JSON.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing or not a regular file")
    size = path.stat().st_size
    if size > most_bytes:
        raise ValueError(f"{path.name} has {size:,} bytes; at most {most_bytes:,} are accepted")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
