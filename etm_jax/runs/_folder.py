"""The run folder: settings, one row a generation or chunk, the best network, the summary."""

import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from etm_jax import __version__
from etm_jax._files import locked, present, replace_folder, sync, write_atomically
from etm_jax._toml import read_table, replaced, to_toml
from etm_jax.runs._rows import Row, as_lines, ranges_of, read_rows

logger = logging.getLogger(__name__)

METRICS, LINEAGE = "metrics.jsonl", "lineage.jsonl"
WRITTEN_BY = "etm_jax"  # the key of config.toml that holds the version
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, config: Any, note: str = "") -> "RunFolder":
        """Make a folder for a new run of these settings.

        Args:
            path: of the folder.
            config: the settings.
            note: why the run cannot be resumed from its settings alone; the command line then refuses to.

        Raises:
            ValueError: the path is taken, or the settings cannot be read again.
            OSError: the folder cannot be made.
        """
        cls.check_free(path)
        text = f'{WRITTEN_BY} = "{__version__}"\n{to_toml(config)}'
        text.encode()  # a ValueError, before anything is made
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path)
        try:
            with folder.config_file.open("x", encoding="utf-8") as file:  # refuses one of two runs that start at once
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            cls.check_free(path)
            raise
        if folder.config(config) != config:
            raise ValueError(f"the settings do not come back from {folder.config_file}; give plain numbers and texts")
        if note:
            write_atomically(folder.note_file, note + "\n")
        return folder

    @classmethod
    def create_by_time(cls, parent: Path, config: Any) -> "RunFolder":
        """Make a folder named after the time, with a number behind it if that is taken.

        Raises:
            OSError: the folder cannot be made.
        """
        parent.mkdir(parents=True, exist_ok=True)
        name = time.strftime("%Y%m%d-%H%M%S")
        for count in itertools.count(1):
            path = parent / (name if count == 1 else f"{name}-{count}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls.create(path, config)
        raise AssertionError

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a path that is taken.

        Raises:
            ValueError: it is.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(f"out must be a new or empty folder, got {path}; choose another, or --resume {path}")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of a run that was started before.

        Raises:
            ValueError: there is no run.
        """
        folder = cls(path)
        if not folder.config_file.is_file():
            raise ValueError(f"{path} is no run folder: it has no config.toml; give the folder that a run printed")
        return folder

    def check_whole(self) -> None:
        """Refuse a run that its settings do not describe, such as one that Python started with its own tasks.

        Raises:
            ValueError: it is one.
        """
        if self.note_file.exists():
            raise ValueError(f"{self.path} {self.note_file.read_text(encoding='utf-8', errors='replace').strip()}")

    @property
    def config_file(self) -> Path:
        """The settings."""
        return self.path / "config.toml"

    @property
    def note_file(self) -> Path:
        """What the settings do not say."""
        return self.path / "not_resumable.txt"

    @property
    def checkpoints(self) -> Path:
        """Orbax's folder."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The best network."""
        return present(self.path / "best")

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out while this one writes to the run.

        Raises:
            ValueError: another process writes to it.
        """
        return locked(self.path / "run.lock")

    def raw_config(self) -> dict[str, Any]:
        """The table of the settings as they were written.

        Raises:
            ValueError: it cannot be read, or another version wrote the folder.
        """
        table = read_table(self.config_file)
        writer = table.pop(WRITTEN_BY, None)
        if _format(writer) != _format(__version__):
            by = f"version {writer}" if writer else "version 0.1 or an earlier one"
            raise ValueError(
                f"{self.path} was written by {by} of etm_jax, and this is {__version__}; use that version for this "
                "run, or start a new one"
            )
        return table

    def config(self, default: Settings) -> Settings:
        """The settings that the run was started with, of the kind of `default`.

        Raises:
            ValueError: they cannot be read, or another version wrote the folder.
        """
        return replaced(default, self.raw_config())

    def append(self, metrics: Row, lineage: Row | None = None) -> None:
        """Add one generation, or one chunk of training, which has no lineage."""
        for name, row in ((METRICS, metrics), (LINEAGE, lineage)):
            if row is not None:
                with (self.path / name).open("a", encoding="utf-8") as file:
                    file.write(as_lines([row]))

    def sync(self) -> None:
        """Flush the rows to disk, before a checkpoint that relies on them."""
        for name in (METRICS, LINEAGE):
            if (self.path / name).exists():
                sync(self.path / name)

    def rows(self, counter: str = "generation") -> list[Row]:
        """The metrics so far, oldest first."""
        return read_rows(self.path / METRICS, counter).rows

    def cut_after(self, count: int, counter: str = "generation") -> None:
        """Drop the rows of generations, or of chunks, that a resumed run will repeat.

        Rows that should be there and are not are named in a warning.
        """
        for path in (self.path / METRICS, *([self.path / LINEAGE] if counter == "generation" else [])):
            found = read_rows(path, counter)
            rows = [row for row in found.rows if row[counter] < count]
            if found.unreadable:
                logger.warning("%s has lines that are no rows: %s; they are dropped", path.name, found.unreadable)
            missing = sorted(set(range(count)) - {row[counter] for row in rows})
            if missing:
                logger.warning("%s lacks %s %s; the run continues", path.name, counter, ranges_of(missing))
            lines = as_lines(rows)
            if path.exists() and path.read_text(encoding="utf-8", errors="replace") != lines:
                write_atomically(path, lines)

    def check_rows(self, tasks: Sequence[str], resumed: bool, counter: str = "generation") -> None:
        """Refuse to write over rows that are not this run's.

        Args:
            tasks: names of the tasks of the run.
            resumed: True = there is a checkpoint to go on from.
            counter: what the rows count.

        Raises:
            ValueError: there are rows without a checkpoint, or of other tasks.
        """
        rows = self.rows(counter)
        if rows and not resumed:
            raise ValueError(
                f"{self.path} has rows up to {counter} {rows[-1][counter]} and no checkpoint to resume from; start "
                f"again in a new folder with --config {self.config_file} --out NEW"
            )
        theirs = rows[-1].get("difficulty") if rows else None
        if isinstance(theirs, dict) and set(theirs) != set(tasks):
            raise ValueError(
                f"{self.path} has rows of the tasks {', '.join(theirs)}, and this run is of {', '.join(tasks)}"
            )

    def save_best(self, save: Callable[[Path], None]) -> None:
        """Put the best model, which `save` writes into a folder, in place of the one before."""
        replace_folder(self.path / "best", save)

    def finish(self, save: Callable[[Path], None], summary: dict[str, Any]) -> None:
        """Write the best model, which `save` puts into a folder, and the summary."""
        self.save_best(save)
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")


def _format(version: object) -> tuple[str, ...]:
    """What of a version says how it writes run folders: the major and the minor number."""
    return tuple(str(version).split(".")[:2])
