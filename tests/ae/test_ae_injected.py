"""`optax.inject_hyperparams` around the ready chains and our scalings, as optax's own suite asks for it."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_close
from ready_chains import READY, SIGNALS

from etm_jax import ae

PARAMS = {"w": np.asarray([[1.0, -2.0], [0.5, 3.0]], np.float32), "b": np.asarray([0.3, -0.1], np.float32)}
BUILDING_BLOCKS = {
    "scale_by_momentum": ae.scale_by_momentum,
    "scale_by_varying_adam": ae.scale_by_varying_adam,
}


def test_the_list_of_ready_chains_is_complete():
    found = {name for name in dir(ae) if name.startswith("ae_") or name.endswith("_by_ae")}
    assert found == set(READY)


@pytest.mark.parametrize("factory", [*READY.values(), *BUILDING_BLOCKS.values()], ids=[*READY, *BUILDING_BLOCKS])
def test_every_argument_has_a_name(factory):
    kinds = {each.kind for each in inspect.signature(factory).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


def taken(tx, params=PARAMS, steps=2):
    """Parameters after some steps on a constant gradient, one jit, as the state keeps its form."""
    params = jax.tree.map(jnp.asarray, params)
    step = jax.jit(lambda state, params: tx.update(params, state, params, **SIGNALS))
    state = tx.init(params)
    for _ in range(steps):
        updates, state = step(state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("name", READY)
def test_a_chain_with_its_hyperparameters_injected_takes_the_same_steps(name):
    params, state = taken(optax.inject_hyperparams(READY[name])(1e-3))
    expected, plain_state = taken(READY[name](1e-3))
    assert_trees_close(params, expected, rtol=1e-5, atol=1e-7)
    assert_trees_close(ae.monitor(state), ae.monitor(plain_state), rtol=1e-4, atol=1e-6)
    assert state.hyperparams["learning_rate"] == np.float32(1e-3)


@pytest.mark.parametrize("name", ["ae_adamw", "ae_schedule_free_adamw"])
def test_a_schedule_of_what_the_laws_leave_alone_is_followed_under_injection(name):
    decays = optax.piecewise_constant_schedule(0.0, {1: 1.0})
    tx = optax.inject_hyperparams(READY[name])(1e-3, weight_decay=decays)
    assert_trees_close(taken(tx)[0], taken(READY[name](1e-3, weight_decay=0.0))[0], rtol=1e-5, atol=1e-7)


def test_a_static_argument_left_out_says_which_one():
    tx = optax.inject_hyperparams(ae.ae_adam)(1e-3, sample=4096)
    with pytest.raises(ValueError, match=r"sample must be .* name it in static_args"):
        tx.init(PARAMS)
    tx = optax.inject_hyperparams(ae.ae_adam, static_args=("sample",))(1e-3, sample=4096)
    assert_trees_close(taken(tx, steps=1)[0], taken(ae.ae_adam(1e-3), steps=1)[0], rtol=1e-5)


def adam_of_any_name(**settings):
    return optax.adam(**settings)


def sgd_with_rest(learning_rate, **settings):
    return optax.sgd(learning_rate, **settings)


def sgd_of_positions(learning_rate, *rest, momentum=0.9):
    return optax.sgd(learning_rate, momentum, *rest)


@pytest.mark.parametrize(
    ("factory", "plain", "names", "args", "settings"),
    [
        (adam_of_any_name, optax.adam, ("learning_rate", "b1"), (), {"learning_rate": 1e-2, "b1": 0.8, "eps": 1e-6}),
        (sgd_with_rest, optax.sgd, ("learning_rate", "momentum"), (1e-2,), {"momentum": 0.8, "nesterov": True}),
        (functools.partial(optax.adam, b1=0.8), optax.adam, ("learning_rate",), (1e-2,), {}),
    ],
    ids=["only **settings", "and **settings", "partial"],
)
def test_a_factory_may_take_any_keywords(factory, plain, names, args, settings):
    """At gains of nought it is the optimiser itself."""
    gains = ae.without(ae.default_gains(names), "AE-3", "AE-8")
    tx = ae.adaptive_evolution(factory, names, gains=gains)(*args, **settings)
    settings = settings | (factory.keywords if isinstance(factory, functools.partial) else {})
    plainly = optax.with_extra_args_support(plain(*args, **settings))
    assert_trees_close(taken(tx)[0], taken(plainly)[0], rtol=1e-4, atol=1e-6)


def test_a_factory_may_take_further_positions():
    tx = ae.adaptive_evolution(sgd_of_positions, ("learning_rate", "momentum"))(1e-2, True, momentum=0.8)
    assert float(ae.coefficients(tx.init(PARAMS))["momentum"]) == pytest.approx(0.8, rel=1e-5)
    assert np.all(np.isfinite(taken(tx)[0]["w"]))


def test_a_coefficient_that_such_a_factory_is_not_given_is_a_clear_error():
    with pytest.raises(ValueError, match="b1 is moved by the laws; give it a number"):
        ae.adaptive_evolution(adam_of_any_name, ("learning_rate", "b1"))(learning_rate=1e-3)
