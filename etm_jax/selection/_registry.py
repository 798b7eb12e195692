"""All selectors and archives by name. What is listed here is tested, and a run's settings offer it with its options."""

from typing import TYPE_CHECKING, Any, Union

from etm_jax.selection._archive import AutoArchive, NoArchive
from etm_jax.selection._by_fitness import AgingSelection, TournamentSelection, TruncationSelection, UniformSelection
from etm_jax.selection._front import FrontArchive
from etm_jax.selection._lexicase import LexicaseSelection
from etm_jax.selection._map_elites import MapElitesArchive
from etm_jax.selection._niches import NichesSelection
from etm_jax.selection._novelty import NoveltyArchive
from etm_jax.selection._pareto import NSGA2Selection
from etm_jax.selection._species import SpeciesSelection

SELECTORS: dict[str, type[Any]] = {
    one.kind: one
    for one in (
        TournamentSelection,
        TruncationSelection,
        LexicaseSelection,
        UniformSelection,
        AgingSelection,
        NSGA2Selection,
        NichesSelection,
        SpeciesSelection,
    )
}
ARCHIVES: dict[str, type[Any]] = {
    one.kind: one for one in (AutoArchive, NoArchive, FrontArchive, MapElitesArchive, NoveltyArchive)
}
if TYPE_CHECKING:
    AnySelector = Any
    AnyArchive = Any
else:  # the command line makes flags of these unions
    AnySelector = Union[tuple(SELECTORS.values())]  # noqa: UP007
    AnyArchive = Union[tuple(ARCHIVES.values())]  # noqa: UP007
