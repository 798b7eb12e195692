"""Groups of parameters: chains under `optax.masked`, and one in each group of `optax.partition`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_close, assert_trees_equal
from ready_chains import READY, SIGNALS

from etm_jax import ae

PARAMS = {"w": np.asarray([1.0, -2.0], np.float32), "b": np.asarray([0.5, 3.0, 1.0], np.float32)}
GROUPS = {"w": "weights", "b": "biases"}


def after(tx, params, steps=3, **extra):
    params = jax.tree.map(jnp.asarray, params)
    extra = jax.tree.map(jnp.asarray, extra)
    step = jax.jit(lambda state, params: tx.update(params, state, params, **SIGNALS, **extra))
    state = tx.init(params)
    for _ in range(steps):
        updates, state = step(state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("name", READY)
def test_in_each_group_a_chain_does_what_it_does_alone(name):
    tx = optax.partition({"weights": READY[name](1e-3), "biases": READY[name](2e-3)}, GROUPS)
    params, state = after(tx, PARAMS)
    mean, seen, coefficients = ae.eval_params(state, params), ae.monitor(state), ae.coefficients(state)
    for leaf, group, rate in (("w", "weights", 1e-3), ("b", "biases", 2e-3)):
        alone, alone_state = after(READY[name](rate), {leaf: PARAMS[leaf]})
        np.testing.assert_allclose(params[leaf], alone[leaf], rtol=1e-5)
        np.testing.assert_allclose(mean[leaf], ae.eval_params(alone_state, alone)[leaf], rtol=1e-5)
        rows = {key.removeprefix(f"{group}/"): value for key, value in seen.items() if key.startswith(group)}
        assert_trees_close(rows, ae.monitor(alone_state), rtol=1e-4, atol=1e-6)
        assert coefficients[f"{group}/learning_rate"] == seen[f"{group}/coefficient/learning_rate"]


@pytest.mark.parametrize("name", ["ae_schedule_free_adamw", "ae_schedule_free_sgd"])
def test_what_a_mask_leaves_out_is_evaluated_as_it_is(name):
    params, state = after(optax.masked(READY[name](1e-2), {"w": True, "b": False}), PARAMS)
    mean = ae.eval_params(state, params)
    assert_trees_equal(mean["b"], params["b"])
    alone, alone_state = after(READY[name](1e-2), {"w": PARAMS["w"]})
    np.testing.assert_allclose(mean["w"], ae.eval_params(alone_state, alone)["w"], rtol=1e-5)
    assert np.any(mean["w"] != params["w"])


def test_a_mask_may_leave_out_a_whole_branch():
    params = {"kept": {"a": PARAMS["w"], "b": PARAMS["b"]}, "out": {"a": PARAMS["w"]}}
    params, state = after(optax.masked(ae.ae_schedule_free_adamw(1e-2), {"kept": True, "out": False}), params)
    mean = ae.eval_params(state, params)
    assert jax.tree.structure(mean) == jax.tree.structure(params)
    assert_trees_equal(mean["out"], params["out"])


def test_one_group_may_average_beside_one_that_does_not():
    tx = optax.partition({"weights": ae.ae_schedule_free_adamw(1e-2), "biases": optax.sgd(1e-2)}, GROUPS)
    params, state = after(tx, PARAMS)
    mean = ae.eval_params(state, params)
    assert_trees_equal(mean["b"], params["b"])
    assert np.any(mean["w"] != params["w"])
    assert "energy" in ae.monitor(state)  # one controller needs no name of a group


def test_raw_gradients_and_masks_of_all_parameters_reach_each_group():
    """As `optax.partition` hands them on: whole, to every group."""
    tx = optax.partition({"weights": ae.scale_by_ae(1e-3), "biases": ae.scale_by_ae(2e-3)}, GROUPS)
    mask = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), PARAMS)
    whole, _ = after(tx, PARAMS, steps=2, grad=PARAMS, mask=mask)
    plain, _ = after(tx, PARAMS, steps=2, grad=PARAMS)
    assert_trees_close(whole, plain, rtol=1e-5)


def test_a_parameter_averaged_twice_is_a_clear_error():
    params, state = after(ae.ae_schedule_free_sgd(1e-2), PARAMS, steps=1)
    with pytest.raises(ValueError, match="at most one AveragedState per parameter, got 2"):
        ae.eval_params((state, state), params)


def test_parameters_of_another_state_are_a_clear_error():
    state = ae.ae_schedule_free_sgd(1e-2).init(jax.tree.map(jnp.asarray, PARAMS))
    with pytest.raises(ValueError, match="params must match the tree the state was made for"):
        ae.eval_params(state, {"w": PARAMS["w"]})


def test_two_controllers_that_no_group_tells_apart_are_a_clear_error():
    state = optax.chain(ae.ae_adam(), ae.scale_by_ae()).init(PARAMS)
    with pytest.raises(ValueError, match=r"one AEState, got 2; .* optax.partition with one in each group"):
        ae.monitor(state)
