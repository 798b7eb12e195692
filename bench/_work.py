"""The work of an evaluation, on one device: the forward pass or training steps of every individual, in some form."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from etm_jax.networks import Bounds, Genome, LifetimeConfig, apply, random_genome
from etm_jax.networks._batches import over_population
from etm_jax.networks.genome._buckets import crop, uncrop
from etm_jax.networks.learning import default_micro_batch
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.parallel import device_mesh
from etm_jax.task import Episode, Task, TaskSuite

BITS = 8
LEARNING_RATE = 1e-3
CLASSIC = Bounds(addressing=("content_and_location",))
SMALL = Bounds((4, 12), (3, 6), (1, 2), (1, 2), (4, 10), addressing=("content_and_location",))
FORWARD, TRAINING = "forward", "training step"
NATIVE = "etm_jax, native kernel"
ONE_VMAP, IN_TURN = "etm_jax, one vmap", "etm_jax, one after the other"

Work = tuple[Callable[..., Any], tuple[Any, ...]]  # a function to compile, and its arguments


@dataclass(frozen=True)
class Form:
    """How the individuals are gone over.

    Attributes:
        name: as results show it.
        buckets: the padded shapes to choose from, cheapest first; the last is the whole space.
        batch_size: individuals in one vmap; 0 for all.
        native: by the native kernel.
        rematerialise: compute again what the backward pass reads.
    """

    name: str
    buckets: tuple[Bounds, ...]
    batch_size: int = 1
    native: bool = False
    rematerialise: bool = False

    @property
    def bounds(self) -> Bounds:
        """The space of the individuals."""
        return self.buckets[-1]


def drawn(task: Task, bounds: Bounds, population_size: int, batch_size: int) -> tuple[Genome, Episode]:
    """A random population, and the episodes that all of it sees; the same ones in every run."""
    key_genomes, key_episode = jax.random.split(jax.random.key(0))
    draw = jax.jit(jax.vmap(lambda key: random_genome(key, bounds, task.input_size, task.output_size)))
    return draw(jax.random.split(key_genomes, population_size)), task.sample(key_episode, batch_size)


def forward(genome: Genome, episode: Episode, form: Form) -> jax.Array:
    """Logits of one individual, padded to the form's bounds, for a batch."""
    micro_batch = default_micro_batch(form.bounds, episode.inputs.shape[0])
    how: Any = {"rematerialise": form.rematerialise, "micro_batch": micro_batch}
    return apply(genome, episode.inputs, form.bounds, native=form.native, **how)


def forward_pass(population: Genome, episode: Episode, form: Form) -> Work:
    """Logits of a population."""

    def one(bucket: Bounds, own: Genome, shared: Episode) -> jax.Array:
        return forward(crop(own, bucket), shared, replace(form, buckets=(bucket,)))

    return for_population(one, form), (population, population.architecture, episode)


def training_steps(population: Genome, task: Task, batch_size: int, form: Form, steps: int = 1) -> Work:
    """A lifetime of so many steps of a population: fresh episodes, forward, backward, Adam."""
    config = LifetimeConfig(
        optimiser="adam", batch_size=batch_size, learning_rate=LEARNING_RATE, rematerialise=form.rematerialise
    )
    suite = TaskSuite((task,), (1.0,))
    keys = jax.random.split(jax.random.key(1), len(population.architecture.num_slots))

    def one(bucket: Bounds, own: tuple[Genome, jax.Array], shared: tuple[()]) -> Genome:
        del shared
        genome, key = own
        lifetime = Lifetime(bucket, suite, config, flat=True, native=form.native)  # as a run has it
        return uncrop(learn(lifetime, key, crop(genome, bucket), jnp.ones(1), 1.0, steps), form.bounds)

    return for_population(one, form), ((population, keys), population.architecture, ())


def for_population(one: Callable[..., Any], form: Form) -> Callable[..., Any]:
    """A function of one individual for all of them, on one device."""
    return over_population(one, device_mesh(1), form.batch_size, form.buckets)
