"""What may be given to the AE optimisers: weight-decay masks that work, and one clear line for what cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState
from helpers import assert_trees_close
from ready_chains import READY, SIGNALS

from etm_jax import ae

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.asarray([0.3, -0.1])}
FIXED = ae.without(ae.default_gains(("learning_rate",)), "AE-3", "AE-8")
NO_BIAS = {"w": True, "b": False}
MASKS = {
    "tree": NO_BIAS,
    "function": lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    "numpy": {"w": np.True_, "b": np.False_},
}


def after(tx, steps=3, gradient=PARAMS, params=PARAMS):
    step = jax.jit(lambda state, params: tx.update(gradient, state, params, value=1.0))
    state = tx.init(params)
    for _ in range(steps):
        updates, state = step(state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_keeps_parameters_from_decay_as_in_optax(mask):
    tx = ae.ae_adamw(1e-2, weight_decay=0.5, mask=mask, gauge="none", gains=FIXED)
    expected = after(optax.with_extra_args_support(optax.adamw(1e-2, weight_decay=0.5, mask=mask)))
    assert_trees_close(after(tx), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [ae.ae_adamw, ae.ae_schedule_free_adamw])
def test_what_is_masked_is_as_without_decay_and_the_rest_as_with_it(make):
    masked, decayed, free = (
        after(make(1e-2, weight_decay=decay, mask=mask, gauge="none", gains=FIXED))
        for decay, mask in ((0.5, NO_BIAS), (0.5, None), (0.0, None))
    )
    np.testing.assert_allclose(masked["b"], free["b"], rtol=1e-6)
    np.testing.assert_allclose(masked["w"], decayed["w"], rtol=1e-6)
    assert np.all(np.abs(decayed["w"]) < np.abs(free["w"]))


def test_a_function_sees_the_shapes_of_the_parameters_and_not_of_samples():
    """Samples of arrays have other shapes; a predicate that expects matrices must not get them."""
    params = {"w": jnp.ones((100, 100)), "b": jnp.ones(10_000)}
    gradient = jax.tree.map(jnp.zeros_like, params)
    seen = set()

    def mask(params):
        seen.update(leaf.shape for leaf in jax.tree.leaves(params))
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    tx = ae.ae_adamw(1e-2, weight_decay=0.5, mask=mask, gauge="none", gains=FIXED)
    params = after(tx, 1, gradient, params)
    assert seen == {(100, 100), (10_000,)}
    np.testing.assert_allclose(params["w"], 0.995, rtol=1e-6)
    np.testing.assert_array_equal(params["b"], 1.0)


@pytest.mark.parametrize(
    "mask", [{"w": True}, {"w": True, "b": None}, {"w": True, "c": False}], ids=["missing", "None", "another"]
)
@pytest.mark.parametrize("make", [ae.ae_adamw, ae.ae_schedule_free_adamw])
def test_a_mask_without_a_leaf_is_a_clear_error(make, mask):
    tx = make(mask=mask)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match="mask must have a boolean for each parameter") as error:
        tx.update(PARAMS, state, PARAMS, value=1.0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", READY)
def test_signals_that_are_no_scalars_and_trees_that_do_not_fit_are_clear_errors(name):
    tx = READY[name]()
    state = tx.init(PARAMS)
    for change, message in (
        ({"value": np.ones(4, np.float32)}, r"value must be a scalar, got shape \(4,\); take its mean"),
        ({"reward": np.ones((2, 1), np.float32)}, r"reward must be a scalar, got shape \(2, 1\)"),
        ({"valid_value": np.ones(1, np.float32)}, r"valid_value must be a scalar, got shape \(1,\)"),
        ({"mask": {"w": np.ones((2, 2), bool)}}, "mask must be a tree of the parameters' structure and shapes"),
        ({"mask": {"w": np.ones((2, 2), bool), "b": True}}, "mask must be a tree of the parameters' structure"),
        ({"grad": {"w": PARAMS["w"], "b": PARAMS["w"]}}, "grad must be a tree of the parameters' structure"),
        ({"grad": [PARAMS["w"], PARAMS["b"]]}, "grad must be a tree of the parameters' structure"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            jax.eval_shape(lambda change=change: tx.update(PARAMS, state, PARAMS, **(SIGNALS | change)))
        assert "\n" not in str(error.value)


BAD_RATES = [float("nan"), float("inf"), -1e-3, "0.1", [1e-3, 1e-2], None]


@pytest.mark.parametrize("rate", BAD_RATES, ids=str)
@pytest.mark.parametrize("name", READY)
def test_a_bad_learning_rate_is_a_clear_error(name, rate):
    with pytest.raises(ValueError, match=r"^learning_rate (must|is moved)") as error:
        READY[name](rate)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ae.ae_adam(b1=1.0), "b1 must lie in"),
        (lambda: ae.ae_adam(b2=float("nan")), "b2 must lie in"),
        (lambda: ae.ae_adamw(eps=-1.0), "eps must be finite and 0 or above"),
        (lambda: ae.ae_adamw(weight_decay=float("nan")), "weight_decay must be finite"),
        (lambda: ae.ae_sgdm(momentum=-0.1), "momentum must lie in"),
        (lambda: ae.ae_schedule_free_sgd(b1=float("nan")), "b1 must be in"),
        (lambda: ae.ae_schedule_free_adamw(b2=1.5), "b2 must lie in"),
        (lambda: ae.ae_rl(kl_weight=0.0), "kl_weight must start in"),
        (lambda: ae.ae_curriculum(difficulty=1.5), "difficulty must start in"),
        (lambda: ae.ae_adam(noise=True, sigma=float("nan")), "sigma must start in"),
        (lambda: ae.ae_adam(gains=ae.default_gains(("learning_rate", "b1"))), "gains must be those of"),
        (lambda: ae.default_gains(("learning_rate",), budget_up=float("nan")), "gains must be finite"),
        (lambda: ae.default_gains(("b1",), drive={"b1": {"reward": float("inf")}}), "gains must be finite"),
        (lambda: ae.ae_adamw(weight_decay=0.0, coefficients=("learning_rate", "weight_decay")), "leave weight_decay"),
        (lambda: ae.adaptive_evolution(optax.adam)(float("nan")), "learning_rate must start in"),
    ],
)
def test_numbers_out_of_their_range_are_clear_errors(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_whole_numbers_as_parameters_are_a_clear_error():
    with pytest.raises(ValueError, match="adaptive evolution needs real parameters"):
        ae.ae_adam().init({"w": jnp.arange(3)})


@pytest.mark.parametrize("name", READY)
def test_the_train_state_of_flax_is_told_the_way_out_and_the_way_works(name):
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=READY[name]())
    with pytest.raises(ValueError, match="call update" if name == "ae_rl" else "TrainState does not forward it"):
        state.apply_gradients(grads=PARAMS)

    @jax.jit
    def step(state):
        updates, opt_state = state.tx.update(PARAMS, state.opt_state, state.params, **SIGNALS)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state)

    assert int(ae.monitor(step(state).opt_state)["count"]) == 1
