"""Let a population live and score it: learning, performance, fitness and validation_score."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from etm_jax.models._model import Result, member
from etm_jax.networks._batches import dealt, groups, over_population
from etm_jax.networks.learning._score import for_networks, learnable, score
from jaxtyping import Array, Float, Int

from etm_jax._typing import IntScalar, Key, Scalar
from etm_jax.environment import EnvironmentSuite
from etm_jax.evolution._problem import Problem
from etm_jax.networks.genome._architecture import Architecture
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._buckets import bucket_costs, crop, fitting, uncrop
from etm_jax.networks.genome._cost import multiply_adds
from etm_jax.networks.genome._genome import Genome
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._suites import lengths_of
from etm_jax.parallel._devices import with_champion


def learn_all(
    problem: Problem,
    key: Key,
    genomes: Genome,
    difficulty: Float[Array, " task"],
    generation: IntScalar,
    steps: Int[Array, " population"] | None,
) -> Genome:
    """The genomes after learning, each on fresh episodes of its own. The key is consumed.

    `steps` are each individual's gradient steps; None for the settings' own number, which is static.
    """
    config, tasks = problem.config, learnable(for_networks(problem.suite))

    def live(bucket: Bounds, own: tuple[Any, ...], shared: tuple[Array, Scalar]) -> Genome:
        key, genome, *mine = own
        num_steps = mine[0] if mine else config.lifetime.steps
        small = crop(genome, config.bounds, bucket)
        learned = learn(
            key,
            small,
            *shared,
            num_steps,
            bounds=bucket,
            suite=tasks,
            config=config.lifetime,
            make_optimiser=problem.make_optimiser,
            dtype=problem.dtype,
            flat=problem.flat,
        )
        return uncrop(learned, config.bounds, bucket)

    own = (jax.random.split(key, config.population_size), genomes, *([] if steps is None else [steps]))
    shared = (difficulty, learning_rate_scale(problem, generation))
    return spread(problem, live, own, genomes.architecture, steps, shared)


def judge(
    problem: Problem,
    key: Key,
    genomes: Any,
    champion: Any,
    difficulty: Float[Array, " task"],
    architectures_of: Callable[[Any], Architecture] = lambda genomes: genomes.architecture,
    decode: Callable[[Any], Genome] = lambda genome: genome,
) -> tuple[Result, Float[Array, " population"], Scalar]:
    """Score a population and the champion as they are, all on the same fresh episodes. The key is consumed.

    `decode` makes a network of one genome, where genomes are no networks yet; it runs in the batch_size, so that no more
    networks are in memory than run at once. `architectures_of` is of a whole population.

    Returns:
        The results, the validation_scores, and the champion's validation_score.
    """
    config, suite = problem.config, for_networks(problem.suite)
    asked = tuple(lengths_of(suite).values())

    def examine(bucket: Bounds, genome: Any, shared: tuple[Key, Array]) -> tuple[Result, Scalar]:
        key, difficulty = shared
        small = crop(decode(genome), config.bounds, bucket)
        settings = {"num_episodes": config.score_episodes, "bounds": bucket, "dtype": problem.dtype}
        behaves = [problem.behaves, *[False] * (len(asked) - 1)]
        results = [
            score(key, small, difficulty, suite=suite, behaves=behaves, **settings)
            for suite, behaves in zip(asked, behaves, strict=True)
        ]
        return results[0], validation_score(problem, results)

    everybody = with_champion(genomes, champion, problem.mesh)
    results, validation_scores = spread(
        problem, examine, everybody, architectures_of(everybody), None, (key, difficulty)
    )
    size = config.population_size
    return jax.tree.map(lambda array: array[:size], results), validation_scores[:size], validation_scores[-1]


def spread(
    problem: Problem,
    function: Callable[..., Any],
    own: Any,
    architectures: Architecture,
    steps: Int[Array, " population"] | None,
    shared: Any,
) -> Any:
    """`over_population` in the order that makes like networks neighbours and gives every device as much to do."""
    run = over_population(function, problem.mesh, problem.batch_size, problem.buckets)
    if len(problem.buckets) == 1 and steps is None:
        return run(own, architectures, shared)
    cost = bucket_cost(problem, architectures)
    order = dealt(cost if steps is None else cost * steps.astype(cost.dtype), problem.mesh.size)
    return member(run(member(own, order), member(architectures, order), shared), jnp.argsort(order))


def channels_of(problem: Problem) -> tuple[int, int]:
    """Channels in and out."""
    suite = for_networks(problem.suite)
    return suite.input_size, suite.output_size


def bucket_cost(problem: Problem, architectures: Architecture) -> Float[Array, " population"]:
    """Multiply-adds of a step of each network in the cheapest bucket that holds it."""
    costs = bucket_costs(problem.buckets, *channels_of(problem))
    return costs[jnp.argmax(fitting(architectures, problem.buckets), axis=-1)]


def validation_score(problem: Problem, results: list[Result]) -> Scalar:
    """How reliably a network solves the tasks: weighted accuracy, averaged over what `lengths_of` the suite gives.

    In environments, where whole episodes are solved late if at all, performance counts as much as accuracy. The validation_score
    decides who is champion, and nothing else: selection sees the fitness alone, which knows no longer lengths. NaN for
    a failed evaluation.
    """
    weights = jnp.array(problem.suite.weights) / sum(problem.suite.weights)
    sound = jnp.all(jnp.stack([result.finite for result in results]))
    acts = isinstance(problem.suite, EnvironmentSuite)
    solved = [result.accuracy + result.performance if acts else result.accuracy for result in results]
    return jnp.where(sound, jnp.mean(jnp.stack(solved), axis=0) @ weights, jnp.nan)


def learning_rate_scale(problem: Problem, generation: IntScalar) -> Scalar:
    """The run's schedule: from 1 in the first generation along a cosine to `final_learning_rate` in the last."""
    config = problem.config
    schedule = optax.cosine_decay_schedule(
        1.0, max(config.max_generations - 1, 1), alpha=config.lifetime.final_learning_rate
    )
    return jnp.asarray(schedule(generation.astype(float)))


def padding_efficiency_of(problem: Problem, architectures: Architecture) -> Scalar:
    """Useful over executed multiply-adds of a population, in its buckets and batch_size."""
    sizes = channels_of(problem)
    order = dealt(bucket_cost(problem, architectures), problem.mesh.size).reshape(problem.mesh.size, -1)

    def executed(order: Int[Array, " individual"]) -> Scalar:
        members, buckets = groups(member(architectures, order), problem.batch_size, problem.buckets)
        return members.shape[1] * jnp.sum(bucket_costs(problem.buckets, *sizes)[buckets])

    return jnp.sum(multiply_adds(architectures, *sizes, problem.config.bounds.attention_width)) / jnp.sum(
        jax.vmap(executed)(order)
    )
