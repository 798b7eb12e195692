"""Handwritten digits of 8 by 8 pixels, split again for each run; pixels or the mixture of classes may change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._regression import mlp, mlp_init
from bench.ae._train import Problem

SIZES = (64, 64, 10)
BATCH = 32
TEST = 300  # digits of a run that it never trains on
SHOWN = 60  # of them at each step, in turn: five steps show all
SKEW = 2.0  # standard deviation of the classes' log weights


@functools.cache
def load() -> tuple[np.ndarray, np.ndarray]:
    """`[1797, 64]` pixels in [0, 1] and `[1797]` labels, shuffled."""
    try:
        from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports]  # of the extra `bench`
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn; run pip install -e '.[bench]'") from error
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(2026).permutation(len(labels))
    return np.asarray(pixels, np.float32)[order] / 16, np.asarray(labels, np.int32)[order]


def digits(*, permute_every: int = 0, skew_every: int = 0) -> Problem:
    """Learn to tell digits apart.

    The risk at a step is the error rate on some test digits; with `skew_every` it is their cross-entropy, weighted like
    the classes of the moment.

    Args:
        permute_every: steps between new random orders of the pixels, the same order for every digit; 0 for never.
        skew_every: steps between new random weights of the classes; 0 for equal weights.
    """
    pixels, labels = (jnp.asarray(array) for array in load())
    total = len(labels)

    def rows(positions: jax.Array, run: jax.Array) -> jax.Array:
        """Rows of the data; a run's test digits are the first `TEST` from where it starts on the ring of them all."""
        return (jax.random.randint(jax.random.fold_in(run, 11), (), 0, total) + positions) % total

    def shown(rows: jax.Array, index: jax.Array, run: jax.Array) -> jax.Array:
        if not permute_every:
            return pixels[rows]
        segment = jax.random.fold_in(jax.random.fold_in(run, 12), index // permute_every)
        return pixels[rows][:, jax.random.permutation(segment, SIZES[0])]

    def weights(index: jax.Array, run: jax.Array) -> jax.Array:
        if not skew_every:
            return jnp.ones(SIZES[-1])
        segment = jax.random.fold_in(jax.random.fold_in(run, 13), index // skew_every)
        return jnp.exp(SKEW * jax.random.normal(segment, (SIZES[-1],)))

    def sample(key: jax.Array, index: jax.Array, run: jax.Array):
        if skew_every:
            train = rows(jnp.arange(TEST, total), run)
            edges = jnp.cumsum(weights(index, run)[labels[train]])
            drawn = jnp.searchsorted(edges, edges[-1] * jax.random.uniform(key, (BATCH,)))
            chosen = train[jnp.minimum(drawn, total - TEST - 1)]
        else:
            chosen = rows(jax.random.randint(key, (BATCH,), TEST, total), run)
        return shown(chosen, index, run), labels[chosen]

    def cross_entropy(params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(mlp(params, inputs), targets)

    def loss(params, batch):
        return jnp.mean(cross_entropy(params, *batch))

    def risk(params, index: jax.Array, run: jax.Array):
        chosen = rows((index * SHOWN) % TEST + jnp.arange(SHOWN), run)
        inputs, targets = shown(chosen, index, run), labels[chosen]
        if skew_every:
            weight = weights(index, run)[targets]
            return jnp.sum(weight * cross_entropy(params, inputs, targets)) / jnp.sum(weight)
        logits = mlp(params, inputs)
        wrong = jnp.mean(jnp.argmax(logits, 1) != targets)
        return jnp.where(jnp.all(jnp.isfinite(logits)), wrong, jnp.nan)

    return Problem(init=lambda key: mlp_init(key, SIZES), sample=sample, loss=loss, risk=risk)
