import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    INPUT_SIZE,
    LARGER,
    OUTPUT_SIZE,
    TINY,
    assert_trees_close,
    assert_trees_equal,
    exact_bounds,
    exact_params,
    forward,
    genes,
    make_genome,
    make_inputs,
    padded_like,
    put_where_absent,
    unchecked_types,
)

from etm_jax.networks import Bounds, compact, describe, mask_of, num_parameters, pad, random_genome
from etm_jax.networks.genome._genes import ADDRESSING, GENES, architecture_from, multiply_adds

# Architectures that differ from one another, and from the padded sizes, in every gene.
ARCHITECTURES = [
    genes(),
    genes(num_slots=5, slot_width=2, num_read_heads=2, num_write_heads=2, controller_size=2, shift_range=2),
    genes(num_slots=7, slot_width=4, num_read_heads=2, controller_size=5, addressing="content"),
]


def stacked(*architectures):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(architecture_from(chosen) for chosen in architectures))


# bounds


@pytest.mark.parametrize("name", ["slot_width", "num_read_heads", "num_write_heads", "controller_size", "shift_range"])
@pytest.mark.parametrize("value", [(0, 4), (5, 4), (1, 2, 3), (1.0, 4), (-1, 1)], ids=str)
def test_a_range_that_is_not_two_whole_numbers_in_order_is_refused(name, value):
    with unchecked_types(), pytest.raises(ValueError, match=f"{name} must be two whole numbers with 1 <= low <= high"):
        Bounds(**{name: value})


@pytest.mark.parametrize(("shift_range", "needed"), [((1, 1), 3), ((1, 3), 7)])
def test_a_memory_too_short_for_the_shifts_is_refused_and_the_way_out_is_told(shift_range, needed):
    with pytest.raises(ValueError, match=rf"got \({needed - 1}, 16\).*raise the lower bound to {needed}$"):
        Bounds(num_slots=(needed - 1, 16), shift_range=shift_range)
    assert Bounds(num_slots=(needed, 16), shift_range=shift_range).num_slots == (needed, 16)


@pytest.mark.parametrize("addressing", [(), ("location",), ("content", "content")], ids=str)
def test_an_unknown_empty_or_repeated_addressing_is_refused(addressing):
    with pytest.raises(ValueError, match="addressing must list some of"):
        Bounds(addressing=addressing)


def test_bounds_are_hashable_and_equal_by_value():
    assert {Bounds(num_slots=(8, 16)): 1}[Bounds(num_slots=(8, 16))] == 1
    assert Bounds(num_slots=(8, 16)) != Bounds(num_slots=(8, 17))


def test_padded_sizes_are_the_upper_ends():
    expected = {"input": 3, "output": 2, "unit": 5, "slot": 7, "width": 4, "read": 2, "write": 2, "head": 4}
    expected |= {"gate": 4, "input_gate": 4, "unit_gate": 4, "recurrence": 1, "pondering": 0}
    expected |= {"window": 3, "layer": 2, "attention_head": 2, "key": 3, "direction": 2, "move": 3, "expansion": 4}
    assert TINY.axis_sizes(3, 2) == {**expected, "gating": 1, "location": 6}  # sharpening, shifts -2..2
    content = Bounds(addressing=("content",)).axis_sizes(3, 2)
    assert (content["gating"], content["location"]) == (0, 0)


# architectures


@pytest.mark.parametrize("chosen", ARCHITECTURES, ids=str)
def test_an_architecture_survives_being_described(chosen):
    assert describe(architecture_from(chosen)) == chosen
    assert list(describe(architecture_from(chosen))) == list(GENES)


@pytest.mark.parametrize(
    "wrong", [{"num_slots": None}, {"colour": 3}, {"addressing": "by smell"}], ids=["missing", "unknown", "addressing"]
)
def test_genes_that_are_missing_or_unknown_are_refused(wrong):
    chosen = {name: value for name, value in {**genes(), **wrong}.items() if value is not None}
    with pytest.raises(ValueError, match=r"an architecture needs exactly the genes|addressing must be one of"):
        architecture_from(chosen)


def test_random_genes_take_every_value_of_their_range_and_no_other():
    draw = jax.jit(jax.vmap(lambda key: TINY.random_architecture(key)))
    drawn = draw(jax.random.split(jax.random.key(0), 300))
    for name, (low, high) in TINY.ranges.items():
        values, counts = np.unique(np.asarray(getattr(drawn, name)), return_counts=True)
        np.testing.assert_array_equal(values, np.arange(low, high + 1), err_msg=name)
        assert counts.min() > 0.6 * 300 / len(values), name
    kinds, counts = np.unique(np.asarray(drawn.addressing), return_counts=True)
    assert list(kinds) == [0, 1]
    assert counts.min() > 100
    pairs = np.corrcoef(np.stack([drawn.num_slots, drawn.slot_width, drawn.controller_size]))
    assert np.abs(pairs - np.eye(3)).max() < 0.2  # each gene has a key of its own


