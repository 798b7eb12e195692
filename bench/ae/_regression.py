"""A teacher network with label noise, learnt by a larger student; the inputs may start to rotate."""

import jax
import jax.numpy as jnp

from bench.ae._train import Problem

INPUTS = 8
TEACHER = (INPUTS, 16, 1)
STUDENT = (INPUTS, 32, 32, 1)
TEACHER_SCALE = 1.35
LABEL_NOISE = 0.1
TEST_POINTS = 256


def mlp_init(key: jax.Array, sizes: tuple[int, ...], scale: float = 1.0):
    """Weights of variance scale^2 / fan-in, biases 0."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"kernel": scale * jax.random.normal(k, (m, n)) / jnp.sqrt(m), "bias": jnp.zeros(n)}
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def mlp(layers, inputs: jax.Array) -> jax.Array:
    """tanh between layers."""
    for layer in layers[:-1]:
        inputs = jnp.tanh(inputs @ layer["kernel"] + layer["bias"])
    return inputs @ layers[-1]["kernel"] + layers[-1]["bias"]


def regression(batch_size: int = 16, *, rotate_every: int = 0, loss_scale: float = 1.0) -> Problem:
    """The static problem, or with `rotate_every` one whose inputs get a new random rotation from time to time."""

    def task(key: jax.Array, index: jax.Array):
        key_teacher, key_rotation, key_test = jax.random.split(jax.random.fold_in(key, 7), 3)
        teacher = mlp_init(key_teacher, TEACHER, TEACHER_SCALE)
        rotation = jnp.eye(INPUTS)
        if rotate_every:
            segment = jax.random.fold_in(key_rotation, index // rotate_every)
            rotation = jnp.linalg.qr(jax.random.normal(segment, (INPUTS, INPUTS)))[0]
        return lambda inputs: mlp(teacher, inputs @ rotation), jax.random.normal(key_test, (TEST_POINTS, INPUTS))

    def sample(key: jax.Array, index: jax.Array, run: jax.Array):
        key_inputs, key_noise = jax.random.split(key)
        inputs = jax.random.normal(key_inputs, (batch_size, INPUTS))
        target, _ = task(run, index)
        return inputs, target(inputs) + LABEL_NOISE * jax.random.normal(key_noise, (batch_size, 1))

    def loss(params, batch):
        inputs, targets = batch
        return loss_scale * jnp.mean((mlp(params, inputs) - targets) ** 2)

    def risk(params, index: jax.Array, run: jax.Array):
        target, points = task(run, index)
        return jnp.mean((mlp(params, points) - target(points)) ** 2)

    return Problem(init=lambda key: mlp_init(key, STUDENT), sample=sample, loss=loss, risk=risk)
