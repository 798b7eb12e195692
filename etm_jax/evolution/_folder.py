"""The run folder: settings, one row a generation or trip, the best network, the summary."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from etm_jax._files import write_atomically
from etm_jax._rows import Row
from etm_jax.config import EvolutionaryTuringConfig, read_config, to_toml
from etm_jax.emergent import AUTOMATON, load_automaton
from etm_jax.genomes import load_network
from etm_jax.graph import GRAPH, load_graph

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, config: Any) -> "RunFolder":
        """Make a folder for a new run of these settings.

        Raises:
            ValueError: the path is taken.
        """
        cls.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path)
        write_atomically(folder.config_file, to_toml(config))
        return folder

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

    @property
    def config_file(self) -> Path:
        """The settings."""
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        """Orbax's folder."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The best network."""
        return self.path / "best"

    @overload
    def config(self) -> EvolutionaryTuringConfig: ...
    @overload
    def config(self, default: _Settings) -> _Settings: ...
    def config(self, default: Any = None) -> Any:
        """The settings the run was started with; of the kind of `default`, or else of evolution."""
        return read_config(self.config_file, default)

    def append(self, metrics: Row, lineage: Row | None = None) -> None:
        """Add one generation, or one trip of training, which has no lineage."""
        for name, row in (("metrics.jsonl", metrics), ("lineage.jsonl", lineage)):
            if row is not None:
                with (self.path / name).open("a") as file:
                    file.write(json.dumps(row) + "\n")

    def rows(self) -> list[Row]:
        """The metrics so far, oldest first; a torn last line is left out."""
        return _read_rows(self.path / "metrics.jsonl")

    def cut_after(self, count: int, counter: str = "generation") -> None:
        """Drop the rows of generations, or of what else is counted, that a resumed run will do again."""
        for path in (self.path / "metrics.jsonl", self.path / "lineage.jsonl"):
            if path.exists():
                rows = [row for row in _read_rows(path) if row[counter] < count]
                write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))

    def finish(self, save: Callable[[Path], None], summary: dict[str, Any]) -> None:
        """Write the best model, which `save` puts into a folder, and the summary."""
        save(self.best)
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")


def load_best(run: str | Path) -> Any:
    """The compact network, the automaton or the graph that a run saved as its best.

    Args:
        run: the run folder.

    Returns:
        A flax module: `model(inputs [batch time input]) -> logits [batch time output]`, an `EvolvedEM43`, or what
        acts by its `policy()`: an `EvolvedEM33` or an `EvolvedGraph`.

    Raises:
        ValueError: the folder holds no network; a run writes it when it ends or is interrupted.
    """
    folder = RunFolder.open(Path(run)).best
    return load_model(folder)


def load_model(folder: Path) -> Any:
    """The network, the automaton or the graph of a folder that a family saved it in."""
    for name, load in ((AUTOMATON, load_automaton), (GRAPH, load_graph)):
        if (folder / name).exists():
            return load(folder)
    return load_network(folder)


def _read_rows(path: Path) -> list[Row]:
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a killed run
            break
    return rows
