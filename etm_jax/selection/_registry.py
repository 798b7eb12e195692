"""All selectors by name; one listed here is tested and offered in the settings."""

from typing import Any

from etm_jax.selection._lexicase import LexicaseSelection
from etm_jax.selection._tournament import TournamentSelection
from etm_jax.selection._truncation import TruncationSelection

SELECTORS: dict[str, type[Any]] = {
    "tournament": TournamentSelection,
    "truncation": TruncationSelection,
    "lexicase": LexicaseSelection,
}
