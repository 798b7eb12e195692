"""The contract of archives, which keep members from generation to generation, chosen by their scores."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Array, Int

from etm_jax._typing import Key
from etm_jax.selection._scores import Scores

KEEP = -1  # the place keeps its member
EMPTY = -2  # the place becomes free


@runtime_checkable
class Archive(Protocol):
    """Decides which members are kept, and what the selector sees. Frozen, hashable and pure.

    Like a selector, an archive sees scores and answers with indices, and its `needs` names the scores to measure; the
    engine moves the genomes. A place is occupied where its scores are `alive`.
    """

    @property
    def num_places(self) -> int:
        """Greatest number of members."""
        ...

    @property
    def keeps_genomes(self) -> bool:
        """Whether genomes are kept, or scores only."""
        ...

    @property
    def breeds(self) -> bool:
        """Whether survivors and parents come from the archive instead of the population."""
        ...

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " place"]:
        """For each place the index of the newcomer that takes it, or `KEEP`, or `EMPTY`. The key is consumed."""
        ...

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """The scores that the selector sees."""
        ...

    def record(self, kept: Scores) -> dict[str, Array]:
        """What a generation records, as arrays."""
        ...

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record as plain numbers, computed on the host."""
        ...


@dataclass(frozen=True)
class AutoArchive:
    """In settings: the archive that suits the selector, which is a front for nsga2 and none for the others."""

    kind: ClassVar[str] = "auto"


@dataclass(frozen=True)
class NoArchive:
    """In settings: no archive."""

    kind: ClassVar[str] = "none"
