import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle_cells
import pytest
from helpers import (
    INPUT_SIZE,
    NUM_STEPS,
    all_finite,
    assert_trees_close,
    exact_active,
    exact_bounds,
    genes,
    make_inputs,
    make_params,
    make_probe,
    to_numpy,
)

from etm_jax.cells import cell_unroll
from etm_jax.cells._cell import cell_step, drive_of, join_weights
from etm_jax.cells._registry import initial_carry


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


# Sizes and pondering; kinds alone are tested pair by pair in test_cell_conformance.py.
NETWORKS = {
    "one head of each kind": genes(),
    "memory shorter than the sequence": genes(num_slots=3, slot_width=4),
    "memory longer than the sequence": genes(num_slots=13, slot_width=2),
    "many heads": genes(num_slots=5, num_read_heads=2, num_write_heads=3),
    "shift range 2": genes(num_slots=5, shift_range=2),
    "content only": genes(num_slots=4, num_read_heads=3, num_write_heads=2, addressing="content"),
    "one unit, one number a slot": genes(num_slots=3, slot_width=1, controller_size=1),
    "GRU": genes(controller="gru", num_read_heads=2),
    "RNN": genes(controller="rnn"),
    "feed-forward": genes(controller="feedforward", num_read_heads=2),
    "tape": genes(memory="tape", num_slots=4, num_read_heads=2, num_write_heads=2, shift_range=1),
    "no memory": genes(memory="none"),
    "DNC": genes(memory="dnc", num_slots=5, num_read_heads=2, num_write_heads=2),
    "window transformer": genes(controller="window", num_read_heads=2),
    "window transformer of two layers with a DNC": genes(controller="window", memory="dnc", num_layers=2),
    "pondering DNC": genes(ponder_steps=3, memory="dnc"),
    "pondering window transformer": genes(ponder_steps=3, controller="window", memory="tape"),
    "pondering": genes(ponder_steps=4, num_read_heads=2),
    "pondering GRU without a memory": genes(ponder_steps=5, memory="none", controller="gru"),
    "pondering tape": genes(ponder_steps=3, memory="tape", controller="rnn"),
}
DIFFERENTIATED = [
    "many heads",
    "content only",
    "GRU",
    "tape",
    "pondering",
    "window transformer of two layers with a DNC",
    *slow("shift range 2", "RNN", "feed-forward", "no memory", "pondering GRU without a memory", "DNC"),
    *slow("pondering window transformer"),
]


# A hard tape jumps or does not, so that a rounding may change everything; its types are tested in test_hard_tape.py.
IN_BFLOAT16 = ["many heads", "DNC", *slow("tape", "pondering GRU without a memory", "window transformer")]


def make_network(name="one head of each kind", seed=0):
    """Weights with random biases, and masks."""
    return make_params(exact_bounds(NETWORKS[name]), seed), exact_active(NETWORKS[name])


