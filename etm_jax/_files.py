"""Files that are there whole or not at all, folders that one process at a time writes to, and JSON of bounded size."""

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
except ImportError:  # Windows, where nobody is kept out
    fcntl = None


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file by way of a temporary neighbour, so that a crash never leaves half of it.

    Raises:
        OSError: it cannot be written; what was there before still is.
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
    """Have the system put a file or a folder on disk, where it can."""
    with contextlib.suppress(OSError):  # some file systems sync no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Put a new folder, which `fill` writes, in place of an old one; `present` finds one of them at any time."""
    fresh, old = (path.with_name(f".{path.name}.{word}") for word in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fill(fresh)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(fresh, path)
    shutil.rmtree(old, ignore_errors=True)


def present(path: Path) -> Path:
    """A folder that `replace_folder` writes, or the one before where that was stopped between its two renames."""
    old = path.with_name(f".{path.name}.old")
    return old if old.exists() and not path.exists() else path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file with this process's id and host in it.

    The system lets go of it when its process ends in whatever way, so that a file left behind keeps nobody out.

    Raises:
        ValueError: another process holds it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _take(descriptor):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise ValueError(f"{path.parent} is in use by {holder}; wait until that has ended, or stop it")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)  # whoever had it before has just deleted this file
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
    except OSError:  # a file system without locks: what the file says has to do
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
    """A JSON file that somebody else may have written.

    Args:
        path: of the file.
        most_bytes: a larger file is refused unread.

    Raises:
        ValueError: it is no regular file, too large, not UTF-8, or not JSON.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing or no regular file")
    size = path.stat().st_size
    if size > most_bytes:
        raise ValueError(f"{path.name} has {size:,} bytes, and at most {most_bytes:,} make sense")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
