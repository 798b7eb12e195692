"""Under any dtype of parameters, x64 and strict promotion the laws compute the right numbers, and states keep form."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_equal
from ready_chains import READY, SIGNALS

from etm_jax import ae

NARROW = ["bfloat16", "float16"]
FIXED = ae.without(ae.default_gains(("learning_rate",)), "AE-3")


def updates_of(tx, dtype, gradient=0.1, steps=3):
    """The first entry of each update, at a constant gradient."""
    params = jnp.zeros(4, dtype)

    def step(state, _):
        update, state = tx.update(jnp.full(4, gradient, dtype), state, params, value=jnp.float32(1.0))
        return state, update[0].astype(jnp.float32)

    return np.asarray(jax.jit(lambda: jax.lax.scan(step, tx.init(params), length=steps)[1])())


MOVING_DECAY = {"coefficients": ("learning_rate", "b2"), "gauge": "none"}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    "tx",
    [
        ae.ae_adamw(1e-3, weight_decay=0.0, **MOVING_DECAY),
        ae.adaptive_evolution(optax.adam, **MOVING_DECAY)(1e-3),
        ae.ae_schedule_free_adamw(1e-3),
    ],
    ids=["ae_adamw", "optax.adam", "averaged"],
)
def test_a_decay_that_moves_does_not_round_to_1(tx, dtype):
    """In bfloat16 0.999 is 1."""
    np.testing.assert_allclose(updates_of(tx, dtype), updates_of(tx, "float32"), rtol=0.01)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", [name for name in READY if name != "ae_rl"])
def test_a_gradient_of_zero_moves_nothing(name, dtype):
    """The norm gauge divides the rate by the rms gradient: 1e13 is no float16."""
    assert not np.any(updates_of(READY[name](), dtype, gradient=0.0)[:1])
    assert np.all(np.isfinite(updates_of(READY[name](), dtype, gradient=0.0)))


@pytest.mark.parametrize("dtype", NARROW)
def test_a_second_moment_of_a_thousand_steps_reaches_its_value(dtype):
    """A step's share of it is below the rounding of bfloat16, where it stood still at a third."""
    tx = ae.ae_adamw(1e-3, b1=0.0, weight_decay=0.0, gains=FIXED, gauge="none")
    assert updates_of(tx, dtype, steps=1000)[-1] == pytest.approx(-1e-3, rel=0.02)


def test_the_square_of_a_small_gradient_is_not_zero_in_float16():
    """1e-4 squared is below the least float16; without the square Adam's update is 1e4 times too long."""
    tx = ae.ae_adamw(1e-3, weight_decay=0.0, gains=FIXED, gauge="none")
    np.testing.assert_allclose(updates_of(tx, "float16", gradient=1e-4), -1e-3, rtol=0.02)


def test_the_cosine_of_small_gradients_is_that_of_large_ones_in_float16():
    tx = ae.ae_sgdm(1e-2)
    params = jnp.ones(4, jnp.float16)
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(jnp.full(4, 1e-4, jnp.float16), state, params, value=1.0)
    assert float(ae.monitor(state)["signal/alignment"]) == pytest.approx(1.0, abs=1e-3)


@contextlib.contextmanager
def strictly(x64):
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        yield


CASES = [(False, "bfloat16"), (False, "float32"), (True, "float32"), (True, "float64")]
every_precision = pytest.mark.parametrize(("x64", "dtype"), CASES)


def forms(tree):
    return [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(tree)]


@every_precision
@pytest.mark.parametrize("noise", [False, True], ids=["", "noise and mask"])
@pytest.mark.parametrize("name", READY)
def test_every_chain_keeps_its_form_under_x64_and_strict_promotion(name, noise, x64, dtype):
    with strictly(x64):
        tx = READY[name](1e-3, noise=noise)
        params = {"w": np.ones((3, 2), dtype), "b": np.ones(2, dtype)}
        params = jax.tree.map(jnp.asarray, params)
        mask = {"mask": jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), params)} if noise else {}

        def step(params, state):
            updates, state = tx.update(params, state, params, **SIGNALS, **mask)
            params = optax.apply_updates(params, updates)
            return params, state, ae.monitor(state), ae.eval_params(state, params)

        state = tx.init(params)
        after, next_state, seen, mean = jax.eval_shape(step, params, state)
        assert forms((after, next_state)) == forms((params, state))
        assert forms(mean) == forms(params)
        assert {str(value.dtype) for value in seen.values()} <= {"float32", "int32"}
        if noise is False and dtype != "float64":
            after, *_ = jax.jit(step)(params, state)
            assert all(np.all(np.isfinite(np.asarray(leaf, np.float32))) for leaf in jax.tree.leaves(after))


@every_precision
@pytest.mark.parametrize("kind", ["swarm", "ensemble"])
def test_trajectories_run_under_x64_and_strict_promotion(kind, x64, dtype):
    with strictly(x64):
        how = {"rounds": 1, "steps_per_round": 8, "floor": 1, "dither": 0.1} if kind == "swarm" else {"steps": 1}
        train = getattr(ae, kind)(
            lambda x, batch: jnp.sum((x - batch.astype(x.dtype)) ** 2),
            ae.ae_adam(1e-2),
            lambda key: jax.random.normal(key, (3,), "float32"),
            num_trajectories=4,
            **how,
        )
        state = jax.eval_shape(lambda: train.init(jax.random.key(0), lambda key: jnp.zeros(3, dtype)))
        after, history = jax.eval_shape(train.run, state)
        assert forms(after) == forms(state)
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(history)} == {"float32", "int32"}


@every_precision
def test_a_machine_and_its_tape_run_under_x64_and_strict_promotion(x64, dtype):
    with strictly(x64):
        task = ae.tape_tasks.copy_task()
        halt = ae.machine.halt_when(loss_below=1e-3, step_below=1e-3, variance_below=0.1)

        def on_tape(key):
            machine = ae.machine.Machine(ae.tape_tasks.plant, ae.tape_tasks.sampler(task), ae.ae_adam(1e-3), halt)
            program, tape = ae.tape_tasks.initial_program(task, key), ae.tape_tasks.initial_memory(task)
            result = ae.machine.run(machine, key, program, tape, max_steps=3)
            return result, ae.tape_tasks.accuracy(task, result.params, key)

        def plain(key):
            def plant(x, memory, target):
                return jnp.sum((x - target) ** 2), ae.tape.move(ae.tape.rewind(memory, 0.5), jnp.zeros(3, dtype), 0.0)

            machine = ae.machine.Machine(plant, lambda key, step: jnp.ones(2, dtype), ae.ae_adam(1e-3), halt)
            return ae.machine.run(machine, key, jnp.zeros(2, dtype), ae.tape.blank_tape(4, 1, dtype), max_steps=3)

        key = jax.eval_shape(lambda: jax.random.key(0))
        result, _ = jax.eval_shape(on_tape, key)
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(result.params)} == {"float32"}
        assert str(jax.eval_shape(plain, key).params.dtype) == dtype


def test_x64_changes_no_number_of_a_float32_run():
    def run():
        step = functools.partial(READY["ae_adamw"](1e-3).update, value=np.float32(1.0))
        params = np.ones(4, np.float32)
        state = READY["ae_adamw"](1e-3).init(jnp.asarray(params))
        _, state = jax.jit(step)(params, state, params)
        updates, _ = jax.jit(step)(params, state, params)
        return np.asarray(updates)

    plain = run()
    with jax.enable_x64(True):
        assert_trees_equal(run(), plain)
