"""Averaging under the laws: the recursion of the paper, the span of the mean, and what it brings on a noisy problem."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_equal
from optax import contrib

from etm_jax import ae
from etm_jax.ae._laws import span as next_span

NAMES = ("learning_rate",)
UNIFORM = ae.without(ae.default_gains(NAMES, mean_growth=1.0, forget_most=0.0), "AE-3", "AE-8")
AVERAGED = {
    "adamw": ae.ae_schedule_free_adamw,
    "sgd": ae.ae_schedule_free_sgd,
    "adafactor": lambda rate: ae.averaged(
        ae.adaptive_evolution(optax.adafactor, direction="given", phase_noise=-1.0)(learning_rate=rate)
    ),
}
every_chain = pytest.mark.parametrize("make", AVERAGED.values(), ids=AVERAGED.keys())
PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.asarray([0.3, -0.1])}
CURVATURES = jnp.geomspace(0.1, 1.0, 6)


def bowl(params):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) / 2


def signals(trend):
    return ae.Signals(*[jnp.zeros(())] * len(ae.Signals._fields))._replace(trend=jnp.asarray(trend))


def noisy_descent(tx, steps, noise=1.0, seed=0, move_at=None, judged=ae.eval_params):
    """Excess loss at the parameters to evaluate, of a quadratic with noisy gradients, `[steps]`."""
    target = lambda step: jnp.where(step < (steps if move_at is None else move_at), 0.0, 5.0)  # noqa: E731

    def one(carry, step):
        x, state = carry
        draw = noise * jax.random.normal(jax.random.fold_in(jax.random.key(seed), step), x.shape)
        away = x - target(step)
        value = 0.5 * jnp.sum(CURVATURES * away**2) + jnp.sum(draw * away)
        updates, state = tx.update(CURVATURES * away + draw, state, x, value=value)
        x = optax.apply_updates(x, updates)
        return (x, state), 0.5 * jnp.sum(CURVATURES * (judged(state, x) - target(step)) ** 2)

    x = jnp.full(CURVATURES.shape, 3.0)
    return jax.lax.scan(one, (x, tx.init(x)), jnp.arange(steps))[1]


def test_with_a_fixed_rate_and_a_uniform_mean_it_is_the_published_recursion():
    """Defazio et al. 2024, eq. 1 to 3, in NumPy, with plain gradient descent on a quadratic."""
    rate, b1, curvature = 0.3, 0.9, np.asarray([0.2, 1.0])
    tx = ae.ae_schedule_free_sgd(rate, b1, gauge="none", gains=UNIFORM)
    y = jnp.asarray([1.0, -2.0])
    state = tx.init(y)
    z = x = np.asarray(y)
    for step in range(1, 21):
        gradient = curvature * np.asarray(y)
        updates, state = tx.update(jnp.asarray(gradient), state, y, value=0.0)
        z = z - rate * curvature * ((1 - b1) * z + b1 * x)
        x = x + (z - x) / step
        y = optax.apply_updates(y, updates)
        np.testing.assert_allclose(y, (1 - b1) * z + b1 * x, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ae.eval_params(state, y), x, rtol=1e-4, atol=1e-5)


def test_with_a_fixed_rate_and_a_uniform_mean_it_is_schedule_free_adamw_of_optax():
    ours, theirs = ae.ae_schedule_free_adamw(0.05, gains=UNIFORM, gauge="none"), contrib.schedule_free_adamw(0.05)
    params, others = PARAMS, PARAMS
    state, other_state = ours.init(params), theirs.init(others)
    for _ in range(10):
        updates, state = ours.update(jax.grad(bowl)(params), state, params, value=bowl(params))
        params = optax.apply_updates(params, updates)
        updates, other_state = theirs.update(jax.grad(bowl)(others), other_state, others)
        others = optax.apply_updates(others, updates)
    mean, other_mean = ae.eval_params(state, params), contrib.schedule_free_eval_params(other_state, others)
    for key in PARAMS:
        np.testing.assert_allclose(params[key], others[key], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mean[key], other_mean[key], rtol=1e-4, atol=1e-5)


def test_the_span_covers_a_share_of_the_time_and_is_forgotten_under_a_trend():
    gains = ae.default_gains(NAMES, mean_growth=0.2, forget_beyond=0.9, forget_most=0.3)
    span = jnp.zeros(())
    for _ in range(100):
        span = next_span(span, signals(0.9), gains)
    # It stands at 1 until the growth passes it: the first step sets it to 1.
    assert float(span) == pytest.approx(1 + 99 * 0.2, rel=1e-5)
    assert float(next_span(span, signals(1.0), gains)) == pytest.approx(0.7 * float(span) + 0.2, rel=1e-5)
    assert float(next_span(span, signals(-0.95), gains)) == pytest.approx(0.85 * float(span) + 0.2, rel=1e-5)
    assert float(next_span(jnp.ones(()), signals(1.0), gains)) == 1.0


@every_chain
def test_a_step_that_is_not_finite_moves_neither_iterate_nor_mean(make):
    tx = make(1e-2)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        updates, state = tx.update(jax.grad(bowl)(params), state, params, value=bowl(params))
        params = optax.apply_updates(params, updates)
    bad = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), jax.grad(bowl)(params))
    updates, after = tx.update(bad, state, params, value=bowl(params))
    assert_trees_equal(updates, jax.tree.map(jnp.zeros_like, params))
    assert_trees_equal(after.fast, state.fast)
    assert float(after.span) == float(state.span)
    assert int(ae.find(after).skipped) == 1


@every_chain
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_parameters_and_the_fast_iterate_keep_their_dtype(make, dtype):
    tx = make(1e-2)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    state = tx.init(params)
    updates, state = tx.update(jax.grad(bowl)(params), state, params, value=bowl(params))
    mean = ae.eval_params(state, params)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((updates, state.fast, mean))} == {dtype}


def test_the_state_is_twice_the_parameters():
    params = {"w": jnp.zeros((200, 50)), "b": jnp.zeros(50)}
    state = jax.eval_shape(ae.ae_schedule_free_adamw(1e-3).init, params)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert size <= 2 * 10_050 * 4 + 1000


def test_the_mean_is_nearer_to_the_optimum_than_the_fast_iterate():
    tx = ae.ae_schedule_free_sgd(0.3, gauge="none", gains=UNIFORM)
    at_mean = jax.jit(lambda: noisy_descent(tx, 600))()
    at_fast = jax.jit(lambda: noisy_descent(tx, 600, judged=lambda state, x: state.fast))()
    assert float(at_mean[-100:].mean()) < 0.1 * float(at_fast[-100:].mean())


@pytest.mark.parametrize("rate", [1e-5, 10.0])
def test_any_initial_rate_will_do(rate):
    risk = jax.jit(lambda rate: noisy_descent(ae.ae_schedule_free_adamw(rate), 600))(jnp.asarray(rate))
    assert float(risk[-100:].mean()) < 0.2  # it starts at 14


def test_after_a_change_the_mean_forgets_and_follows():
    risk = jax.jit(functools.partial(noisy_descent, ae.ae_schedule_free_sgd(1e-2), 600, move_at=300, noise=0.3))()
    assert float(risk[300]) > 10.0
    assert float(risk[-50:].mean()) < 0.1


def test_eval_params_are_the_parameters_where_nothing_is_averaged_and_before_the_first_step():
    assert ae.eval_params(ae.ae_adam().init(PARAMS), PARAMS) is PARAMS
    tx = optax.chain(optax.clip_by_global_norm(1.0), ae.ae_schedule_free_adamw())
    assert_trees_equal(ae.eval_params(tx.init(PARAMS), PARAMS), PARAMS)


def test_errors_say_what_to_do():
    tx = ae.ae_schedule_free_sgd(1e-2)
    with pytest.raises(ValueError, match="params"):
        tx.update(PARAMS, tx.init(PARAMS), value=1.0)
    make = ae.adaptive_evolution(optax.sgd, direction="given")
    with pytest.raises(ValueError, match="direction"):
        make(1e-2).update(PARAMS, make(1e-2).init(PARAMS), PARAMS, value=1.0)
    two = optax.chain(ae.ae_schedule_free_sgd(), ae.ae_schedule_free_sgd())
    with pytest.raises(ValueError, match="got 2"):
        ae.eval_params(two.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match="b1"):
        ae.ae_schedule_free_sgd(1e-2, 0.0)
