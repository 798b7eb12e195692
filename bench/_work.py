"""The work of an evaluation, on one device: the forward pass or one training step of every individual, in some form."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import optax

from etm_jax.networks import Bounds, Genome, apply, random_genome
from etm_jax.networks._batches import over_population
from etm_jax.networks.genome._buckets import crop, uncrop
from etm_jax.networks.learning import default_micro_batch
from etm_jax.parallel import device_mesh
from etm_jax.task import Episode, Task

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


def train_step(genome: Genome, state: Any, episode: Episode, task: Task, form: Form) -> Any:
    """Forward, backward and Adam update of one individual: its new genome, optimiser state and loss before it."""

    def loss(params: Any) -> jax.Array:
        return task.loss(forward(replace(genome, params=params), episode, form), episode)

    value, gradients = jax.value_and_grad(loss)(genome.params)
    updates, state = optax.adam(LEARNING_RATE).update(gradients, state)
    return replace(genome, params=optax.apply_updates(genome.params, updates)), state, value


def forward_pass(population: Genome, episode: Episode, form: Form) -> Work:
    """Logits of a population."""

    def one(bucket: Bounds, own: Genome, shared: Episode) -> jax.Array:
        return forward(crop(own, bucket), shared, replace(form, buckets=(bucket,)))

    return for_population(one, form), (population, population.architecture, episode)


def training_step(population: Genome, episode: Episode, task: Task, form: Form) -> Work:
    """Forward, backward and Adam update of a population."""
    state = jax.vmap(optax.adam(LEARNING_RATE).init)(population.params)

    def resized(genome: Genome, state: Any, resize: Callable[[Genome, Bounds], Genome], bounds: Bounds) -> Any:
        moments, *rest = state
        mu, nu = (resize(replace(genome, params=moment), bounds).params for moment in (moments.mu, moments.nu))
        return resize(genome, bounds), (moments._replace(mu=mu, nu=nu), *rest)

    def one(bucket: Bounds, own: tuple[Genome, Any], shared: Episode) -> Any:
        genome, state = resized(*own, crop, bucket)
        genome, state, loss = train_step(genome, state, shared, task, replace(form, buckets=(bucket,)))
        return *resized(genome, state, uncrop, form.bounds), loss

    return for_population(one, form), ((population, state), population.architecture, episode)


def for_population(one: Callable[..., Any], form: Form) -> Callable[..., Any]:
    """A function of one individual for all of them, on one device."""
    return over_population(one, device_mesh(1), form.batch_size, form.buckets)