@pytest.mark.parametrize("kind", ADDRESSING)
def test_bounds_of_one_addressing_draw_just_that_one(kind):
    bounds = Bounds(addressing=(kind,))
    drawn = [describe(bounds.random_architecture(jax.random.key(seed)))["addressing"] for seed in range(4)]
    assert drawn == [kind] * 4


@pytest.mark.parametrize("addressing", [ADDRESSING, ADDRESSING[::-1]])
def test_the_smallest_and_the_largest_architecture_stand_at_the_ends_of_the_bounds(addressing):
    bounds = Bounds(num_slots=(5, 7), controller_size=(2, 9), addressing=addressing)
    small, large = describe(bounds.smallest()), describe(bounds.largest())
    assert (small["num_slots"], small["controller_size"], small["addressing"]) == (5, 2, "content")
    assert (large["num_slots"], large["controller_size"], large["addressing"]) == (7, 9, "content_and_location")


# fresh weights

WIDE = Bounds(num_slots=(8, 16), slot_width=(4, 40), controller_size=(4, 60), num_read_heads=(1, 3))


@pytest.fixture(scope="module")
def fresh():
    """Jitted: a genome of WIDE with 7 inputs and 5 outputs, from a key and an architecture."""
    return jax.jit(lambda key, architecture: random_genome(key, WIDE, 7, 5, architecture))


SMALL_ONE = genes(num_slots=8, slot_width=20, num_read_heads=2, num_write_heads=3, controller_size=30)
LARGE_ONE = genes(num_slots=16, slot_width=40, num_read_heads=3, num_write_heads=3, controller_size=60)


def fan_ins(chosen):
    """How many numbers feed one target of each kernel, with 7 inputs."""
    units, read = chosen["controller_size"], chosen["num_read_heads"] * chosen["slot_width"]
    return {"controller": 7 + read + units, "heads": units, "write": units, "output": units + read}


@pytest.mark.parametrize("chosen", [SMALL_ONE, LARGE_ONE], ids=["small", "large"])
def test_fresh_kernels_are_uniform_with_variance_one_over_the_real_fan_in(fresh, chosen):
    genome = fresh(jax.random.key(0), architecture_from(chosen))
    for block, fan_in in fan_ins(chosen).items():
        kernels = {name: np.asarray(array) for name, array in genome.params[block].items() if "kernel" in name}
        live = np.concatenate([kernel[kernel != 0] for kernel in kernels.values()])
        limit = np.sqrt(3 / fan_in)
        assert 0.97 * limit < np.abs(live).max() <= 1.00001 * limit, block
        np.testing.assert_allclose(live.var() * fan_in, 1, rtol=0.15, err_msg=block)
        assert abs(live.mean()) < 0.1 * limit, block


def test_fresh_biases_are_zero_but_for_an_open_forget_gate_and_heads_that_sharpen(fresh):
    params = fresh(jax.random.key(0), architecture_from(SMALL_ONE)).params
    expected = np.zeros((4, 60))
    expected[1, :30] = 1
    np.testing.assert_array_equal(params["controller"]["bias"], expected)
    location = np.asarray(params["heads"]["location_bias"])
    sharpening = np.zeros_like(location)
    sharpening[[0, 1, 3, 4, 5], 0] = 2  # two of three reads, then three writes; field 0 is the sharpening
    np.testing.assert_array_equal(location, sharpening)
    names = [("heads", "key"), ("heads", "strength"), ("write", "erase"), ("write", "add")]
    others = [params[block][f"{name}_bias"] for block, name in names]
    assert not any(np.any(array) for array in [*others, params["output"]["bias"]])


def test_fresh_weights_that_do_not_exist_are_zero_and_those_that_do_are_not(fresh):
    genome = fresh(jax.random.key(0), architecture_from(SMALL_ONE))
    mask = mask_of(genome, WIDE)
    for block in genome.params:
        for name in [name for name in genome.params[block] if "kernel" in name]:
            np.testing.assert_array_equal(genome.params[block][name] != 0, mask[block][name], err_msg=name)


def test_a_weight_drawn_for_another_architecture_differs_by_the_scale_only(fresh):
    small, large = (fresh(jax.random.key(3), architecture_from(chosen)).params for chosen in (SMALL_ONE, LARGE_ONE))
    for block, fan_in in fan_ins(SMALL_ONE).items():
        scale = np.sqrt(fan_in / fan_ins(LARGE_ONE)[block])
        for name in [name for name in small[block] if "kernel" in name]:
            overlap = np.asarray(small[block][name]) != 0
            expected = scale * np.asarray(small[block][name])[overlap]
            np.testing.assert_allclose(np.asarray(large[block][name])[overlap], expected, rtol=1e-5, err_msg=name)


