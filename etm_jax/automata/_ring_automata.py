"""The model em33: rings that act in environments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Key, Scalar
from etm_jax.automata._automata import Automata, Automaton
from etm_jax.automata._config import EM33Config
from etm_jax.automata._em33 import EM33, RingPolicy, controller
from etm_jax.automata._evolved import EvolvedEM33, digits, save_automaton
from etm_jax.environment import AnySuite, EnvironmentSuite
from etm_jax.models._acting import environments_of, evaluate_acting, held_out_acting
from etm_jax.models._context import Context
from etm_jax.models._model import Evaluation


@dataclass(frozen=True)
class RingAutomata(Automata):
    """`EM33` with one variable a channel of an observation, and the suite's actions.

    Attributes:
        em: the automaton.
        suite: the environments.
    """

    em: EM33
    suite: EnvironmentSuite

    @classmethod
    def of(cls, config: EM33Config, suite: AnySuite) -> "RingAutomata":
        """The model of these settings in these environments.

        Raises:
            ValueError: the suite is none of environments, or has more actions than there are numbers to see.
        """
        suite = environments_of(suite, EM33Config.kind)
        if suite.output_size > suite.input_size:
            raise ValueError(
                f"the model em33 needs as many observed numbers as actions, got {suite.input_size} and "
                f"{suite.output_size} of {', '.join(suite.names)}"
            )
        em = EM33(suite.input_size, config.bins, config.programme_cells, config.steps)
        return cls(config.variation, num_states=3, num_cells=em.num_cells, em=em, suite=suite)

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Where it ends up, in environments that have places."""
        return self.suite.behaviours

    def policy(self, genome: Automaton) -> RingPolicy:
        """A ring as what it remembers at the start, and a step."""
        return controller(self.em, self.suite.output_size, genome.rule, genome.programme)

    def evaluate(
        self, context: Context, key: Key, genomes: Automaton, champion: Automaton, difficulty: Float[Array, " task"]
    ) -> Evaluation:
        """Fresh episodes, the same for every individual. The key is consumed."""
        return evaluate_acting(context, self.suite, self.policy, key, genomes, champion, difficulty)

    def padding_efficiency(self, context: Context, genomes: Automaton) -> Scalar:
        """1: rings are all of one size."""
        del context, genomes
        return jnp.array(1.0)

    def export(self, genome: Automaton) -> EvolvedEM33:
        """The ring as a policy."""
        em = self.em
        return EvolvedEM33(
            digits(genome.rule),
            digits(genome.programme),
            em.num_variables,
            self.suite.output_size,
            em.bins,
            em.programme_cells,
            em.steps,
        )

    def save(self, exported: EvolvedEM33, folder: Path) -> None:
        """Rule and first states as JSON."""
        save_automaton(exported, folder)

    def report(self, genome: Automaton, seed: int) -> dict[str, Any]:
        """The genome's digits, and scores in episodes that evolution never saw."""
        size = 0 if self.variation.rule else genome.rule.size
        return {
            "architecture": self.export(genome).architecture,
            "num_parameters": size + genome.programme.size,
            "held_out": held_out_acting(self.suite, self.policy, genome, seed),
        }
