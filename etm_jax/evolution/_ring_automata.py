"""The family of `EM33`: rings that act in environments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._typing import IntScalar, Key, Scalar
from etm_jax.config import EmergentConfig
from etm_jax.emergent import EM33, EvolvedEM33, RingPolicy, controller, digits, save_automaton
from etm_jax.environment import AnySuite, EnvironmentSuite
from etm_jax.evolution._automata import Automata, Automaton
from etm_jax.evolution._champion import held_out
from etm_jax.evolution._devices import in_turn, on_each_device, replicated, with_champion
from etm_jax.evolution._evaluation import merit
from etm_jax.evolution._lifetime import Result, result_of
from etm_jax.evolution._problem import Problem

RINGS_AT_ONCE = 64  # on a CPU core, whose cache holds the rules of so many


@dataclass(frozen=True)
class RingAutomata(Automata):
    """`EM33` with one variable a channel of an observation, and the suite's actions."""

    em: EM33
    num_actions: int

    def policy(self, genome: Automaton) -> RingPolicy:
        """A ring as what it remembers at the start, and a step."""
        return controller(self.em, self.num_actions, genome.rule, genome.programme)

    def act(
        self, genome: Automaton, key: Key, difficulty: Float[Array, " task"], suite: EnvironmentSuite, episodes: int
    ) -> Result:
        """Scores of one ring in fresh episodes. The key is consumed."""
        start, step = self.policy(genome)
        return result_of(suite, suite.rollouts(key, start, step, episodes, difficulty))

    def evaluate(
        self,
        problem: Problem,
        key: Key,
        genomes: Automaton,
        champion: Automaton,
        difficulty: Float[Array, " task"],
        generation: IntScalar,
        steps: Int[Array, " population"] | None,
    ) -> tuple[Automaton, Result, Float[Array, " population"], Scalar]:
        """Fresh episodes, the same for everybody. The key is consumed."""
        del generation, steps
        suite, episodes = environments_of(problem.suite), problem.config.score_episodes

        def examine(genomes: Automaton, shared: tuple[Key, Array]) -> tuple[Result, Array]:
            def one(genome: Automaton) -> tuple[Result, Array]:
                result = self.act(genome, *shared, suite, episodes)
                return result, merit(problem, [result])

            return in_turn(one, genomes, lanes_of(problem))

        everybody = with_champion(genomes, champion, problem.mesh)
        results, merits = on_each_device(examine, problem.mesh)(everybody, (key, difficulty))
        if problem.mesh.size > 1:
            results, merits = jax.lax.with_sharding_constraint((results, merits), replicated(problem.mesh))
        size = problem.config.population_size
        return genomes, jax.tree.map(lambda array: array[:size], results), merits[:size], merits[-1]

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

        def examine(
            champion: Automaton, key: Key, difficulty: Array, suite: EnvironmentSuite, episodes: int
        ) -> tuple[Result, dict[str, Any]]:
            return self.act(champion, key, difficulty, suite, episodes), {}

        suite = environments_of(problem.suite)
        size = 0 if self.config.rule else champion.rule.size
        return {
            "architecture": self.export(champion).architecture,
            "num_parameters": size + champion.programme.size,
            "held_out": held_out(examine, champion, problem.config.seed, suite),
        }


def lanes_of(problem: Problem) -> int:
    """Rings that one vmap holds; 0 for all."""
    if problem.config.lanes or jax.default_backend() != "cpu":
        return problem.config.lanes
    return max(RINGS_AT_ONCE // problem.config.score_episodes, 1)


def environments_of(suite: AnySuite) -> EnvironmentSuite:
    """The environments that rings act in.

    Raises:
        ValueError: the suite has none.
    """
    if not isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"the model em33 evolves in environments, such as cart_pole, got {', '.join(suite.names)}; --list-tasks "
            "lists them"
        )
    return suite


def ring_automata(config: EmergentConfig, suite: AnySuite) -> RingAutomata:
    """The family for these settings and environments.

    Raises:
        ValueError: the suite is none of environments, or has more actions than there are numbers to see.
    """
    suite = environments_of(suite)
    if suite.output_size > suite.input_size:
        raise ValueError(
            f"the model em33 needs as many observed numbers as actions, got {suite.input_size} and "
            f"{suite.output_size} of {', '.join(suite.names)}"
        )
    em = EM33(suite.input_size, config.bins, config.programme_cells, config.steps)
    return RingAutomata(config, num_states=3, num_cells=em.num_cells, em=em, num_actions=suite.output_size)
