"""What families of cellular automata share: genomes of a rule and a programme, and how they vary."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from etm_jax._typing import BoolScalar, Key, Scalar, pytree
from etm_jax.automata._config import EmergentConfig
from etm_jax.automata._genome import constrain_programme, constrain_rule, genome_from
from etm_jax.models._model import LearnsNothing
from etm_jax.networks.variation._rates import VariationRates


@pytree
class Automaton:
    """A cellular automaton, or a population with a leading axis on both arrays.

    Attributes:
        rule: the state that follows each neighbourhood.
        programme: states that cells begin with.
    """

    rule: UInt8[Array, "*population entry"]
    programme: UInt8[Array, "*population cell"]


@dataclass(frozen=True)
class Automata(LearnsNothing):
    """Automata of so many states and programme cells; `NumberAutomata` and `RingAutomata` add how they live.

    Attributes:
        config: rates of mutation, and the rule if it is given.
        num_states: of a cell.
        num_cells: of a programme.

    Raises:
        ValueError: the rule of the settings has other states.
    """

    born_in_turn = False

    config: EmergentConfig
    num_states: int
    num_cells: int

    def __post_init__(self) -> None:
        size = self.num_states**3
        if len(self.config.rule) not in (0, size):
            raise ValueError(f"emergent.rule must have {size} digits for this model, got {len(self.config.rule)}")

    def random(self, key: Key) -> Automaton:
        """A rule of uniform states, or the one of the settings, and a sparse programme. The key is consumed."""
        return self._drawn(jax.random.uniform(key, (self.num_states**3 + self.num_cells,)))

    def _drawn(self, uniform: Float[Array, " entry"]) -> Automaton:
        rule, programme = genome_from(uniform, self.num_states)
        if self.config.rule:
            rule = constrain_rule(jnp.array([int(digit) for digit in self.config.rule]))
        return Automaton(rule, programme)

    def offspring(
        self,
        key: Key,
        first: Automaton,
        second: Automaton,
        mates: BoolScalar,
        rates: VariationRates,
        gene_rate: Scalar | float,
    ) -> Automaton:
        """A child: one cut through rule and programme if it `mates`, then entries drawn anew. The key is consumed.

        The rates of mutation are those of the automata's own settings.
        """
        del rates, gene_rate
        size, length = first.rule.size, first.programme.size
        whole = size + length
        draws = jax.random.uniform(key, (2 * whole + 1,))  # one for all: each further one would cost compile time
        fresh, chance, where = draws[:whole], draws[whole:-1], draws[-1]
        cut = jnp.where(mates, jnp.floor(where * whole).astype(jnp.int32), whole)
        places = Automaton(jnp.arange(size, dtype=jnp.int32), size + jnp.arange(length, dtype=jnp.int32))
        crossed = jax.tree.map(lambda place, one, other: jnp.where(place < cut, one, other), places, first, second)
        rule_rate = 0.0 if self.config.rule else self.config.rule_rate
        mutates = Automaton(chance[:size] < rule_rate, chance[size:] < self.config.programme_rate)
        child = jax.tree.map(jnp.where, mutates, self._drawn(fresh), crossed)
        return Automaton(constrain_rule(child.rule), constrain_programme(child.programme))

    def diversity(self, genomes: Automaton) -> Scalar:
        """Chance that two members differ in an entry, averaged over all entries."""
        entries = jnp.concatenate([genomes.rule, genomes.programme], axis=-1)
        shares = jnp.mean(entries[..., None] == jnp.arange(self.num_states, dtype=entries.dtype)[None, None], axis=0)
        return 1 - jnp.mean(jnp.sum(shares**2, axis=-1))

    def efficiency(self, genomes: Automaton) -> Float[Array, " population"]:
        """Share of blank cells of the programme."""
        return jnp.mean(genomes.programme == 0, axis=-1)

    def costs(self, genomes: Automaton) -> dict[str, Float[Array, " population"]]:
        """Share of cells of the programme that are not blank."""
        return {"live_cells": 1 - self.efficiency(genomes)}

    def traits(self, genomes: Automaton) -> dict[str, Float[Array, " population"]]:
        """The costs."""
        return self.costs(genomes)

    def genes(self, genomes: Automaton) -> dict[str, Int[Array, " population"]]:
        """How many cells of the programme are not blank."""
        return {"live_cells": jnp.sum(genomes.programme > 0, axis=-1)}
