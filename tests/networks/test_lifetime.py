"""What one individual learns in its lifetime, by any optimiser."""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers import assert_trees_close
from tiny import BOUNDS, SUITE, compiled_init

from etm_jax import ae
from etm_jax.models._model import member
from etm_jax.networks import Bounds, LifetimeConfig, compact, mask_of, pad
from etm_jax.networks.genome._genes import neutral
from etm_jax.networks.learning._config import Optimiser
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.networks.learning._optimisers import OPTIMISERS, is_adaptive, make_chain, warmup_share
from etm_jax.networks.learning._score import score


@functools.cache
def learnt(seed, native=False):
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    config = LifetimeConfig(batch_size=8)
    lifetime = Lifetime(BOUNDS, SUITE, config, optimiser=optax.adam(1e-2), flat=native, native=native)
    live = jax.jit(lambda key: learn(lifetime, key, genome, jnp.ones(2), 1.0, 60))
    return genome, live(jax.random.key(seed))


def test_learning_lowers_the_loss_on_fresh_episodes(native):
    lifetime = Lifetime(BOUNDS, SUITE, native=native)
    loss_of = jax.jit(lambda genome: score(lifetime, jax.random.key(99), genome, jnp.ones(2), 64).loss)
    before, later = learnt(0, native)
    assert float(loss_of(later)) < float(loss_of(before)) - 0.01


def test_learning_leaves_weights_that_do_not_exist_alone(native):
    before, later = learnt(0, native)
    for old, new, exists in zip(
        *map(jax.tree.leaves, (before.params, later.params, mask_of(before, BOUNDS))), strict=True
    ):
        absent = ~np.asarray(exists)
        np.testing.assert_array_equal(np.asarray(old)[absent], np.asarray(new)[absent])


def test_any_optax_chain_learns():
    """Two steps of sign descent move a bias by 0, or by twice its rate."""
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    config = LifetimeConfig(batch_size=2, warmup_steps=0)
    lifetime = Lifetime(BOUNDS, SUITE, config, optimiser=optax.sign_sgd(0.01))
    live = jax.jit(lambda key: learn(lifetime, key, genome, jnp.ones(2), 1.0, 2))
    moved = np.abs(np.asarray(live(jax.random.key(1)).params["output"]["bias"]))
    np.testing.assert_allclose(np.minimum(moved, np.abs(moved - 0.02)), 0, atol=1e-7)
    assert moved.max() > 0


def test_adaptive_learning_does_not_see_the_padding():
    """The laws' norms and cosines count what exists: in wider bounds the same individual learns the same.

    In float64, since the laws divide by what may be small and the order of a sum changes with the padding: at float32 a
    key that hardly has a gradient differs by 3e-4 after the six steps.
    """
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    genome = dataclasses.replace(genome, learning=neutral())  # a compact network has no learning genes
    wide = Bounds(
        num_slots=(5, 9), slot_width=(3, 7), num_read_heads=(1, 3), num_write_heads=(1, 3), controller_size=(4, 9)
    )
    config = LifetimeConfig(batch_size=4, optimiser="ae_adam")

    def lived(genome, bounds):
        lifetime = Lifetime(bounds, SUITE, config)
        learnt = jax.jit(lambda genome: learn(lifetime, jax.random.key(3), genome, jnp.ones(2), 1.0, 6))(genome)
        return nnx.state(compact(learnt, bounds), nnx.Param)

    def in_float64(genome):
        return dataclasses.replace(genome, params=jax.tree.map(lambda w: w.astype(jnp.float64), genome.params))

    padded = pad(compact(genome, BOUNDS), wide)
    with jax.enable_x64(True):
        start = nnx.state(compact(in_float64(genome), BOUNDS), nnx.Param)
        narrow = lived(in_float64(genome), BOUNDS)
        moved = jax.tree.map(lambda now, then: np.abs(now - then).max(initial=0), narrow, start)
        assert max(jax.tree.leaves(moved)) > 1e-3
        assert_trees_close(lived(in_float64(padded), wide), narrow, rtol=1e-6, atol=1e-9)


def test_a_genome_sets_the_rate_it_starts_at_and_acquires_the_one_it_ends_at():
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    fast = dataclasses.replace(genome.learning, learning_rate=jnp.asarray(2.0), meta_step=jnp.asarray(0.5))
    genome = dataclasses.replace(genome, learning=fast)
    config = LifetimeConfig(batch_size=2, learning_rate=1e-3, optimiser="ae_adam")
    lifetime = Lifetime(BOUNDS, SUITE, config)
    live = jax.jit(lambda steps: learn(lifetime, jax.random.key(3), genome, jnp.ones(2), 1.0, steps).learning)
    assert float(live(0).learning_rate) == pytest.approx(2.0, rel=1e-5)
    after = live(5)
    assert abs(float(after.learning_rate) - 2.0) > 1e-4
    assert float(after.meta_step) == 0.5
    state = make_chain(config, fast).init(genome.params)
    assert float(ae.find(state).gains.meta_step[0]) == pytest.approx(0.5 * 0.03, rel=1e-5)