def test_no_two_arrays_share_their_draws(fresh):
    params = fresh(jax.random.key(0), architecture_from(LARGE_ONE)).params
    unit = [
        np.asarray(array).ravel()[:40] for block in params.values() for name, array in block.items() if "kernel" in name
    ]
    unit = [array / np.linalg.norm(array) for array in unit]
    alike = np.abs(np.stack(unit) @ np.stack(unit).T - np.eye(len(unit)))
    assert alike.max() < 0.8


@pytest.mark.parametrize("sizes", [(0, 2), (3, 0)])
def test_a_network_without_inputs_or_outputs_is_refused(sizes):
    with pytest.raises(ValueError, match=f"must be at least 1, got {sizes[0]} and {sizes[1]}"):
        random_genome(jax.random.key(0), TINY, *sizes)


def test_random_genomes_have_the_architecture_that_their_weights_are_made_for():
    def make(key):
        genome = random_genome(key, TINY, INPUT_SIZE, OUTPUT_SIZE)
        return genome, mask_of(genome, TINY)

    population, mask = jax.jit(jax.vmap(make))(jax.random.split(jax.random.key(1), 4))
    np.testing.assert_array_equal(
        population.params["controller"]["input_kernel"] != 0, mask["controller"]["input_kernel"]
    )
    sizes = np.sum(np.asarray(mask["controller"]["bias"][:, 0]), axis=-1)
    np.testing.assert_array_equal(sizes, population.architecture.controller_size)


# masks and costs


def weights_by_hand(chosen):
    """Weights of a network: LSTM, interface (R(W+3+shifts) + Wh(3W+3+shifts) fields) and output."""
    units, width = chosen["controller_size"], chosen["slot_width"]
    reads, writes = chosen["num_read_heads"], chosen["num_write_heads"]
    located = chosen["addressing"] == "content_and_location"
    fields = 1 + (2 + 2 * chosen["shift_range"] + 1 if located else 0)  # strength, then gate, sharpening, shifts
    interface = reads * (width + fields) + writes * (3 * width + fields)
    controller = 4 * units * (INPUT_SIZE + reads * width + units + 1)
    return controller + interface * (units + 1) + OUTPUT_SIZE * (units + reads * width + 1)


@pytest.mark.parametrize("chosen", ARCHITECTURES, ids=str)
@pytest.mark.parametrize("bounds", [TINY, LARGER], ids=["tiny", "larger"])
def test_the_mask_counts_the_weights_of_the_architecture_whatever_the_padding(chosen, bounds):
    genome = make_genome(bounds, **chosen)
    mask = mask_of(genome, bounds)
    assert sum(int(np.sum(leaf)) for leaf in jax.tree.leaves(mask)) == weights_by_hand(chosen)
    assert int(num_parameters(genome, bounds)) == weights_by_hand(chosen)


@pytest.mark.parametrize("chosen", ARCHITECTURES, ids=str)
def test_the_mask_stands_where_the_weights_of_the_architecture_are(chosen):
    genome = make_genome(LARGER, **chosen)
    marked = put_where_absent(genome, LARGER, chosen, np.nan)
    expected = jax.tree.map(lambda array: ~np.isnan(array), marked.params)
    assert_trees_equal(mask_of(genome, LARGER), expected)


def test_multiply_adds_worked_by_hand():
    chosen = genes(num_slots=5, slot_width=2, num_read_heads=1, num_write_heads=1, controller_size=3)
    # controller 4*3*(3 + 2 + 3) = 96, interface 3*(2*(2 + 1 + 5) + 4) = 60, addressing 2*5*(2 + 3 + 4) + 10 = 100,
    # writing and reading 4*10 = 40, output 2*(3 + 2) = 10
    assert float(multiply_adds(architecture_from(chosen), 3, 2)) == 306
    # content only: 2*5 fields fewer in the interface (30), 3 shifts fewer in addressing (30)
    content = architecture_from({**chosen, "addressing": "content"})
    assert float(multiply_adds(content, 3, 2)) == 246


def test_efficiency_is_1_for_the_cheapest_and_0_for_the_dearest_architecture():
    assert float(TINY.efficiency(TINY.smallest(), 3, 2)) == 1
    assert float(TINY.efficiency(TINY.largest(), 3, 2)) == 0
    assert 0 < float(TINY.efficiency(architecture_from(genes()), 3, 2)) < 1
    alone = exact_bounds(genes())
    assert float(alone.efficiency(alone.smallest(), 3, 2)) == 1


