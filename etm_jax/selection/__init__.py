"""Selection: who survives and who becomes a parent. Sees scores, never genomes."""

from etm_jax.selection._elites import elites as elites
from etm_jax.selection._lexicase import LexicaseSelection as LexicaseSelection
from etm_jax.selection._registry import SELECTORS as SELECTORS
from etm_jax.selection._scores import Scores as Scores
from etm_jax.selection._scores import Selection as Selection
from etm_jax.selection._scores import Selector as Selector
from etm_jax.selection._tournament import TournamentSelection as TournamentSelection
from etm_jax.selection._truncation import TruncationSelection as TruncationSelection
