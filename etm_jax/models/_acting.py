"""What families share whose members act in environments and learn nothing: how they live, and how they are judged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
from etm_jax.models._behaviour import end_of
from etm_jax.models._model import Result
from etm_jax.models._scores import held_out, result_of
from jaxtyping import Array, Float

from etm_jax._typing import Key, Scalar
from etm_jax.environment import AnySuite, EnvironmentSuite
from etm_jax.evolution._problem import Problem
from etm_jax.networks._evaluation import validation_score
from etm_jax.parallel._devices import map_in_batches, on_each_device, replicated, with_champion

AT_ONCE = 64  # episodes on a CPU core, whose cache holds so many
Step = Callable[[Any, Array], tuple[Any, Array]]
Policy = Callable[[Any], tuple[Any, Step]]  # of a genome: what it remembers at the start, and a step


def live(
    problem: Problem, policy: Policy, key: Key, genomes: Any, champion: Any, difficulty: Float[Array, " task"]
) -> tuple[Result, Float[Array, " population"], Scalar]:
    """Fresh episodes, the same for everybody. The key is consumed.

    Returns:
        The population's results and validation_scores, and the champion's validation_score.
    """
    suite, episodes = environments_of(problem.suite, problem.config.model), problem.config.score_episodes

    def examine(genomes: Any, shared: tuple[Key, Array]) -> tuple[Result, Array]:
        def one(genome: Any) -> tuple[Result, Array]:
            result = act(policy, genome, *shared, suite, episodes, problem.behaves)
            return result, validation_score(problem, [result])

        return map_in_batches(one, genomes, batch_size_of(problem))

    everybody = with_champion(genomes, champion, problem.mesh)
    results, validation_scores = on_each_device(examine, problem.mesh)(everybody, (key, difficulty))
    if problem.mesh.size > 1:
        results, validation_scores = jax.lax.with_sharding_constraint(
            (results, validation_scores), replicated(problem.mesh)
        )
    size = problem.config.population_size
    return jax.tree.map(lambda array: array[:size], results), validation_scores[:size], validation_scores[-1]


def act(
    policy: Policy,
    genome: Any,
    key: Key,
    difficulty: Float[Array, " task"],
    suite: EnvironmentSuite,
    episodes: int,
    behaves: bool = False,
) -> Result:
    """Scores of one genome in fresh episodes, and what it did if it `behaves`. The key is consumed."""
    lived = suite.rollouts(key, *policy(genome), episodes, difficulty)
    return replace(result_of(suite, lived), behaviour=end_of(suite, lived) if behaves else None)


def judged(problem: Problem, policy: Policy, champion: Any) -> dict[str, Any]:
    """The champion's scores in episodes that evolution never saw."""

    def examine(
        champion: Any, key: Key, difficulty: Array, suite: EnvironmentSuite, episodes: int
    ) -> tuple[Result, dict[str, Any]]:
        return act(policy, champion, key, difficulty, suite, episodes), {}

    return held_out(examine, champion, problem.config.seed, environments_of(problem.suite, problem.config.model))


def batch_size_of(problem: Problem) -> int:
    """Members that one vmap holds; 0 for all."""
    if problem.config.individuals_per_batch or jax.default_backend() != "cpu":
        return problem.config.individuals_per_batch
    return max(AT_ONCE // problem.config.score_episodes, 1)


def environments_of(suite: AnySuite, model: str) -> EnvironmentSuite:
    """The environments that a model acts in.

    Raises:
        ValueError: the suite has none.
    """
    if not isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"the model {model} evolves in environments, such as cart_pole, got {', '.join(suite.names)}; --list-tasks "
            "lists them"
        )
    return suite
