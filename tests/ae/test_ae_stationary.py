"""Where nothing changes, no coefficient may walk away: beta2 under steady noise, difficulty at chance, eps as moved."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etm_jax import ae
from etm_jax.ae._moments import adam_direction

STEPS = 4000


def steady(key):
    """Loss and gradient of a problem that stands still: noise of one size about nought, a loss of one level."""
    noise_key, loss_key = jax.random.split(key)
    return 1.0 + 0.1 * jax.random.normal(loss_key, ()), jax.random.normal(noise_key, (8,))


def seen_on(tx, problem, steps, name):
    """A coefficient at each step, at parameters that stay as they are."""
    params = jnp.ones(8)

    def step(state, key):
        value, gradient = problem(key)
        _, state = tx.update(gradient, state, params, value=value)
        return state, ae.monitor(state)[name]

    def run(key):
        return jax.lax.scan(step, tx.init(params), jax.random.split(key, steps))[1]

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 4)))


def test_uncertainty_is_about_nought_however_noisy_the_gradients_are():
    seen = seen_on(ae.ae_adam(1e-3), steady, STEPS, "signal/uncertainty")[:, 500:]
    assert abs(seen.mean()) < 0.02
    assert seen.max() > 0.05  # and it does move


def test_beta2_stays_where_it_began_on_a_stationary_problem():
    """It went from 0.999 to 0.99954, where the memory is more than twice as long."""
    tx = ae.ae_adamw(1e-3, coefficients=("learning_rate", "b2"))
    memory = 1 / (1 - seen_on(tx, steady, STEPS, "coefficient/b2")[:, -1])
    np.testing.assert_allclose(memory, 1000, rtol=0.15)


def test_a_difficulty_stays_where_the_loss_stays_at_chance():
    """It rose from 0.10 to 0.975 in 500 steps."""
    seen = seen_on(ae.ae_curriculum(1e-3, difficulty=0.1), steady, 1000, "coefficient/difficulty")
    assert seen[:, -1].max() < 0.2


def test_a_difficulty_rises_where_the_loss_stands_still_far_below_its_start():
    tx = ae.ae_curriculum(1e-3, difficulty=0.1)
    params = jnp.ones(8)

    def step(state, index):
        value, gradient = steady(jax.random.fold_in(jax.random.key(0), index))
        value = jnp.where(index < 300, value, 0.05 * value)
        _, state = tx.update(gradient, state, params, value=value)
        return state, ae.monitor(state)["coefficient/difficulty"]

    seen = np.asarray(jax.jit(lambda: jax.lax.scan(step, tx.init(params), jnp.arange(2000))[1])())
    assert seen[299] < 0.2
    assert seen[-1] > 0.5


def test_the_direction_is_computed_with_the_eps_that_the_laws_moved_to():
    moments = ae.scale_by_varying_adam(0.9, 0.999, 1e-8)
    gradient = jnp.asarray([1e-3, 1.0])
    _, state = moments.update(gradient, moments.init(gradient))
    moved = adam_direction(1e-8)((state,), {"eps": jnp.float32(1e-3)})
    expected, _ = ae.scale_by_varying_adam(0.9, 0.999, 1e-3).update(gradient, moments.init(gradient))
    np.testing.assert_allclose(moved, expected, rtol=1e-5)
    np.testing.assert_allclose(moved, [0.5, 0.999], rtol=1e-3)


NAMES = ("learning_rate", "weight_decay")


@pytest.mark.parametrize(
    "make",
    [
        lambda decay: ae.ae_adamw(1e-3, weight_decay=decay, coefficients=NAMES),
        lambda decay: ae.adaptive_evolution(optax.adamw, NAMES)(1e-3, weight_decay=decay),
    ],
    ids=["ae_adamw", "around optax.adamw"],
)
def test_a_coefficient_does_not_start_elsewhere_in_silence(make):
    """A weight decay of 0 started at 1e-6, the end of its range."""
    with pytest.raises(ValueError, match=r"weight_decay must start in \[.*\] where the laws move it, got 0"):
        make(0.0)
    assert float(ae.coefficients(make(1e-4).init(jnp.ones(1)))["weight_decay"]) == pytest.approx(1e-4, rel=1e-4)
