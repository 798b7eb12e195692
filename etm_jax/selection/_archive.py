"""The contract of archives: members kept from generation to generation, chosen by their scores alone."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Array, Int

from etm_jax._typing import Key
from etm_jax.selection._scores import Scores

KEEP = -1  # the place keeps whoever is there
EMPTY = -2  # the place is emptied


@runtime_checkable
class Archive(Protocol):
    """Decides who of a population is kept, and how that changes the selection. Frozen and hashable; pure.

    An archive sees scores and answers with indices, as selectors do; the engine moves the genomes. A place is occupied
    where its scores are `alive`. As with selectors, `needs` names what is to be measured.
    """

    @property
    def num_places(self) -> int:
        """Members that it holds at most."""
        ...

    @property
    def keeps_genomes(self) -> bool:
        """Whether the genomes are needed, or the scores alone."""
        ...

    @property
    def breeds(self) -> bool:
        """Whether survivors and parents come from the archive instead of from the population."""
        ...

    def admit(self, key: Key, kept: Scores, newcomers: Scores) -> Int[Array, " place"]:
        """For each place the newcomer that takes it, or `KEEP`, or `EMPTY`. The key is consumed."""
        ...

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """What the selector is shown of a population."""
        ...

    def record(self, kept: Scores) -> dict[str, Array]:
        """What a generation puts on record, as arrays."""
        ...

    def summary(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record as plain numbers, on the host."""
        ...


@dataclass(frozen=True)
class AutoArchive:
    """In settings: the archive that the selection asks for, a front for nsga2, none for the others."""

    kind: ClassVar[str] = "auto"


@dataclass(frozen=True)
class NoArchive:
    """In settings: nothing is kept beside the population."""

    kind: ClassVar[str] = "none"