def probe(params, active, inputs, rematerialise=False):
    outputs = cell_unroll(params, active, inputs, rematerialise=rematerialise).outputs
    return jnp.sum(outputs * make_probe())


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_weightings_and_pondering_are_those_of_a_plain_network(name):
    with jax.enable_x64(True):
        params, active = make_network(name)
        outputs, weightings, ponder = jax.jit(cell_unroll)(params, active, make_inputs())
        logits, history, prices = oracle_cells.run(to_numpy(params), np.asarray(make_inputs()), NETWORKS[name])
        np.testing.assert_allclose(ponder, prices, rtol=1e-10)
        np.testing.assert_allclose(outputs, logits, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(weightings, history, rtol=1e-10, atol=1e-10)


def test_the_interface_is_clipped_to_20_as_in_a_plain_network():
    with jax.enable_x64(True):
        params, active = make_network("many heads")
        for block in ("heads", "write"):
            params[block] = {name: 60 * np.asarray(array) for name, array in params[block].items()}
        outputs, weightings, _ = jax.jit(cell_unroll)(params, active, make_inputs())
        logits, history, _ = oracle_cells.run(to_numpy(params), np.asarray(make_inputs()), NETWORKS["many heads"])
        # looser: the 1e-12 that the library adds within its logarithm counts in powers of up to 21
        np.testing.assert_allclose(outputs, logits, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(weightings, history, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_gradients_are_the_slopes_of_a_plain_network(name):
    def plain(params):
        return np.sum(oracle_cells.run(params, inputs, NETWORKS[name])[0] * np.asarray(make_probe()))

    with jax.enable_x64(True):
        params, active = make_network(name)
        inputs = np.asarray(make_inputs())
        grads = to_numpy(jax.jit(jax.grad(probe))(params, active, jnp.asarray(inputs)))
        params = to_numpy(params)
    draws, step = np.random.default_rng(0), 1e-5
    for block, leaf in [(block, leaf) for block, leaves in params.items() for leaf in leaves]:
        if params[block][leaf].size == 0:
            continue
        direction = draws.normal(size=params[block][leaf].shape)
        up, down = (
            plain({**params, block: {**params[block], leaf: params[block][leaf] + sign * step * direction}})
            for sign in (1, -1)
        )
        slope = (up - down) / (2 * step)
        along = np.sum(grads[block][leaf] * direction)
        np.testing.assert_allclose(along, slope, rtol=1e-5, atol=1e-8, err_msg=f"{block}/{leaf}")


def test_rematerialising_changes_neither_values_nor_gradients():
    params, active = make_network("many heads")
    differentiate = jax.jit(jax.value_and_grad(probe), static_argnames="rematerialise")
    kept = differentiate(params, active, make_inputs(), rematerialise=False)
    recomputed = differentiate(params, active, make_inputs(), rematerialise=True)
    assert_trees_close(recomputed, kept, rtol=1e-5, atol=1e-6)


def test_rematerialising_stores_less_for_the_backward_pass():
    params, active = make_network("memory longer than the sequence")
    inputs = make_inputs()

    def stored(rematerialise):
        _, backward = jax.eval_shape(lambda p: jax.vjp(lambda q: probe(q, active, inputs, rematerialise), p), params)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    assert stored(True) < 0.7 * stored(False)


@pytest.fixture(scope="module")
def batched():
    """Jitted: logits of four sequences, and the gradients of a probe of them by weights and inputs."""

    def value(params, active, inputs, how):
        outputs = cell_unroll(params, active, inputs, **dict(how)).outputs
        return jnp.sum(outputs * make_probe()[None] * jnp.arange(1.0, 5)[:, None, None]), outputs

    return jax.jit(jax.value_and_grad(value, argnums=(0, 2), has_aux=True), static_argnums=3)


@pytest.fixture(scope="module")
def single():
    """Jitted: logits of one sequence, and the gradients of a probe of them by weights and inputs."""

    def value(params, inputs, active):
        outputs = cell_unroll(params, active, inputs).outputs
        return jnp.sum(outputs * make_probe()), outputs

    differentiate = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)

    @jax.jit
    def run(params, active, inputs):
        (_, outputs), gradients = differentiate(params, inputs, active)
        return outputs, *gradients

    return run


BATCH = jnp.asarray(np.stack([make_inputs(seed) for seed in range(4)]))


@pytest.mark.parametrize("how", [(), (("micro_batch", 2),), (("micro_batch", 1),), (("rematerialise", True),)], ids=str)
def test_a_batch_is_its_sequences_one_by_one_in_values_and_gradients(batched, single, how):
    params, active = make_network("many heads")
    (_, outputs), (by_params, by_inputs) = jax.device_get(batched(params, active, BATCH, how))
    total = jax.tree.map(np.zeros_like, params)
    for index, inputs in enumerate(BATCH):
        weight = index + 1
        own_outputs, own, by_input = jax.device_get(single(params, active, inputs))
        total = jax.tree.map(lambda sum_, part, weight=weight: sum_ + weight * part, total, own)
        np.testing.assert_allclose(by_inputs[index], weight * by_input, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs[index], own_outputs, rtol=1e-5, atol=1e-5)
    assert_trees_close(by_params, total, rtol=1e-4, atol=1e-5)


def test_sequences_at_once_must_divide_the_batch():
    params, active = make_network()
    with pytest.raises(ValueError, match="micro_batch must divide the batch of 4 sequences, got 3"):
        cell_unroll(params, active, BATCH, micro_batch=3)


@pytest.mark.parametrize("name", IN_BFLOAT16)
def test_products_in_bfloat16_give_about_the_same_values_and_gradients_in_float32(batched, name):
    params, active = make_network(name)
    (_, exact), (exact_gradient, _) = jax.device_get(batched(params, active, BATCH, ()))
    (_, rough), (rough_gradient, _) = jax.device_get(batched(params, active, BATCH, (("dtype", jnp.bfloat16),)))
    assert {leaf.dtype for leaf in jax.tree.leaves((rough, rough_gradient))} == {jnp.dtype(jnp.float32)}
    assert 1e-5 < np.max(np.abs(rough - exact)) < 0.05 * np.max(np.abs(exact))
    whole = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(exact_gradient)))
    for rough_leaf, leaf in zip(jax.tree.leaves(rough_gradient), jax.tree.leaves(exact_gradient), strict=True):
        # Some gradients are next to 0, such as those of an attention's key biases: of these nothing is left.
        assert np.linalg.norm(rough_leaf - leaf) <= 0.05 * np.linalg.norm(leaf) + 1e-3 * whole