def test_the_number_of_steps_may_be_traced():
    genome, _ = learnt(0)
    lifetime = Lifetime(BOUNDS, SUITE, LifetimeConfig(batch_size=2, optimiser="sgd"))

    def live(steps):
        return learn(lifetime, jax.random.key(3), genome, jnp.ones(2), 1.0, steps).params

    assert_trees_close(jax.jit(live)(4), jax.jit(lambda: live(4))(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("optimiser", "rtol"), [pytest.param("sgd", 1e-9, marks=pytest.mark.slow), ("ae_adam", 2e-6)])
def test_weights_as_one_vector_learn_the_same(optimiser, rtol):
    """In float64, since the order of sums differs in norms and cosines; the laws' own numbers stay float32."""
    genome, learning = member(compiled_init()(jax.random.key(0)).population.genomes, 0), neutral()
    with jax.enable_x64(True):
        double = jax.tree.map(lambda w: w.astype(jnp.float64), genome.params)
        genome = dataclasses.replace(genome, params=double, learning=learning)
        config = LifetimeConfig(batch_size=2, optimiser=optimiser)
        lifetimes = (Lifetime(BOUNDS, SUITE, config, flat=flat) for flat in (False, True))
        shaped, flat = (
            jax.jit(lambda key, one=one: learn(one, key, genome, jnp.ones(2), 1.0, 4))(jax.random.key(1))
            for one in lifetimes
        )
        assert_trees_close(flat.params, shaped.params, rtol=rtol, atol=rtol / 100)
        assert_trees_close(flat.learning, shaped.learning, rtol=rtol)


# The chain


def moves(decay=None, own=None, **changes):
    """Three updates of a weight whose gradient is -1, at a rate of 0.5 that a gene doubles."""
    config = LifetimeConfig(**{"optimiser": "sgd", "learning_rate": 0.5, "clip_norm": 100.0, **changes})
    learning = dataclasses.replace(neutral(), learning_rate=np.float32(2.0))
    chain, weight, gradient = make_chain(config, learning, decay, own), np.zeros(1, np.float32), np.full(1, -1.0)
    state, found = chain.init(weight), []
    for _ in range(3):
        updates, state = chain.update(gradient.astype(np.float32), state, weight, value=np.float32(1), mask=None)
        found.append(float(updates[0]))
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 1, 1]),  # rate and gene
        ({"clip_norm": 0.25}, [0.25, 0.25, 0.25]),
        ({"decay": optax.constant_schedule(0.5), "warmup_steps": 0}, [0.5, 0.5, 0.5]),
        ({"decay": optax.constant_schedule(0.5), "warmup_steps": 2}, [0.25, 0.5, 0.5]),
        ({"decay": optax.linear_schedule(1.0, 0.0, 4), "warmup_steps": 2}, [0.5, 0.75, 0.5]),
        # A user's own chain has its own rate, and is scheduled but not clipped.
        ({"own": optax.sgd(3.0), "clip_norm": 0.25}, [3, 3, 3]),
        ({"own": optax.sgd(3.0), "decay": optax.constant_schedule(0.5), "warmup_steps": 2}, [0.75, 1.5, 1.5]),
    ],
)
def test_one_chain_clips_and_scales(settings, expected):
    np.testing.assert_allclose(moves(**settings), expected, rtol=1e-6)


def test_a_warmup_ends_at_its_last_step():
    assert [float(warmup_share(4, step)) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert float(warmup_share(0, 0)) == 1


def test_every_optimiser_of_the_settings_is_in_the_table_and_says_whether_it_is_adaptive():
    assert set(OPTIMISERS) == set(typing.get_args(Optimiser))
    weight = np.zeros(3, np.float32)
    for name, kind in OPTIMISERS.items():
        config = LifetimeConfig(optimiser=name)
        chain = make_chain(config, neutral())
        assert kind.adaptive == name.startswith("ae_") == is_adaptive(config, chain, weight)
        assert kind.adaptive == is_adaptive(config, None, weight)


def test_a_users_chain_that_holds_the_laws_is_not_scheduled():
    """Without a schedule the first step moves the weights, and the lifetime acquires the rate."""
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    genome = dataclasses.replace(genome, learning=neutral())
    config = LifetimeConfig(batch_size=2, learning_rate=0.01)
    own = Lifetime(BOUNDS, SUITE, config, optimiser=optax.chain(ae.ae_sgdm(0.02)))
    after = jax.jit(lambda key: learn(own, key, genome, jnp.ones(2), 0.0, 1))(jax.random.key(1))
    moved = np.abs(np.asarray(after.params["output"]["bias"]) - np.asarray(genome.params["output"]["bias"]))
    assert moved.max() > 0
    assert float(after.learning.learning_rate) == pytest.approx(2.0, rel=0.2)
