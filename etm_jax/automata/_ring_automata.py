"""The family of `EM33`: rings that act in environments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Key, Scalar
from etm_jax.automata._automata import Automata, Automaton
from etm_jax.automata._config import EmergentConfig
from etm_jax.automata._em33 import EM33, RingPolicy, controller
from etm_jax.automata._evolved import EvolvedEM33, digits, save_automaton
from etm_jax.environment import AnySuite
from etm_jax.evolution._problem import Problem
from etm_jax.models._acting import environments_of, judged, live
from etm_jax.models._model import Result


@dataclass(frozen=True)
class RingAutomata(Automata):
    """`EM33` with one variable a channel of an observation, and the suite's actions."""

    em: EM33
    num_actions: int

    def policy(self, genome: Automaton) -> RingPolicy:
        """A ring as what it remembers at the start, and a step."""
        return controller(self.em, self.num_actions, genome.rule, genome.programme)

    def judge(
        self, problem: Problem, key: Key, genomes: Automaton, champion: Automaton, difficulty: Float[Array, " task"]
    ) -> tuple[Result, Float[Array, " population"], Scalar]:
        """Fresh episodes, the same for everybody. The key is consumed."""
        return live(problem, self.policy, key, genomes, champion, difficulty)

    def padding_efficiency(self, problem: Problem, genomes: Automaton) -> Scalar:
        """1: rings are all of one size."""
        del problem, genomes
        return jnp.array(1.0)

    def export(self, champion: Automaton) -> EvolvedEM33:
        """The ring as a policy."""
        em = self.em
        return EvolvedEM33(
            digits(champion.rule),
            digits(champion.programme),
            em.num_variables,
            self.num_actions,
            em.bins,
            em.programme_cells,
            em.steps,
        )

    def save(self, model: EvolvedEM33, folder: Path) -> None:
        """Rule and first states as JSON."""
        save_automaton(model, folder)

    def report(self, problem: Problem, champion: Automaton) -> dict[str, Any]:
        """The genome's digits, and scores in episodes that evolution never saw."""
        size = 0 if self.config.rule else champion.rule.size
        return {
            "architecture": self.export(champion).architecture,
            "num_parameters": size + champion.programme.size,
            "held_out": judged(problem, self.policy, champion),
        }


def ring_automata(config: EmergentConfig, suite: AnySuite) -> RingAutomata:
    """The family for these settings and environments.

    Raises:
        ValueError: the suite is none of environments, or has more actions than there are numbers to see.
    """
    suite = environments_of(suite, "em33")
    if suite.output_size > suite.input_size:
        raise ValueError(
            f"the model em33 needs as many observed numbers as actions, got {suite.input_size} and "
            f"{suite.output_size} of {', '.join(suite.names)}"
        )
    em = EM33(suite.input_size, config.bins, config.programme_cells, config.steps)
    return RingAutomata(config, num_states=3, num_cells=em.num_cells, em=em, num_actions=suite.output_size)
