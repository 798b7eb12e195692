"""What must hold of every controller with every memory. A kind is tested here by being listed in its registry."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle_cells
import pytest
from helpers import (
    INPUT_SIZE,
    OUTPUT_SIZE,
    TINY,
    all_finite,
    assert_trees_close,
    assert_trees_equal,
    exact_active,
    exact_gradients,
    exact_params,
    genes,
    gradients,
    make_genome,
    make_inputs,
    put_where_absent,
    to_numpy,
)

from etm_jax.cells import CONTROLLERS, MEMORIES, Active, cell_unroll, table_of
from etm_jax.cells._cell import cell_step, drive_of, join_weights
from etm_jax.cells._registry import initial_carry
from etm_jax.networks import apply, compact, load_network, mask_of, pad, random_genome, save_network
from etm_jax.networks.genome._buckets import crop, uncrop
from etm_jax.networks.genome._genes import architecture_from, multiply_adds
from etm_jax.networks.native._layout import SERVED_CONTROLLERS, SERVED_MEMORIES
from etm_jax.networks.variation._mutation import resize

PAIRS = [(controller, memory) for controller in CONTROLLERS for memory in MEMORIES]
# Compiling all pairs takes minutes; every kind is in one of these, and the rest is tested with --slow.
ACROSS = [pair for pair in PAIRS if pair[0] == next(iter(CONTROLLERS)) or pair[1] == "ntm"]
COMPILED = [pytest.param(*pair, marks=[] if pair in ACROSS else pytest.mark.slow) for pair in PAIRS]

# Without jit every operation is a compile of its own.
OP_BY_OP = [pytest.param(*pair, marks=[] if pair == ("lstm", "ntm") else pytest.mark.slow) for pair in ACROSS]

every_pair = pytest.mark.parametrize(("controller", "memory"), PAIRS)
compiled_pairs = pytest.mark.parametrize(("controller", "memory"), COMPILED)


def space_of(controller, memory, **changes):
    return dataclasses.replace(TINY, controllers=(controller,), memories=(memory,), **changes)


def architecture_of(controller, memory, **changes):
    """Neither the smallest nor the largest of its space, and with a read head more than write heads."""
    return genes(controller=controller, memory=memory, num_slots=5, num_read_heads=2, **changes)


@functools.cache
def padded(controller, memory):
    """Outputs and gradients, at padded shape and in float64, with zeros and with NaN where no weight exists."""
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)
    genome = make_genome(bounds, 1, **chosen)
    return tuple(
        jax.device_get(gradients(bounds)(put_where_absent(genome, bounds, chosen, value), make_inputs()))
        for value in (0.0, np.nan)
    )


@compiled_pairs
def test_outputs_are_those_of_a_plain_network(controller, memory):
    chosen = architecture_of(controller, memory)
    if not oracle_cells.knows(chosen):
        pytest.skip("no plain version of this kind")
    with jax.enable_x64(True):
        bounds = space_of(controller, memory)
        exact = to_numpy(exact_params(make_genome(bounds, 1, **chosen).params, bounds, chosen))
        logits, *_ = oracle_cells.run(exact, np.asarray(make_inputs()), chosen)
        np.testing.assert_allclose(padded(controller, memory)[0][0], logits, rtol=1e-10, atol=1e-10)


@compiled_pairs
def test_padded_equals_compact(controller, memory):
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)
    with jax.enable_x64(True):
        exact = exact_params(make_genome(bounds, 1, **chosen).params, bounds, chosen)
        outputs, by_params, by_inputs = exact_gradients(exact, exact_active(chosen), make_inputs())
        own_outputs, own_by_params, own_by_inputs = padded(controller, memory)[0]
        tolerance = {"rtol": 1e-9, "atol": 1e-10}
        assert_trees_close((own_outputs, own_by_inputs), (outputs, by_inputs), **tolerance)
        assert_trees_close(exact_params(own_by_params, bounds, chosen), by_params, **tolerance)


@compiled_pairs
def test_nan_where_no_weight_exists_changes_nothing_and_gets_no_gradient(controller, memory):
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)
    with jax.enable_x64(True):
        clean, dirty = padded(controller, memory)
        assert all_finite(clean)
        assert_trees_equal(dirty, clean)
        by_params = make_genome(bounds, 1, **chosen).replace(params=dirty[1])
        assert_trees_equal(dirty[1], put_where_absent(by_params, bounds, chosen, 0.0).params)


@pytest.mark.parametrize(
    ("controller", "memory"),
    [param for param in COMPILED if param.values[0] in SERVED_CONTROLLERS and param.values[1] in SERVED_MEMORIES],
)
def test_the_native_kernel_computes_the_same_in_a_space_of_this_kind_alone(kernel, controller, memory):
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)
    genome, run = make_genome(bounds, 1, **chosen), gradients(bounds, native=True)
    clean, dirty = (run(put_where_absent(genome, bounds, chosen, value), make_inputs()) for value in (0.0, np.nan))
    assert_trees_equal(dirty, clean)
    with jax.enable_x64(True):
        expected = padded(controller, memory)[0]
    assert_trees_close(clean, expected, rtol=1e-4, atol=1e-5)


@compiled_pairs
def test_a_population_at_once_computes_what_its_members_do(controller, memory):
    bounds = space_of(controller, memory)

    def run(genome):
        return apply(genome, make_inputs(), bounds)

    chosen = [architecture_of(controller, memory), genes(controller=controller, memory=memory, controller_size=2)]
    with jax.enable_x64(True):
        members = [make_genome(bounds, seed, **each) for seed, each in enumerate(chosen)]
        together = jax.jit(jax.vmap(run))(jax.tree.map(lambda *leaves: np.stack(leaves), *members))
        for outputs, member in zip(together, members, strict=True):
            np.testing.assert_allclose(outputs, gradients(bounds)(member, make_inputs())[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("controller", "memory"), OP_BY_OP)
def test_without_jit_it_computes_the_same(controller, memory):
    bounds = space_of(controller, memory)
    genome, inputs = make_genome(bounds, **architecture_of(controller, memory)), make_inputs(num_steps=2)
    compiled = jax.jit(lambda genome: apply(genome, inputs, bounds))(genome)
    with jax.disable_jit():
        np.testing.assert_allclose(apply(genome, inputs, bounds), compiled, rtol=1e-4, atol=1e-5)


@every_pair
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_keeps_shapes_and_types_of_the_carry(controller, memory, dtype):
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)

    def step(genome, inputs):
        active = bounds.active_axes(genome.architecture)
        carry = initial_carry(active, inputs.dtype)
        weights = join_weights(genome.params, active)
        after, left = cell_step(weights, active, carry, drive_of(genome.params, active, inputs))
        return carry, after, left.hidden

    with jax.enable_x64(dtype == "float64"):
        before, after, hidden = jax.eval_shape(step, make_genome(bounds, **chosen), make_inputs()[0])
    assert hidden.dtype == dtype
    assert jax.tree.structure(after) == jax.tree.structure(before)
    shapes = zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True)
    assert all((own.shape, own.dtype) == (start.shape, start.dtype) for own, start in shapes)


@every_pair
def test_a_genome_has_the_arrays_of_the_table(controller, memory):
    bounds = space_of(controller, memory)
    key = jax.eval_shape(lambda: jax.random.key(0))
    genome = jax.eval_shape(lambda key: random_genome(key, bounds, INPUT_SIZE, OUTPUT_SIZE), key)
    sizes = bounds.axis_sizes(INPUT_SIZE, OUTPUT_SIZE)
    shapes = jax.tree.map(lambda parameter: tuple(sizes[axis] for axis in parameter.axes), table_of(bounds.spec))
    assert {
        block: {name: array.shape for name, array in part.items()} for block, part in genome.params.items()
    } == shapes


@every_pair
@pytest.mark.parametrize("addressing", [("content",), TINY.addressing])
def test_it_grows_and_changes_buckets_at_the_shapes_of_its_space(controller, memory, addressing):
    """With content addressing only too, where the axes of what moves a head have no entry."""
    bounds = space_of(controller, memory, addressing=addressing)
    smaller = bounds.up_to(num_slots=5, slot_width=2, num_read_heads=1, controller_size=4)
    genome = make_genome(bounds, **architecture_of(controller, memory))
    larger = architecture_from(architecture_of(controller, memory, controller_size=5))
    grown = jax.eval_shape(functools.partial(resize, bounds=bounds), jax.random.key(0), genome, larger)
    cropped = jax.eval_shape(functools.partial(crop, bucket=smaller), genome)
    again = jax.eval_shape(functools.partial(uncrop, bounds=bounds), cropped)
    for found, expected in ((grown, genome), (cropped, make_genome(smaller)), (again, genome)):
        assert jax.tree.map(jnp.shape, found.params) == jax.tree.map(jnp.shape, expected.params)


def kernel_weights(genome, bounds):
    """Weights that a step multiplies by: those of kernels that exist."""
    mask = mask_of(genome, bounds)
    return sum(int(np.sum(leaf)) for part in mask.values() for name, leaf in part.items() if name.endswith("kernel"))


@every_pair
def test_a_step_costs_at_least_a_multiply_add_a_weight_and_more_in_a_larger_network(controller, memory):
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)

    def cost(**changes):
        architecture = architecture_from({**chosen, **changes})
        return float(multiply_adds(architecture, INPUT_SIZE, OUTPUT_SIZE, bounds.attention_width))

    assert cost() >= kernel_weights(make_genome(bounds, **chosen), bounds)
    sizes = {"num_slots": 7, "slot_width": 4, "num_read_heads": 3, "num_write_heads": 2}
    for gene, larger in sizes.items():
        assert cost(**{gene: larger}) > cost() or memory == "none", gene
    assert cost(controller_size=5) > cost()
    assert bounds.least_multiply_adds(3, 2) < cost() < bounds.padded_multiply_adds(3, 2)
    dearest = multiply_adds(bounds.largest(), 3, 2, bounds.attention_width)
    assert bounds.padded_multiply_adds(3, 2) == pytest.approx(float(dearest))


@compiled_pairs
def test_a_network_comes_back_from_a_folder_and_at_padded_shape(controller, memory, tmp_path):
    bounds, chosen = space_of(controller, memory), architecture_of(controller, memory)
    genome = put_where_absent(make_genome(bounds, 2, **chosen), bounds, chosen, 0.0)
    network = compact(genome, bounds)
    assert_trees_equal(network.cell.arrays()[0], exact_params(genome.params, bounds, chosen))
    save_network(network, tmp_path)
    loaded = load_network(tmp_path)
    assert loaded.architecture == chosen
    assert_trees_equal(pad(loaded, bounds).params, genome.params)
    params, active = loaded.cell.arrays()
    outputs = jax.eval_shape(cell_unroll, params, active, make_inputs()).outputs
    assert outputs.shape == (len(make_inputs()), OUTPUT_SIZE)


@pytest.mark.parametrize("kind", [*CONTROLLERS.values(), *MEMORIES.values()], ids=lambda kind: kind.name)
def test_arrays_of_a_kind_lie_on_axes_that_networks_have(kind):
    known = TINY.axis_sizes(INPUT_SIZE, OUTPUT_SIZE).keys()
    for name, parameter in kind.parameters.items():
        assert set(parameter.axes) <= known, name
        assert all(position < len(parameter.axes) for position in parameter.closed_axes), name
        if kind.name in MEMORIES:  # a field that the controller emits
            field, part = name.rsplit("_", 1)
            assert part in ("kernel", "bias")
            assert kind.parameters[f"{field}_kernel"].axes == ("unit", *kind.parameters[f"{field}_bias"].axes)


def test_no_kind_takes_the_name_of_another_kind_block_or_axis():
    kinds = [*CONTROLLERS.values(), *MEMORIES.values()]
    names = [kind.name for kind in kinds]
    assert len(set(names)) == len(names)
    assert not set(names) & {"controller", "heads", "write", "ponder", "output"}
    own = [axis for kind in kinds for axis in kind.constant_axes]
    assert len(set(own)) == len(own)
    assert not set(own) & {field.name for field in dataclasses.fields(Active)}


def test_indices_of_kinds_stay_as_saved_genomes_have_them():
    assert list(CONTROLLERS)[:5] == ["lstm", "gru", "rnn", "feedforward", "window"]
    assert list(MEMORIES)[:5] == ["none", "tape", "hard_tape", "ntm", "dnc"]
