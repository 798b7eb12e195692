"""What must hold of every padded thing: the invariants of the design that concern genomes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle_cells
import pytest
from helpers import (
    INPUT_SIZE,
    LARGER,
    NUM_STEPS,
    OUTPUT_SIZE,
    SPACES,
    TINY,
    all_finite,
    assert_trees_close,
    assert_trees_equal,
    exact_active,
    exact_gradients,
    exact_params,
    forward,
    genes,
    genes_within,
    gradients,
    make_genome,
    make_inputs,
    padded_like,
    put_where_absent,
    to_numpy,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from etm_jax.cells._cell import cell_step, drive_of, join_weights
from etm_jax.cells._registry import initial_carry
from etm_jax.networks import Genome, apply
from etm_jax.networks.genome._genes import architecture_from
from etm_jax.task import Episode, bit_loss, clean_inputs

TOLERANCES = {"float64": {"rtol": 1e-10, "atol": 1e-10}, "float32": {"rtol": 1e-5, "atol": 1e-5}}
ARCHITECTURES = {
    "many heads": genes(num_slots=5, num_read_heads=2, num_write_heads=2, controller_size=3),
    "shift range 2": genes(num_slots=6, slot_width=2, shift_range=2),
    "content": genes(num_slots=7, num_write_heads=2, addressing="content"),
}


def in_larger(genome, chosen, bounds=TINY, larger=LARGER):
    """The same individual at a larger padding, with zeros in the new places."""
    exact = exact_params(genome.params, bounds, chosen)
    return genome.replace(params=padded_like(make_genome(larger).params, exact, larger, chosen, 0.0))


def heads_that_exist(chosen, bounds):
    if chosen["memory"] == "none":
        return []
    reads = list(range(chosen["num_read_heads"]))
    return reads + [bounds.num_read_heads[1] + head for head in range(chosen["num_write_heads"])]


# 1. padded equals compact


@pytest.mark.parametrize("space", SPACES)
@given(data=st.data(), seed=st.integers(0, 999))
def test_any_padded_architecture_computes_what_a_plain_network_of_its_exact_sizes_does(space, data, seed):
    smaller, larger = SPACES[space]
    chosen = data.draw(genes_within(smaller))
    if chosen["memory"] == "hard_tape":
        chosen["ponder_steps"] = 1  # the plain tape cannot be at several places at once
    assume(oracle_cells.knows(chosen))
    with jax.enable_x64(True):
        genome, inputs = make_genome(smaller, seed, **chosen), make_inputs(seed)
        exact = to_numpy(exact_params(genome.params, smaller, chosen))
        logits, history, prices = oracle_cells.run(exact, np.asarray(inputs), chosen)
        for bounds, padded in ((smaller, genome), (larger, in_larger(genome, chosen, smaller, larger))):
            outputs, weightings, ponder = forward(bounds)(padded, inputs)
            np.testing.assert_allclose(outputs, logits, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(ponder, prices, rtol=1e-9)
            focus = np.asarray(weightings)[:, heads_that_exist(chosen, bounds)]
            np.testing.assert_allclose(focus[..., : history.shape[-1]], history, rtol=1e-9, atol=1e-9)
            assert np.sum(weightings) == pytest.approx(history.sum(), rel=1e-9)  # and nothing elsewhere


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_outputs_and_gradients_are_those_at_exact_sizes(name, dtype, native):
    if native and dtype != "float32":
        pytest.skip("the kernel computes in float32")
    chosen = ARCHITECTURES[name]
    with jax.enable_x64(dtype == "float64"):
        genome, inputs = make_genome(TINY, 1, **chosen), make_inputs()
        exact = jax.tree.map(jnp.asarray, exact_params(genome.params, TINY, chosen))
        outputs, by_params, by_inputs = exact_gradients(exact, exact_active(chosen), inputs)
        assert outputs.dtype == dtype
        for bounds, padded in ((TINY, genome), (LARGER, in_larger(genome, chosen))):
            padded_outputs, padded_by_params, padded_by_inputs = gradients(bounds, native)(padded, inputs)
            assert_trees_close(padded_outputs, outputs, **TOLERANCES[dtype])
            assert_trees_close(padded_by_inputs, by_inputs, **TOLERANCES[dtype])
            assert_trees_close(exact_params(padded_by_params, bounds, chosen), by_params, **TOLERANCES[dtype])


@given(chosen=genes_within(TINY), seed=st.integers(0, 999))
def test_a_larger_padding_changes_neither_outputs_nor_gradients(chosen, seed):
    with jax.enable_x64(True):
        genome, inputs = make_genome(TINY, seed, **chosen), make_inputs(seed)
        outputs, by_params, by_inputs = gradients(TINY)(genome, inputs)
        larger = gradients(LARGER)(in_larger(genome, chosen), inputs)
        assert_trees_close((larger[0], larger[2]), (outputs, by_inputs), rtol=1e-9, atol=1e-10)
        live = exact_params(by_params, TINY, chosen)
        assert_trees_close(exact_params(larger[1], LARGER, chosen), live, rtol=1e-9, atol=1e-10)


@given(chosen=genes_within(TINY), seed=st.integers(0, 999))
def test_a_larger_padding_changes_no_bit_of_what_the_kernel_computes(kernel, chosen, seed):
    genome, inputs = make_genome(TINY, seed, **chosen), make_inputs(seed)
    outputs, by_params, by_inputs = gradients(TINY, native=True)(genome, inputs)
    larger = gradients(LARGER, native=True)(in_larger(genome, chosen), inputs)
    assert_trees_equal((larger[0], larger[2]), (outputs, by_inputs))
    assert_trees_equal(exact_params(larger[1], LARGER, chosen), exact_params(by_params, TINY, chosen))


# 2. padding is inert


@pytest.mark.parametrize("space", ["one kind", pytest.param("many kinds", marks=pytest.mark.slow)])
@given(data=st.data(), garbage=st.sampled_from([np.nan, np.inf, -np.inf, 1e30]))
def test_garbage_in_weights_that_do_not_exist_changes_nothing_and_gets_no_gradient(space, native, data, garbage):
    if native and space != "one kind":
        pytest.skip("the kernel does not know all kinds")
    bounds, _ = SPACES[space]
    chosen = data.draw(genes_within(bounds) | st.just({**ARCHITECTURES["content"]}))
    genome, inputs = make_genome(bounds, 2, **chosen), make_inputs()
    run = gradients(bounds, native)
    clean = run(put_where_absent(genome, bounds, chosen, 0.0), inputs)
    dirty = run(put_where_absent(genome, bounds, chosen, garbage), inputs)
    assert all_finite(clean)
    assert_trees_equal(dirty, clean)
    by_params = genome.replace(params=dirty[1])
    assert_trees_equal(dirty[1], put_where_absent(by_params, bounds, chosen, 0.0).params)


def test_memory_is_zero_and_stays_zero_where_no_slot_or_column_exists():
    # at the start a constant of 1e-6 is all there is, so that it would count in every cosine
    chosen = ARCHITECTURES["many heads"]  # 5 of 7 slots, 3 of 4 columns
    genome = put_where_absent(make_genome(TINY, **chosen), TINY, chosen, 0.0)
    active = TINY.active_axes(architecture_from(chosen))

    @jax.jit
    def two_steps(params):
        weights = join_weights(params, active)
        carries = [initial_carry(active, jnp.dtype(jnp.float32))]
        for inputs in make_inputs(num_steps=2):
            carries.append(cell_step(weights, active, carries[-1], drive_of(params, active, inputs))[0])
        return [carry.memory for carry in carries]

    exists = np.outer(np.arange(4) < 3, np.arange(7) < 5)
    for memory in two_steps(genome.params):
        np.testing.assert_array_equal(np.asarray(memory) != 0, exists)


def test_every_weight_of_the_largest_architecture_gets_a_gradient(native):
    # else the test above could pass because gradients were zero everywhere
    genome = make_genome(TINY, 3).replace(architecture=TINY.largest())
    _, by_params, _ = gradients(TINY, native)(genome, make_inputs())
    for path, leaf in jax.tree.leaves_with_path(by_params):
        assert np.count_nonzero(leaf) == leaf.size, jax.tree_util.keystr(path)


@pytest.fixture(scope="module")
def learning_signal(native):
    """Jitted: the loss of a genome on an episode, and its gradients by params and by inputs."""

    def loss(params, inputs, architecture, episode):
        genome = Genome(architecture=architecture, params=params)
        episode = episode.replace(inputs=inputs)
        outputs = jax.vmap(lambda sequence: apply(genome, sequence, TINY, native=native))(clean_inputs(episode))
        return bit_loss(outputs, episode)

    differentiate = jax.value_and_grad(loss, argnums=(0, 1))
    return jax.jit(lambda genome, ep: differentiate(genome.params, ep.inputs, genome.architecture, ep))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_garbage_after_the_last_valid_step_changes_neither_loss_nor_gradients(learning_signal, garbage):
    ends = np.array([4, NUM_STEPS])[:, None]  # the second sequence has no step to spare
    steps = np.arange(NUM_STEPS)[None]
    draws = np.random.default_rng(0)
    inputs = draws.normal(size=(2, NUM_STEPS, INPUT_SIZE))
    targets = draws.integers(0, 2, (2, NUM_STEPS, OUTPUT_SIZE)).astype(float)
    valid = (steps < ends) & (steps % 2 == 1) | (steps == ends - 1)

    def episode(fill):
        shown = np.where((steps < ends)[..., None], inputs, fill)
        due = np.where(valid[..., None], targets, fill)
        return Episode(jnp.asarray(shown, float), jnp.asarray(due, float), jnp.asarray(valid))

    genome = make_genome(TINY)
    clean, dirty = learning_signal(genome, episode(0.0)), learning_signal(genome, episode(garbage))
    assert all_finite(clean)
    assert_trees_equal(dirty, clean)
    by_inputs = np.asarray(dirty[1][1])
    assert not by_inputs[0, 4:].any()
    assert by_inputs[0, :4].any()


# 3. individuals are independent


@functools.cache
def population_forward(native):
    return jax.jit(jax.vmap(lambda genome, inputs: apply(genome, inputs, TINY, native=native), in_axes=(0, None)))


def make_population():
    chosen = [*ARCHITECTURES.values(), genes()]
    members = [make_genome(TINY, seed, **each) for seed, each in enumerate(chosen)]
    return members, jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def test_a_population_at_once_computes_what_a_loop_over_its_members_does(native):
    members, population = make_population()
    together = population_forward(native)(population, make_inputs())
    for outputs, member in zip(together, members, strict=True):
        np.testing.assert_allclose(outputs, forward(TINY, native)(member, make_inputs())[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changed", range(4))
def test_changing_one_member_changes_no_other(changed, native):
    _, population = make_population()
    run = population_forward(native)
    before = np.asarray(run(population, make_inputs()))
    others = [index for index in range(4) if index != changed]

    broken = population.replace(params=jax.tree.map(lambda leaf: leaf.at[changed].set(jnp.nan), population.params))
    after = np.asarray(run(broken, make_inputs()))
    assert np.isnan(after[changed]).all()
    np.testing.assert_array_equal(after[others], before[others])

    another = make_genome(TINY, 50, **genes(num_slots=7, controller_size=5))
    replaced = jax.tree.map(lambda leaf, new: leaf.at[changed].set(new), population, another)
    after = np.asarray(run(replaced, make_inputs()))
    assert not np.allclose(after[changed], before[changed])
    np.testing.assert_array_equal(after[others], before[others])


# 4. circular shift is modulo the real number of slots


@pytest.mark.parametrize("num_slots", [5, 6, 7])
@pytest.mark.parametrize("distance", [-2, -1, 1, 2])
def test_a_head_told_to_move_goes_round_the_slots_that_exist(num_slots, distance, native):
    genome = make_genome(TINY, **genes(num_slots=num_slots, shift_range=2))
    params = jax.tree.map(lambda array: np.zeros_like(array), genome.params)
    params["heads"]["gate_bias"][:] = -20
    fields = params["heads"]["location_bias"]  # sharpening, shifts -2..2
    fields[:, 0], fields[:, 1 + 2 + distance] = 20, 20
    params = jax.tree.map(jnp.asarray, params)
    architecture = architecture_from(genes(num_slots=num_slots, shift_range=2))
    _, weightings, _ = forward(TINY, native)(Genome(architecture=architecture, params=params), make_inputs())
    expected = np.eye(7)[(distance * np.arange(1, NUM_STEPS + 1)) % num_slots]
    for head in (0, 2):  # the read head and the write head that exist
        np.testing.assert_allclose(weightings[:, head], expected, atol=1e-5)
    np.testing.assert_array_equal(weightings[:, [1, 3]], 0.0)
