"""Selection and archives: who survives, who becomes a parent, who is kept. Sees scores, never genomes."""

from etm_jax.selection._aging import AgingSelection as AgingSelection
from etm_jax.selection._archive import EMPTY as EMPTY
from etm_jax.selection._archive import KEEP as KEEP
from etm_jax.selection._archive import Archive as Archive
from etm_jax.selection._elites import elites as elites
from etm_jax.selection._front import FrontArchive as FrontArchive
from etm_jax.selection._lexicase import LexicaseSelection as LexicaseSelection
from etm_jax.selection._map_elites import MapElitesArchive as MapElitesArchive
from etm_jax.selection._niches import NichesSelection as NichesSelection
from etm_jax.selection._novelty import NoveltyArchive as NoveltyArchive
from etm_jax.selection._nsga2 import NSGA2Selection as NSGA2Selection
from etm_jax.selection._pareto import crowding_distance as crowding_distance
from etm_jax.selection._pareto import hypervolume as hypervolume
from etm_jax.selection._pareto import pareto_ranks as pareto_ranks
from etm_jax.selection._registry import ARCHIVES as ARCHIVES
from etm_jax.selection._registry import SELECTORS as SELECTORS
from etm_jax.selection._scores import Scores as Scores
from etm_jax.selection._scores import Selection as Selection
from etm_jax.selection._scores import Selector as Selector
from etm_jax.selection._species import SpeciesSelection as SpeciesSelection
from etm_jax.selection._tournament import TournamentSelection as TournamentSelection
from etm_jax.selection._truncation import TruncationSelection as TruncationSelection
from etm_jax.selection._uniform import UniformSelection as UniformSelection
