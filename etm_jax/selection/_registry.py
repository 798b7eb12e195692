"""All selectors and archives by name; one listed here is tested and offered in the settings."""

from typing import Any

from etm_jax.selection._aging import AgingSelection
from etm_jax.selection._front import FrontArchive
from etm_jax.selection._lexicase import LexicaseSelection
from etm_jax.selection._map_elites import MapElitesArchive
from etm_jax.selection._niches import NichesSelection
from etm_jax.selection._novelty import NoveltyArchive
from etm_jax.selection._nsga2 import NSGA2Selection
from etm_jax.selection._species import SpeciesSelection
from etm_jax.selection._tournament import TournamentSelection
from etm_jax.selection._truncation import TruncationSelection
from etm_jax.selection._uniform import UniformSelection

SELECTORS: dict[str, type[Any]] = {
    "tournament": TournamentSelection,
    "truncation": TruncationSelection,
    "lexicase": LexicaseSelection,
    "uniform": UniformSelection,
    "aging": AgingSelection,
    "nsga2": NSGA2Selection,
    "niches": NichesSelection,
    "species": SpeciesSelection,
}
ARCHIVES: dict[str, type[Any]] = {
    "front": FrontArchive,
    "map-elites": MapElitesArchive,
    "novelty": NoveltyArchive,
}
