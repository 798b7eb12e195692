"""What models share that act in environments and do not learn: how they are evaluated."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
from jaxtyping import Array, Float

from etm_jax._typing import Key
from etm_jax.environment import AnySuite, EnvironmentSuite
from etm_jax.models._context import Context
from etm_jax.models._model import Evaluation, Result
from etm_jax.models._scores import held_out, result_of, validation_score
from etm_jax.parallel._devices import map_in_batches, on_each_device, replicated, with_champion

EPISODES_IN_CACHE = 64  # of a CPU core, side by side
Step = Callable[[Any, Array], tuple[Any, Array]]
Policy = Callable[[Any], tuple[Any, Step]]  # of a genome: what it remembers at the start, and a step


def evaluate_acting(
    context: Context,
    suite: EnvironmentSuite,
    policy: Policy,
    key: Key,
    genomes: Any,
    champion: Any,
    difficulty: Float[Array, " task"],
) -> Evaluation:
    """Fresh episodes, the same for every individual. The key is consumed."""

    def examine(genomes: Any, shared: tuple[Key, Array]) -> tuple[Result, Array]:
        def one(genome: Any) -> tuple[Result, Array]:
            result = act(
                policy, genome, *shared, suite, context.score_episodes, context.behaves, by_episode=context.by_episode
            )
            return result, validation_score(suite, [result])

        return map_in_batches(one, genomes, batch_size_of(context))

    everyone = with_champion(genomes, champion, context.mesh)
    result, scores = on_each_device(examine, context.mesh)(everyone, (key, difficulty))
    if context.mesh.size > 1:
        result, scores = jax.lax.with_sharding_constraint((result, scores), replicated(context.mesh))
    size = context.population_size
    return Evaluation(jax.tree.map(lambda array: array[:size], result), scores[:size], scores[-1])


def act(
    policy: Policy,
    genome: Any,
    key: Key,
    difficulty: Float[Array, " task"],
    suite: EnvironmentSuite,
    episodes: int,
    behaves: bool = False,
    *,
    by_episode: bool = False,
) -> Result:
    """Scores of one genome in fresh episodes; what it did if it `behaves`, a case each `by_episode`.

    The key is consumed.
    """
    lived = suite.rollouts(key, *policy(genome), episodes, difficulty)
    return replace(
        result_of(suite, lived, by_episode=by_episode), behaviour=suite.behaviour(lived) if behaves else None
    )


def held_out_acting(suite: EnvironmentSuite, policy: Policy, genome: Any, seed: int) -> dict[str, Any]:
    """A champion's scores in episodes that evolution never saw."""

    def examine(
        genome: Any, key: Key, difficulty: Array, suite: EnvironmentSuite, episodes: int
    ) -> tuple[Result, dict[str, Any]]:
        return act(policy, genome, key, difficulty, suite, episodes), {}

    return held_out(examine, genome, seed, suite)


def batch_size_of(context: Context) -> int:
    """Individuals in one vmap; 0 for all."""
    if context.batch_size or jax.default_backend() != "cpu":
        return context.batch_size
    return max(EPISODES_IN_CACHE // context.score_episodes, 1)


def environments_of(suite: AnySuite, kind: str) -> EnvironmentSuite:
    """The environments that a kind of model acts in.

    Raises:
        ValueError: the suite has none.
    """
    if not isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"the model {kind} evolves in environments, such as cart_pole, got {', '.join(suite.names)}; --list-tasks "
            "lists them"
        )
    return suite
