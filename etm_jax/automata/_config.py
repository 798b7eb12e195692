"""Settings of the automata that the engine evolves, em43 and em33."""

from dataclasses import dataclass, field
from typing import ClassVar

from etm_jax._require import require, require_count, require_share, require_types


@dataclass(frozen=True)
class AutomataVariation:
    """What of an automaton varies, and how much."""

    rule_rate: float = 0.02  # probability that an entry of an offspring's rule is drawn again
    programme_rate: float = 0.06  # the same of a cell of its programme
    rule: str = ""  # a rule that all have, so that programmes alone evolve: a digit an entry; empty: none

    def __post_init__(self) -> None:
        require_types(self, "variation.")
        require_share("variation.rule_rate", self.rule_rate)
        require_share("variation.programme_rate", self.programme_rate)


@dataclass(frozen=True)
class EM43Config:
    """Cellular automata that compute a function of whole numbers.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.
    """

    kind: ClassVar[str] = "em43"
    programme_length: int = 32  # cells of a programme
    window: int = 200  # cells of the tape
    max_steps: int = 800  # after so many steps a tape counts as one that does not halt
    variation: AutomataVariation = field(default_factory=AutomataVariation)

    def __post_init__(self) -> None:
        require_types(self)
        require_count("programme_length", self.programme_length, 1)
        require_count("max_steps", self.max_steps, 1)
        require_count("window", self.window, self.programme_length + 5)
        require_rule(self.variation.rule, num_states=4)


@dataclass(frozen=True)
class EM33Config:
    """Rings of cellular automata that act in environments.

    Raises:
        ValueError: a value breaks its rule; the message names the setting, the rule and the value.
    """

    kind: ClassVar[str] = "em33"
    bins: int = 8  # input cells for each observed number
    programme_cells: int = 6  # other cells after each of these
    steps: int = 24  # of the ring for one observation
    variation: AutomataVariation = field(default_factory=AutomataVariation)

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("bins", "programme_cells", "steps"):
            require_count(name, getattr(self, name), 1)
        require_rule(self.variation.rule, num_states=3)


def require_rule(rule: str, num_states: int) -> None:
    """Refuse a rule that is no digit a neighbourhood of three cells."""
    size, digits = num_states**3, set(map(str, range(num_states)))
    fits = not rule or (len(rule) == size and set(rule) <= digits)
    require(fits, "variation.rule", f"{size} digits from 0 to {num_states - 1}, or empty", rule)
