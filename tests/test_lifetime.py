"""What one individual learns in its lifetime, by any optimiser."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from helpers import assert_trees_close
from tiny import BOUNDS, SUITE, compiled_init

from etm_jax.config import LifetimeConfig
from etm_jax.evolution import (
    learn,
    make_optimiser,
    member,
    score,
)
from etm_jax.genomes import Bounds, compact, mask_of, pad


@functools.cache
def learnt(seed):
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    config = LifetimeConfig(steps=60, batch_size=8)
    optimiser = optax.adam(1e-2)

    @jax.jit
    def live(key):
        return learn(key, genome, jnp.ones(2), 1.0, bounds=BOUNDS, suite=SUITE, config=config, optimiser=optimiser)

    return genome, live(jax.random.key(seed))


def test_learning_lowers_the_loss_on_fresh_episodes():
    judge = jax.jit(
        lambda genome: score(jax.random.key(99), genome, jnp.ones(2), bounds=BOUNDS, suite=SUITE, num_episodes=64).loss
    )
    before, later = learnt(0)
    assert float(judge(later)) < float(judge(before)) - 0.01


def test_learning_leaves_weights_that_do_not_exist_alone():
    before, later = learnt(0)
    for old, new, exists in zip(
        *map(jax.tree.leaves, (before.params, later.params, mask_of(before, BOUNDS))), strict=True
    ):
        absent = ~np.asarray(exists)
        np.testing.assert_array_equal(np.asarray(old)[absent], np.asarray(new)[absent])


def test_any_optax_chain_learns():
    """Two steps of sign descent move a bias by 0, or by twice its rate."""
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    config = LifetimeConfig(steps=2, batch_size=2, warmup_steps=0)
    settings = {"bounds": BOUNDS, "suite": SUITE, "config": config, "optimiser": optax.sign_sgd(0.01)}
    live = jax.jit(lambda key: learn(key, genome, jnp.ones(2), 1.0, **settings))
    moved = np.abs(np.asarray(live(jax.random.key(1)).params["output"]["bias"]))
    np.testing.assert_allclose(np.minimum(moved, np.abs(moved - 0.02)), 0, atol=1e-7)
    assert moved.max() > 0


def test_adaptive_learning_does_not_see_the_padding():
    """The laws' norms and cosines count what exists: in wider bounds the same individual learns the same."""
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    wide = Bounds(
        num_slots=(5, 9), slot_width=(3, 7), num_read_heads=(1, 3), num_write_heads=(1, 3), controller_size=(4, 9)
    )
    config = LifetimeConfig(steps=6, batch_size=4)

    def lived(genome, bounds):
        optimiser = make_optimiser(dataclasses.replace(config, optimiser="ae_adam"))
        settings = {"bounds": bounds, "suite": SUITE, "config": config, "optimiser": optimiser}
        learnt = jax.jit(lambda genome: learn(jax.random.key(3), genome, jnp.ones(2), 1.0, **settings))(genome)
        return nnx.state(compact(learnt, bounds), nnx.Param)

    narrow = lived(genome, BOUNDS)
    assert_trees_close(lived(pad(compact(genome, BOUNDS), wide), wide), narrow, rtol=1e-3, atol=1e-5)