@pytest.fixture(scope="module")
def outcome():
    """Jitted: outputs, weightings and gradients of the network with many heads."""

    def value(params, active, inputs):
        outputs, weightings, _ = cell_unroll(params, active, inputs)
        return jnp.sum(outputs * make_probe()), (outputs, weightings)

    return jax.jit(jax.value_and_grad(value, has_aux=True))


@pytest.mark.parametrize("scale", [0.0, 1e3])
def test_huge_and_zero_weights_give_finite_outputs_and_gradients(outcome, scale):
    params, active = make_network("many heads")
    params = jax.tree.map(lambda array: scale * np.asarray(array), params)
    (_, (outputs, weightings)), grads = outcome(params, active, make_inputs())
    assert all_finite((outputs, grads))
    np.testing.assert_allclose(weightings.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("limit", [20.0, 1e6])
def test_interface_fields_at_their_limits_give_finite_outputs_and_gradients(outcome, limit):
    params, active = make_network("many heads")
    for seed in range(8):
        draws = np.random.default_rng(seed)
        for block, leaf in itertools.product(("heads", "write"), ("kernel", "bias")):
            for name in [name for name in params[block] if name.endswith(leaf)]:
                shape = params[block][name].shape
                params[block][name] = jnp.asarray(limit * draws.choice([-1.0, 1.0], shape) * (leaf == "bias"))
        (_, (outputs, weightings)), grads = outcome(params, active, make_inputs())
        assert all_finite((outputs, grads))
        np.testing.assert_allclose(weightings.sum(-1), 1.0, rtol=1e-5)


def test_a_step_from_zero_memory_has_finite_gradients():
    params, active = make_network()
    carry = initial_carry(active, jnp.dtype(jnp.float32))
    carry = carry.replace(memory=jnp.zeros_like(carry.memory))

    def after(params, carry):
        weights = join_weights(params, active)
        return jnp.sum(cell_step(weights, active, carry, drive_of(params, active, jnp.zeros(INPUT_SIZE)))[0].reads ** 2)

    assert all_finite(jax.jit(jax.grad(after, argnums=(0, 1)))(params, carry))


@pytest.mark.parametrize("weights_dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("inputs_dtype", [jnp.float32, jnp.bfloat16])
def test_the_carry_and_the_outputs_take_the_wider_type_of_weights_and_inputs(weights_dtype, inputs_dtype):
    params, active = make_network()
    params = jax.tree.map(lambda array: array.astype(weights_dtype), params)
    wider = jnp.promote_types(weights_dtype, inputs_dtype)

    def step(params, inputs):
        weights = join_weights(params, active)
        drive = drive_of(params, active, inputs)
        return cell_step(weights, active, initial_carry(active, drive.gates.dtype), drive)[0]

    inputs = make_inputs().astype(inputs_dtype)
    carry = jax.eval_shape(step, params, inputs[0])
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype(wider)}
    outputs, weightings, _ = jax.eval_shape(lambda p, x: cell_unroll(p, active, x), params, inputs)
    assert outputs.dtype == weightings.dtype == wider


@pytest.mark.parametrize("name", IN_BFLOAT16)
def test_bfloat16_gives_about_the_outputs_of_float32(name):
    params, active = make_network(name)
    halves, inputs = jax.tree.map(lambda array: np.asarray(array, jnp.bfloat16), (params, make_inputs()))
    outputs, *_ = jax.jit(cell_unroll)(halves, active, inputs)
    whole, *_ = jax.jit(cell_unroll)(params, active, make_inputs())
    assert outputs.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(outputs, np.float32), whole, atol=0.1)


def test_every_head_starts_on_slot_0_of_a_memory_of_small_constants():
    _, active = make_network("many heads")
    carry = initial_carry(active, jnp.dtype(jnp.float32))
    np.testing.assert_array_equal(carry.weightings, np.eye(5)[[0] * 5])
    np.testing.assert_array_equal(carry.memory, np.full((3, 5), 1e-6, np.float32))
    assert not any(np.any(leaf) for leaf in (carry.hidden, carry.cell, carry.reads))


def test_an_output_depends_on_inputs_up_to_its_own_step_only():
    params, active = make_network()
    run = jax.jit(cell_unroll)
    before, *_ = run(params, active, make_inputs())
    after, *_ = run(params, active, make_inputs().at[4].add(1.0))
    np.testing.assert_array_equal(after[:4], before[:4])
    assert np.all(np.any(np.asarray(after[4:]) != np.asarray(before[4:]), axis=-1)), f"of {NUM_STEPS} steps"