def test_padding_efficiency_is_the_useful_share_of_the_work_done():
    population = stacked(describe(TINY.largest()), describe(TINY.smallest()))
    costs = [float(multiply_adds(end(TINY), 3, 2)) for end in (Bounds.smallest, Bounds.largest)]
    expected = (costs[0] + costs[1]) / (2 * costs[1])
    np.testing.assert_allclose(TINY.padding_efficiency(population, 3, 2), expected, rtol=1e-6)


def test_diversity_is_the_mean_distance_of_two_members_per_gene_that_can_vary():
    bounds = Bounds(num_slots=(5, 7), slot_width=(2, 2), controller_size=(2, 6), addressing=("content",))
    bounds = Bounds(**{**vars(bounds), "num_read_heads": (1, 1), "num_write_heads": (1, 1)})
    chosen = {**genes(slot_width=2, addressing="content"), "controller_size": 2}
    low, high = {**chosen, "num_slots": 5}, {**chosen, "num_slots": 7, "controller_size": 4}
    # slots differ by all of their range, units by half: 0.75 a gene; of three pairs, one is of twins
    np.testing.assert_allclose(bounds.diversity(stacked(low, high)), 0.75)
    np.testing.assert_allclose(bounds.diversity(stacked(low, high, high)), 0.5)
    assert float(bounds.diversity(stacked(low))) == 0


# compact and pad


@pytest.fixture(scope="module")
def compacted():
    """Genomes of TINY with garbage in the weights that do not exist, and their compact networks."""
    genomes = [put_where_absent(make_genome(TINY, 5, **chosen), TINY, chosen, np.nan) for chosen in ARCHITECTURES[1:]]
    return [(chosen, each, compact(each, TINY)) for chosen, each in zip(ARCHITECTURES[1:], genomes, strict=True)]


def test_a_compact_network_holds_exactly_the_weights_and_sizes_that_exist(compacted):
    for chosen, genome, module in compacted:
        params, active = module.cell.arrays()
        assert_trees_equal(params, exact_params(genome.params, TINY, chosen))
        axes = (active.unit, active.slot, active.width, active.head, active.location, active.gating, active.ponder)
        assert all(np.all(mask) for mask in axes)
        assert active.slot.size == chosen["num_slots"]
        assert module.architecture == chosen


def test_padding_a_compact_network_gives_the_genome_back_with_zeros_where_nothing_exists(compacted):
    for chosen, genome, module in compacted:
        padded = pad(module, TINY)
        assert_trees_equal(padded.params, put_where_absent(genome, TINY, chosen, 0.0).params)
        assert describe(padded.architecture) == chosen


def test_a_network_padded_into_larger_bounds_computes_the_same(compacted, native):
    for chosen, genome, module in compacted:
        grown = pad(module, LARGER)
        exact = exact_params(genome.params, TINY, chosen)
        assert_trees_equal(grown.params, padded_like(make_genome(LARGER).params, exact, LARGER, chosen, 0.0))
        outputs = forward(TINY, native)(genome, make_inputs())[0]
        assert_trees_close(forward(LARGER, native)(grown, make_inputs())[0], outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("narrow", "told"),
    [
        ({"num_slots": (6, 9)}, r"num_slots=5 lies outside the bounds \(6, 9\); widen"),
        ({"num_write_heads": (1, 1)}, r"num_write_heads=2 lies outside the bounds \(1, 1\); widen"),
        ({"addressing": ("content",)}, "addressing='content_and_location' is not among .*; add it to the bounds"),
    ],
    ids=["too few slots", "too many heads", "addressing"],
)
def test_a_network_outside_the_bounds_is_refused(compacted, narrow, told):
    with pytest.raises(ValueError, match=told):
        pad(compacted[0][2], Bounds(**{**vars(TINY), **narrow}))


def test_a_population_cannot_be_compacted_as_a_whole():
    population = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), make_genome(TINY))
    with pytest.raises(ValueError, match="compact takes one genome, got a population; pick one"):
        compact(population, TINY)


def test_a_space_has_the_functions_of_genomes_as_methods(fresh):
    genome = make_genome(TINY, 5, **ARCHITECTURES[1])
    network, inputs = compact(genome, TINY), make_inputs()
    assert_trees_equal(TINY.mask(genome), mask_of(genome, TINY))
    assert_trees_equal(TINY.compact(genome).cell.arrays()[0], network.cell.arrays()[0])
    assert_trees_equal(TINY.pad(network), pad(network, TINY))
    assert_trees_equal(jax.jit(TINY.apply)(genome, inputs), forward(TINY)(genome, inputs).outputs)
    drawn = jax.jit(lambda key: WIDE.init(key, 7, 5))(jax.random.key(0))
    assert_trees_equal(drawn, fresh(jax.random.key(0), drawn.architecture))
