"""Trajectories that share steps and coefficients: exact budgets, busy lanes, consensus in the charts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etm_jax import ae

RATES = [1e-5, 1e-3, 1e-1, 10.0]  # what the trajectories start from: six decades
CURVATURES = jnp.asarray([0.3, 1.0, 3.0, 10.0])
SETTINGS = {"num_trajectories": 4, "rounds": 5, "steps_per_round": 160, "floor": 12}


def loss_of(params, batch):
    """A noisy quadratic bowl, whose floor is 0."""
    return jnp.sum(CURVATURES * jnp.square(params["x"] - 1.0)) * (1.0 + 0.1 * batch)


def sample(key):
    return jnp.tanh(jax.random.normal(key))


def init_params(key):
    return {"x": 3.0 + jax.random.normal(key, (4,))}


def started(train, seed=0, starts=None):
    return train.init(jax.random.key(seed), init_params, {"learning_rate": RATES} if starts is None else starts)


@functools.cache
def swarm_of(**changes):
    return ae.swarm(loss_of, ae.ae_adam(1e-3), sample, **(SETTINGS | changes))


@functools.cache
def compiled_round(**changes):
    return jax.jit(swarm_of(**changes).round)


@functools.cache
def first_state():
    return jax.jit(lambda: started(swarm_of()))()


@functools.cache
def trained():
    return jax.jit(swarm_of().run)(first_state())


def log_rates(state):
    return np.log(np.asarray(ae.find(state.opt_states).hyperparams["learning_rate"]))


soft_weights = jax.jit(ae.soft_weights)
budgets = jax.jit(ae.budgets, static_argnums=(1, 2, 3))


# weights, budgets, consensus, schedule


def test_weights_of_three_scores_by_hand():
    # mean 2, deviation sqrt(2/3): standard scores -1.2247, 0, 1.2247
    expected = np.exp([1.2247449, 0.0, -1.2247449])
    weights = soft_weights(jnp.asarray([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6)


@given(
    st.lists(st.floats(-3, 3, width=16), min_size=5, max_size=5, unique=True),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e30]),
    st.sampled_from([-4.0, 0.0, 1.0]),
)
def test_weights_do_not_know_the_unit_of_the_loss(scores, scale, offset):
    scores = np.round(np.asarray(scores, np.float32), 2) + np.arange(5, dtype=np.float32)
    weights = soft_weights(jnp.asarray(scores))
    scaled = soft_weights(jnp.asarray((scores + offset) * np.float32(scale)))
    np.testing.assert_allclose(scaled, weights, rtol=2e-4)
    np.testing.assert_allclose(np.sum(weights), 1.0, rtol=1e-6)
    assert np.all(np.diff(np.asarray(weights)[np.argsort(scores)]) <= 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_has_no_weight(bad):
    assert soft_weights(jnp.asarray([2.0, bad, 2.0])).tolist() == [0.5, 0.0, 0.5]
    assert soft_weights(jnp.asarray([bad, bad])).tolist() == [0.5, 0.5]


def test_equal_or_enormous_scores_give_finite_weights():
    np.testing.assert_allclose(soft_weights(jnp.full(7, 0.1)), 1 / 7, rtol=1e-6)
    np.testing.assert_allclose(soft_weights(jnp.asarray([1.0, 1.0, 3e38])), [0.47173, 0.47173, 0.05655], atol=1e-5)
    np.testing.assert_allclose(soft_weights(jnp.arange(4.0), sharpness=0.0), 0.25)


@pytest.mark.parametrize(
    ("weights", "settings", "expected"),
    [
        ((0.97, 0.01, 0.01, 0.01), (4000, 400), [2728, 424, 424, 424]),  # 400 + 2400 w
        ((0.97, 0.01, 0.01, 0.01), (4000, 400, 2000), [2000, 667, 667, 666]),  # what the cap leaves over, by weight
        ((0.5, 0.3, 0.2), (7, 0), [4, 2, 1]),  # 3.5, 2.1, 1.4: the largest remainder gets the step
        ((1.0, 0.0, 0.0), (100, 10), [80, 10, 10]),
        ((1.0, 0.0, 0.0), (100, 10, 50), [50, 25, 25]),  # no other has weight, but the steps must be made
        ((0.0, 0.0, 0.0), (9, 1), [3, 3, 3]),
        ((np.nan, 1.0), (10, 2), [2, 8]),
        ((0.9, 0.1), (10, 5), [5, 5]),
        ((0.9, 0.1), (10, 0, 5), [5, 5]),
    ],
)
def test_budgets_by_hand(weights, settings, expected):
    assert budgets(jnp.asarray(weights), *settings).tolist() == expected


@functools.cache
def compiled_budgets(total, floor, cap):
    return jax.jit(jax.vmap(lambda weights: ae.budgets(weights, total, floor, cap)))


@pytest.mark.parametrize(
    "settings", [(4000, 400, None), (97, 3, 30), (1_000_000, 10, 250_000), (5, 0, None), (50, 10, 10), (50, 0, 10)]
)
@given(st.integers(0, 2**31), st.sampled_from([1, 5, 20]))
@example(0, 20)  # has weights that are subnormal
def test_budgets_sum_exactly_within_floor_and_cap_and_follow_the_weights(settings, seed, steepness):
    total, floor, cap = settings
    weights = np.random.default_rng(seed).random((50, 5), np.float32) ** steepness
    weights[:10, 0] = 0.0
    weights[5:15, 1:3] = weights[5:15, 3:]
    given_out = np.asarray(compiled_budgets(*settings)(weights))
    assert np.all(given_out.sum(axis=1) == total)
    assert given_out.min() >= floor and given_out.max() <= (cap or total)
    effective = np.where(weights < np.finfo(np.float32).tiny, 0.0, weights)  # XLA flushes subnormal numbers to 0
    for row, steps in zip(effective, given_out, strict=True):
        sorted_by_weight = np.lexsort((steps, row))
        assert np.all(np.diff(steps[sorted_by_weight]) >= 0)


def test_consensus_of_rates_is_geometric():
    rates = np.asarray([1e-4, 1e-3, 1e-2, 10.0], np.float32)
    same = np.exp(ae.consensus(jnp.asarray(np.log(rates))[:, None], jnp.full(4, 0.25), 1.0))
    np.testing.assert_allclose(same, 0.01, rtol=1e-5)  # the arithmetic mean is 2.5
    nudged = ae.consensus(jnp.asarray(np.log(rates))[:, None], jnp.full(4, 0.25), 0.05)
    np.testing.assert_allclose(nudged[:, 0], 0.95 * np.log(rates) + 0.05 * np.log(0.01), rtol=1e-5)


def test_nobody_listens_to_a_trajectory_without_weight():
    positions = jnp.asarray([[1.0, 5.0], [3.0, 7.0], [jnp.inf, jnp.nan]])
    drawn = ae.consensus(positions, jnp.asarray([2.0, 2.0, 0.0]), 0.5)
    np.testing.assert_allclose(drawn[:2], [[1.5, 5.5], [2.5, 6.5]])


@pytest.mark.parametrize("lanes", [1, 2, 3, 4])
def test_no_trajectory_stands_in_two_lanes_at_once(lanes):
    total = 120
    build = jax.jit(lambda given_out: ae.schedule(given_out, total, lanes))
    for seed in range(10):
        weights = np.random.default_rng(seed).random(5, np.float32) ** 4
        given_out = budgets(weights, total, 2, total // lanes)
        table = np.asarray(build(given_out))
        assert table.shape == (total // lanes, lanes)
        assert all(len(set(row)) == lanes for row in table.tolist())
        np.testing.assert_array_equal(np.bincount(table.ravel(), minlength=5), given_out)


# the swarm


def test_a_swarm_executes_exactly_its_budgets():
    state, history = trained()
    np.testing.assert_array_equal(history.executed, history.budgets)
    assert history.executed.sum(axis=1).tolist() == [160] * 5
    assert history.budgets[0].tolist() == [40] * 4
    assert len(set(history.budgets[-1].tolist())) > 1
    assert int(history.budgets.min()) >= 12 and int(history.budgets.max()) <= 80
    assert state.steps.sum() == 5 * 160 and state.round == 5
    np.testing.assert_array_equal(ae.find(state.opt_states).count, state.steps)


def test_a_swarm_is_no_worse_than_its_trajectories_alone():
    """From the same starts, with as many steps in total: 800 for the swarm, 4 times 200 for the four alone."""
    tx = ae.ae_adam(1e-3)

    def alone(params, opt_state, key):
        def step(carry, key):
            params, opt_state = carry
            value, gradients = jax.value_and_grad(loss_of)(params, sample(key))
            updates, opt_state = tx.update(gradients, opt_state, params, value=value)
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, opt_state), jax.random.split(key, 200))[0][0]

    first = first_state()
    singles = jax.jit(jax.vmap(alone))(first.params, first.opt_states, first.keys)
    losses = jax.vmap(loss_of)(singles, jnp.zeros(4))
    assert loss_of(ae.best_params(trained()[0]), 0.0) <= jnp.min(losses)


def test_coefficients_agree_with_their_positions():
    names = ("learning_rate", "b1")  # not in the order of the alphabet, in which jit hands them back
    tx = optax.chain(optax.clip_by_global_norm(1e3), ae.ae_adam(1e-3, b1=0.8, coefficients=names, noise=True))
    bare = ae.swarm(lambda x, batch: loss_of({"x": x}, batch), tx, sample, **(SETTINGS | {"strength": 1.0}))
    starts = {"learning_rate": jnp.asarray(RATES)}
    state = jax.jit(lambda key: bare.init(key, lambda key: init_params(key)["x"], starts))(jax.random.key(0))
    assert len(np.unique(jax.random.key_data(ae.find(state.opt_states).key), axis=0)) == 4
    found = ae.find(jax.jit(bare.round)(state).opt_states)
    np.testing.assert_allclose(found.hyperparams["learning_rate"], np.exp(found.position[:, 0]), rtol=1e-5)
    np.testing.assert_allclose(found.hyperparams["b1"], 1 - np.exp(-found.position[:, 1]), rtol=1e-5)
    np.testing.assert_allclose(found.start[:, 0], np.log(RATES), rtol=1e-6)
    assert np.ptp(found.position, axis=0).max() < 1e-5  # a strength of 1 makes all the same


def test_a_broken_trajectory_gets_the_floor_until_it_is_mended():
    state = first_state()
    state = state._replace(params={"x": state.params["x"].at[2].set(jnp.nan)})
    for _ in range(2):
        state = compiled_round()(state)
        assert state.weights[2] == 0.0 and state.budgets[2] == SETTINGS["floor"]
    assert np.isfinite(state.scores).tolist() == [True, True, False, True]
    assert np.all(np.isfinite(ae.best_params(state)["x"]))
    assert ae.find(state.opt_states).skipped.tolist() == [0, 0, int(state.steps[2]), 0]
    state = compiled_round()(state._replace(params={"x": state.params["x"].at[2].set(1.0)}))
    assert np.isfinite(state.scores[2]) and state.weights[2] > 0.2  # the mean starts again


def test_rounds_compile_once_and_equal_a_run():
    state = first_state()
    for _ in range(SETTINGS["rounds"]):
        state = compiled_round()(state)
    assert compiled_round()._cache_size() == 1
    np.testing.assert_array_equal(state.steps, trained()[0].steps)
    np.testing.assert_allclose(state.params["x"], trained()[0].params["x"], rtol=1e-4)


@functools.cache
def plain_and_changed():
    """One round of two swarms: as they are, and vmapped in one lane with more consensus and with dither."""
    other = first_state()._replace(params={"x": first_state().params["x"] - 5.0})
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first_state(), other)
    changed = jax.jit(jax.vmap(swarm_of(lanes=1, strength=0.5, dither=1e-2).round))(both)
    pairs = [(compiled_round()(state), i) for i, state in enumerate((first_state(), other))]
    return [(plain, jax.tree.map(lambda leaf, i=i: leaf[i], changed)) for plain, i in pairs]


@pytest.mark.parametrize("pair", [0, 1])
def test_lanes_and_vmap_are_only_a_layout(pair):
    """In the first round all budgets are equal, so it is the same work in any number of lanes."""
    plain, changed = plain_and_changed()[pair]
    np.testing.assert_allclose(changed.scores, plain.scores, rtol=1e-4)
    np.testing.assert_array_equal(changed.steps, plain.steps)


@pytest.mark.parametrize("pair", [0, 1])
def test_dither_moves_only_the_worst(pair):
    plain, changed = plain_and_changed()[pair]
    moved = np.asarray(changed.params["x"] - plain.params["x"])
    worst = int(np.argmax(plain.scores))
    np.testing.assert_allclose(np.delete(moved, worst, axis=0), 0.0, atol=1e-5)
    scale = np.sqrt(np.mean(np.square(plain.params["x"][worst])))
    assert 1e-3 * scale < np.sqrt(np.mean(moved[worst] ** 2)) < 3e-2 * scale


@pytest.mark.parametrize("pair", [0, 1])
def test_consensus_shrinks_the_spread_of_the_rates(pair):
    plain, changed = plain_and_changed()[pair]
    assert np.ptp(log_rates(plain)) < np.ptp(np.log(RATES))
    # The laws act before the consensus, so these are the same rates, drawn together by .05 and by .5.
    np.testing.assert_allclose(np.ptp(log_rates(changed)) / 0.5, np.ptp(log_rates(plain)) / 0.95, rtol=1e-3)


def test_an_ensemble_advances_together():
    train = ae.ensemble(loss_of, ae.ae_adam(1e-3), sample, num_trajectories=4, steps=60, strength=0.1)
    state, history = jax.jit(train.run)(started(train))
    assert state.steps.tolist() == [60] * 4 and np.all(history.executed == 1) and history.scores.shape == (60, 4)
    rates = np.log(history.coefficients["learning_rate"])
    assert np.ptp(rates[-1]) < 0.1 * np.ptp(np.log(RATES))
    assert float(loss_of(ae.best_params(state), 0.0)) < float(jnp.min(history.scores[0])) / 2


def test_with_position_keeps_the_charts():
    state = ae.find(ae.ae_adam(1e-3).init(jnp.zeros(2)))
    moved = ae.with_position(state, jnp.log(jnp.asarray([0.5])), ("learning_rate",))
    np.testing.assert_allclose(moved.hyperparams["learning_rate"], 0.5, rtol=1e-6)
    ranges = {"learning_rate": ae.Coefficient("horizon", 0.0, 0.9)}
    moved = ae.with_position(state, jnp.asarray([0.0]), ("learning_rate",), ranges)
    assert moved.hyperparams["learning_rate"] == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"floor": 0}, "floor must satisfy 1 <="),
        ({"floor": 41}, "floor must satisfy"),
        ({"lanes": 3}, "lanes must divide"),
        ({"lanes": 5}, "at most num_trajectories"),
        ({"strength": 1.5}, r"strength must lie in \[0, 1\], got 1.5"),
        ({"sharpness": -1.0}, "sharpness and dither"),
        ({"dither": float("nan")}, "sharpness and dither"),
        ({"num_trajectories": 0}, "must be at least 1"),
        ({"rounds": 0}, "must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ae.swarm(loss_of, ae.ae_adam(1e-3), sample, **(SETTINGS | changes))


def test_the_other_errors_say_the_way_out():
    with pytest.raises(ValueError, match="lower the floor to 33"):
        ae.budgets(jnp.ones(3), 100, 34)
    with pytest.raises(ValueError, match="raise the cap to 34"):
        ae.budgets(jnp.ones(3), 100, 1, 33)
    with pytest.raises(ValueError, match="lanes must divide the 6 steps"):
        ae.schedule(jnp.ones(3), 6, 4)
    with pytest.raises(ValueError, match="'own' has no range"):
        ae.with_position(ae.find(ae.ae_adam(1e-3).init(jnp.zeros(2))), jnp.zeros(1), ("own",))
    train = ae.swarm(loss_of, ae.ae_adam(1e-3), sample, **SETTINGS)
    with pytest.raises(ValueError, match="starts must give 4 numbers for any of learning_rate"):
        started(train, starts={"b1": RATES})
    with pytest.raises(ValueError, match=r"got shape \(2,\)"):
        started(train, starts={"learning_rate": [0.1, 0.2]})
    plain = ae.swarm(loss_of, optax.adam(1e-3), sample, **SETTINGS)
    with pytest.raises(ValueError, match="must hold one AEState, got 0"):
        started(plain)
