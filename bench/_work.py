"""The work of an evaluation, on one device: the forward pass or one training step of every individual."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from bench.population import LEARNING_RATE, forward, train_step
from etm_jax.networks import Bounds, Genome, random_genome
from etm_jax.networks._batches import over_population
from etm_jax.parallel import default_batch_size, device_mesh
from etm_jax.task import Episode, Task

Work = tuple[Callable[..., Any], tuple[Any, ...]]  # a function to compile, and its arguments


def drawn(task: Task, bounds: Bounds, population_size: int, batch_size: int) -> tuple[Genome, Episode]:
    """A random population, and the episodes that all of it sees; the same ones in every run."""
    key_genomes, key_episode = jax.random.split(jax.random.key(0))
    draw = jax.jit(jax.vmap(lambda key: random_genome(key, bounds, task.input_size, task.output_size)))
    return draw(jax.random.split(key_genomes, population_size)), task.sample(key_episode, batch_size)


def forward_pass(population: Genome, episode: Episode, bounds: Bounds) -> Work:
    """Logits of a population."""

    def one(bucket: Bounds, own: tuple[Genome], shared: Episode) -> jax.Array:
        (genome,) = own
        return forward(genome, shared, bucket)

    return for_population(one, bounds), ((population,), population.architecture, episode)


def training_step(
    population: Genome, episode: Episode, task: Task, bounds: Bounds, rematerialise: bool = False
) -> Work:
    """Forward, backward and Adam update of a population."""
    state = jax.vmap(optax.adam(LEARNING_RATE).init)(population.params)

    def one(bucket: Bounds, own: tuple[Genome, Any], shared: Episode) -> Any:
        genome, state = own
        return train_step(genome, state, shared, task, bucket, rematerialise)

    return for_population(one, bounds), ((population, state), population.architecture, episode)


def for_population(one: Callable[..., Any], bounds: Bounds) -> Callable[..., Any]:
    """A function of one individual for all of them, as a run without buckets has it, on one device."""
    return over_population(one, device_mesh(1), default_batch_size(), (bounds,))
