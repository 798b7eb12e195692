"""What the models of cellular automata share: genomes of a rule and a programme, and how they vary."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from etm_jax._typing import BoolScalar, Key, Scalar, pytree
from etm_jax.automata._config import AutomataVariation
from etm_jax.automata._genome import constrain_programme, constrain_rule, genome_from
from etm_jax.models._model import Inheritance


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
class Automata:
    """Automata of so many states and programme cells; `NumberAutomata` and `RingAutomata` add how they are evaluated.

    Attributes:
        variation: rates of mutation, and the rule if it is given.
        num_states: of a cell.
        num_cells: of a programme.
    """

    large_genomes = False
    rebucket_every = 0
    computed_by = ""
    xla_computes = True

    variation: AutomataVariation
    num_states: int
    num_cells: int

    @property
    def inheritance(self) -> Inheritance:
        """Nothing is learned."""
        return "darwinian"

    def random(self, key: Key) -> Automaton:
        """A rule of uniform states, or the one of the settings, and a sparse programme. The key is consumed."""
        return self._drawn(jax.random.uniform(key, (self.num_states**3 + self.num_cells,)))

    def _drawn(self, uniform: Float[Array, " entry"]) -> Automaton:
        rule, programme = genome_from(uniform, self.num_states)
        if self.variation.rule:
            rule = constrain_rule(jnp.array([int(digit) for digit in self.variation.rule]))
        return Automaton(rule, programme)

    def offspring(
        self, key: Key, first: Automaton, second: Automaton, mates: BoolScalar, diversity: Scalar
    ) -> Automaton:
        """A child: one cut through rule and programme if it `mates`, then entries drawn again. The key is consumed."""
        del diversity
        size, length = first.rule.size, first.programme.size
        whole = size + length
        draws = jax.random.uniform(key, (2 * whole + 1,))  # one for all: each further one would cost compile time
        fresh, chance, where = draws[:whole], draws[whole:-1], draws[-1]
        cut = jnp.where(mates, jnp.floor(where * whole).astype(jnp.int32), whole)
        places = Automaton(jnp.arange(size, dtype=jnp.int32), size + jnp.arange(length, dtype=jnp.int32))
        crossed = jax.tree.map(lambda place, one, other: jnp.where(place < cut, one, other), places, first, second)
        rule_rate = 0.0 if self.variation.rule else self.variation.rule_rate
        mutates = Automaton(chance[:size] < rule_rate, chance[size:] < self.variation.programme_rate)
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
