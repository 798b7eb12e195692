import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers import INPUT_SIZE, NUM_STEPS, OUTPUT_SIZE, TINY, assert_trees_equal, forward, make_genome

from etm_jax.cells import MemoryCell, MemoryNetwork, NTMCell
from etm_jax.networks import compact

BATCH = 3


def make_batch():
    return jax.random.normal(jax.random.key(7), (BATCH, NUM_STEPS, INPUT_SIZE))


def make_module(seed=0):
    sizes = {"num_slots": 5, "slot_width": 3, "controller_size": 4}
    cell = NTMCell(INPUT_SIZE, OUTPUT_SIZE, **sizes, rngs=nnx.Rngs(seed))
    return MemoryNetwork(cell, {"num_slots": 5})


def test_the_cell_in_a_flax_rnn_computes_what_the_network_and_the_genome_do(native):
    genome = make_genome(TINY, num_read_heads=2)
    module = compact(genome, TINY)
    from_rnn = nnx.RNN(module.cell)(make_batch())
    assert from_rnn.shape == (BATCH, NUM_STEPS, OUTPUT_SIZE)
    np.testing.assert_allclose(module(make_batch()), from_rnn, rtol=1e-5, atol=1e-6)
    for sequence, outputs in zip(make_batch(), from_rnn, strict=True):
        np.testing.assert_allclose(forward(TINY, native)(genome, sequence)[0], outputs, rtol=1e-5, atol=1e-6)


def test_a_cell_with_masks_computes_what_the_genome_does_and_drops_weights_that_do_not_exist():
    genome = make_genome(TINY)
    poisoned = jax.tree.map(lambda array: array, genome.params)
    poisoned["controller"]["bias"] = poisoned["controller"]["bias"].at[:, -1].set(jnp.nan)  # the fifth of four units
    cell = MemoryCell(poisoned, TINY.active_axes(genome.architecture))
    outputs = nnx.RNN(cell)(make_batch()[:1])[0]
    np.testing.assert_allclose(outputs, forward(TINY)(genome, make_batch()[0])[0], rtol=1e-5, atol=1e-6)


def test_the_network_reports_the_weightings_of_read_heads_then_write_heads(native):
    genome = make_genome(TINY, num_read_heads=2)  # 2 of 2 read heads, 1 of 2 write heads, 6 of 7 slots
    outputs, weightings, _ = compact(genome, TINY).unroll(make_batch()[:1])
    padded_outputs, padded_weightings, _ = forward(TINY, native)(genome, make_batch()[0])
    assert weightings.shape == (1, NUM_STEPS, 3, 6)
    np.testing.assert_allclose(outputs[0], padded_outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weightings[0], padded_weightings[:, [0, 1, 2], :6], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(padded_weightings[:, 3], 0.0)


def test_the_carry_has_the_batch_dimensions_of_the_inputs():
    carry = make_module().cell.initialize_carry((4, 2, INPUT_SIZE))
    assert carry.memory.shape == (4, 2, 3, 5)
    assert carry.weightings.shape == (4, 2, 2, 5)
    assert carry.hidden.shape == (4, 2, 4)


def test_one_optimiser_step_moves_the_weights_down_the_gradient_and_leaves_the_masks_alone():
    module = make_module()
    optimiser = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    masks = jax.tree.map(jnp.array, nnx.state(module.cell.masks))
    params, _ = module.cell.arrays()
    inputs, targets = make_batch(), jnp.ones((BATCH, NUM_STEPS, OUTPUT_SIZE))

    @nnx.jit
    def step(module, optimiser):
        def loss(module):
            return jnp.mean(optax.sigmoid_binary_cross_entropy(module(inputs), targets))

        value, grads = nnx.value_and_grad(loss)(module)
        optimiser.update(module, grads)
        return value, grads

    first, grads = step(module, optimiser)
    assert len(jax.tree.leaves(grads)) == len(jax.tree.leaves(params))  # of the weights, and of nothing else
    kernel = grads["cell"]["params"]["output"]["controller_kernel"][...]
    moved, _ = module.cell.arrays()
    expected = params["output"]["controller_kernel"] - 0.1 * kernel
    np.testing.assert_allclose(moved["output"]["controller_kernel"], expected, rtol=1e-5)
    assert_trees_equal(nnx.state(module.cell.masks), masks)
    second, _ = step(module, optimiser)
    assert second < first


def test_the_same_seed_gives_the_same_cell_and_another_seed_another():
    assert_trees_equal(make_module(3).cell.arrays(), make_module(3).cell.arrays())
    kernels = [make_module(seed).cell.arrays()[0]["output"]["controller_kernel"] for seed in (3, 4)]
    assert not np.any(np.asarray(kernels[0]) == np.asarray(kernels[1]))


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_slots": 2},  # fewer than the 3 shifts
        {"num_slots": 4, "shift_range": 2},
        {"shift_range": -1},
        {"num_read_heads": 0},
        {"num_write_heads": 0},
        {"slot_width": 0},
        {"controller_size": 0},
        {"input_size": 0},
        {"output_size": 0},
    ],
    ids=str,
)
def test_impossible_sizes_are_refused_with_the_rule_and_the_sizes(sizes):
    with pytest.raises(ValueError, match=r"at least 1 and num_slots at least 2\*shift_range\+1, got \{'num_inputs'"):
        NTMCell(**{"input_size": 3, "output_size": 2, "num_slots": 8, **sizes}, rngs=nnx.Rngs(0))


def test_content_addressing_alone_needs_just_one_slot():
    cell = NTMCell(3, 2, num_slots=1, slot_width=2, controller_size=2, shift_range=0, rngs=nnx.Rngs(0))
    assert cell.arrays()[0]["heads"]["location_bias"].shape == (2, 0)
