"""The native kernel against XLA, which is the reference."""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_cells
import pytest
from helpers import (
    INPUT_SIZE,
    NUM_STEPS,
    OUTPUT_SIZE,
    all_finite,
    assert_trees_equal,
    exact_params,
    genes,
    genes_within,
    make_genome,
    padded_like,
    put_where_absent,
    to_numpy,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from tiny import BOUNDS, SUITE, compiled_init

from etm_jax.cells import CONTROLLERS, MEMORIES, CellSpec
from etm_jax.models._model import member
from etm_jax.networks import Bounds, Genome, LifetimeConfig, random_genome, unroll
from etm_jax.networks._batches import over_population
from etm_jax.networks.genome._genes import architecture_from
from etm_jax.networks.genome._genome import mask_of
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.networks.native import _call, library, why_not
from etm_jax.networks.native._layout import (
    ARRAYS,
    GENES,
    SERVED_CONTROLLERS,
    SERVED_MEMORIES,
    layout_for,
    layout_of,
    passes_of,
)
from etm_jax.parallel import device_mesh

BATCH_SIZE = 21  # a block of 16 and one of 5
OUTPUTS, GRADIENTS = 1e-5, 1e-4  # tolerances: of outputs of order 1, and relative to the norm of the gradient
# More heads than the kernel has forms for, and kinds in another order than in the registry.
SPACE = Bounds(
    num_slots=(7, 12),
    slot_width=(1, 5),
    num_read_heads=(1, 9),
    num_write_heads=(1, 5),
    controller_size=(2, 9),
    shift_range=(1, 3),
    controllers=("gru", "lstm", "feedforward", "rnn"),
    memories=("ntm", "none", "tape"),
)
# Spaces in which some of the arrays do not exist, or have no entries.
SPARE = {
    "LSTM and NTM": Bounds((5, 9), (2, 4), (1, 2), (1, 2), (3, 6)),
    "content only": Bounds((3, 9), (2, 4), (1, 2), (1, 2), (3, 6), addressing=("content",)),
    "GRU and tape": Bounds((5, 9), (2, 4), (1, 2), (1, 2), (3, 6), controllers=("gru",), memories=("tape",)),
    "feed-forward": Bounds((5, 9), (2, 4), (1, 2), (1, 2), (3, 6), controllers=("feedforward",)),
    "no memory": Bounds((5, 9), (2, 4), (1, 2), (1, 2), (3, 6), controllers=("rnn", "gru"), memories=("none",)),
}


def batch(seed=0, size=BATCH_SIZE):
    return np.random.default_rng(seed).normal(size=(size, NUM_STEPS, INPUT_SIZE)).astype(np.float32)


def probe(size=BATCH_SIZE):
    """Fixed coefficients of outputs, 0 beyond the first `size` sequences of the batch."""
    coefficients = np.cos(np.arange(BATCH_SIZE * NUM_STEPS * OUTPUT_SIZE)).astype(np.float32)
    coefficients = coefficients.reshape(BATCH_SIZE, NUM_STEPS, OUTPUT_SIZE)
    return np.where(np.arange(BATCH_SIZE)[:, None, None] < size, coefficients, 0)


@functools.cache
def run(bounds, native, rematerialise=False):
    """Jitted: outputs, weightings, price, and the gradients of probed outputs by params and by inputs."""

    def probed(params, inputs, architecture, probe):
        genome = Genome(architecture=architecture, params=params)
        found = unroll(genome, inputs, bounds, native=native, rematerialise=rematerialise)
        return jnp.sum(found.outputs * probe), found

    differentiate = jax.value_and_grad(probed, argnums=(0, 1), has_aux=True)

    @jax.jit
    def both(genome, inputs, probe):
        (_, found), gradients = differentiate(genome.params, inputs, genome.architecture, probe)
        return found, gradients

    return both


def flat(tree):
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def assert_same(found, expected):
    """Outputs, weightings, price and gradients within the tolerances, every array of the gradients too."""
    (unrolled, gradients), (other, expected_gradients) = found, expected
    for name in unrolled._fields:
        np.testing.assert_allclose(getattr(unrolled, name), getattr(other, name), atol=OUTPUTS, rtol=OUTPUTS)
    scale = np.linalg.norm(flat(expected_gradients))
    assert np.linalg.norm(flat(gradients) - flat(expected_gradients)) <= GRADIENTS * scale
    pairs = zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(expected_gradients), strict=True)
    for (path, own), wanted in pairs:
        distance = np.linalg.norm(flat(own) - flat(wanted))
        where = jax.tree_util.keystr(path)
        assert distance <= GRADIENTS * (10 * np.linalg.norm(flat(wanted)) + 0.1 * scale), where


# Every controller with every memory, and different numbers of heads.
CASES = [
    *(
        genes(num_slots=7, num_read_heads=2, controller=controller, memory=memory)
        for controller in SERVED_CONTROLLERS
        for memory in SERVED_MEMORIES
    ),
    genes(num_slots=12, num_read_heads=9, num_write_heads=5, shift_range=3, slot_width=5, controller_size=9),
    genes(num_slots=8, num_read_heads=4, num_write_heads=3, slot_width=1),
    genes(num_slots=7, num_read_heads=1, num_write_heads=4, addressing="content"),
]


def name_of(chosen):
    return f"{chosen['controller']}-{chosen['memory']}-{chosen['num_read_heads']}-{chosen['num_write_heads']}"


# 1. the same results


@given(chosen=genes_within(SPACE), seed=st.integers(0, 999))
def test_any_architecture_computes_what_xla_computes(kernel, chosen, seed):
    genome, inputs = make_genome(SPACE, seed, **chosen), batch(seed)
    assert_same(run(SPACE, True)(genome, inputs, probe()), run(SPACE, False)(genome, inputs, probe()))


@pytest.mark.parametrize("chosen", CASES, ids=name_of)
def test_every_kind_computes_what_xla_computes(kernel, chosen):
    genome, inputs = make_genome(SPACE, 1, **chosen), batch()
    assert_same(run(SPACE, True)(genome, inputs, probe()), run(SPACE, False)(genome, inputs, probe()))


@pytest.mark.parametrize("space", SPARE)
def test_spaces_without_some_of_the_arrays(kernel, space):
    bounds = SPARE[space]
    kinds = {"controller": bounds.controllers[-1], "memory": bounds.memories[0], "addressing": bounds.addressing[0]}
    genome, inputs = make_genome(bounds, 2, **genes(**kinds)), batch()
    assert_same(run(bounds, True)(genome, inputs, probe()), run(bounds, False)(genome, inputs, probe()))


@given(chosen=genes_within(SPACE), seed=st.integers(0, 999))
def test_any_architecture_computes_what_a_plain_network_does_in_float64(kernel, chosen, seed):
    assume(oracle_cells.knows(chosen))
    genome, inputs = make_genome(SPACE, seed, **chosen), batch(seed)
    found, _ = run(SPACE, True)(genome, inputs, probe())
    exact = to_numpy(exact_params(genome.params, SPACE, chosen))
    for sequence in (0, BATCH_SIZE - 1):
        logits, _, _ = oracle_cells.run(exact, np.asarray(inputs[sequence], np.float64), chosen)
        np.testing.assert_allclose(found.outputs[sequence], logits, atol=OUTPUTS, rtol=OUTPUTS)


def test_gradients_are_as_near_to_float64_as_those_of_xla(kernel):
    bounds = SPARE["LSTM and NTM"]
    chosen = genes(num_slots=9, num_read_heads=2, num_write_heads=2)
    genome, inputs = make_genome(bounds, 3, **chosen), batch()
    single = [flat(run(bounds, native)(genome, inputs, probe())[1]) for native in (True, False)]
    with jax.enable_x64(True):
        wide = genome.replace(params=jax.tree.map(jax.device_put, to_numpy(genome.params)))
        _, gradients = run(bounds, False)(wide, inputs.astype(np.float64), probe().astype(np.float64))
        exact = flat(gradients)
    native, xla = (np.linalg.norm(found - exact) / np.linalg.norm(exact) for found in single)
    assert native <= max(2 * xla, 1e-6)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 17])
def test_batches_of_any_size(kernel, size):
    """A sequence's results do not depend on how many there are beside it."""
    genome, inputs = make_genome(SPACE, 4, **genes(num_slots=7)), batch()
    whole, (by_params, by_inputs) = run(SPACE, True)(genome, inputs, probe(size))
    part, (part_by_params, part_by_inputs) = run(SPACE, True)(genome, inputs[:size], probe()[:size])
    np.testing.assert_allclose(part.outputs, whole.outputs[:size], atol=1e-6)
    np.testing.assert_allclose(part_by_inputs, by_inputs[:size], atol=1e-6)
    np.testing.assert_allclose(flat(part_by_params), flat(by_params), atol=1e-5)


@pytest.mark.parametrize("chosen", CASES[::4], ids=name_of)
def test_steps_that_run_again_change_nothing(kernel, chosen):
    """9 steps are 3 segments of 3; 10 end with a segment of one."""
    genome = make_genome(SPACE, 5, **chosen)
    for num_steps in (NUM_STEPS, NUM_STEPS + 1):
        inputs = np.random.default_rng(6).normal(size=(10, num_steps, INPUT_SIZE)).astype(np.float32)
        coefficients = np.ones((10, num_steps, OUTPUT_SIZE), np.float32)
        kept, again = (run(SPACE, True, rematerialise)(genome, inputs, coefficients) for rematerialise in (False, True))
        assert_trees_equal(kept[0], again[0])
        np.testing.assert_allclose(flat(kept[1]), flat(again[1]), rtol=1e-5, atol=1e-5)


def test_long_sequences_keep_few_states(kernel):
    """1,000 steps of 1,024 slots would be 4 GiB otherwise."""
    sizes = Bounds((3, 1024), (1, 64), controller_size=(1, 100)).axis_sizes(INPUT_SIZE, OUTPUT_SIZE)
    short, long = (passes_of(layout_of(library().functions, CellSpec(), sizes), 16, steps) for steps in (4, 1000))
    assert (short.segment, long.segment) == (4, 31)
    assert 4 * long.kept < 2**28


def test_a_backward_pass_takes_the_traces_of_its_own_forward_pass(kernel):
    """More forward passes than traces are kept, each of other inputs; then their backward passes, each twice."""
    genome, inputs = make_genome(SPACE, 6, **genes(num_slots=7)), jnp.asarray(batch())

    @jax.jit
    def passes(genome, scale):
        def outputs(params):
            return unroll(genome.replace(params=params), scale * inputs, SPACE, native=True).outputs

        return jax.vjp(outputs, genome.params)

    pulled = jax.jit(lambda back, cotangent: back(cotangent))
    scales = [1.0 + index for index in range(4 * (os.cpu_count() or 1))]
    expected = []
    for scale in scales:  # at once, so that no other forward pass lies between
        found, back = passes(genome, scale)
        expected.append(pulled(back, found))
    assert not np.array_equal(flat(expected[0]), flat(expected[1]))
    kept = [passes(genome, scale) for scale in scales]
    for _ in range(2):
        for (found, back), gradients in zip(kept, expected, strict=True):
            assert_trees_equal(pulled(back, found), gradients)


def test_individuals_side_by_side_and_sequences_without_a_batch(kernel):
    chosen = [genes(num_slots=7, controller=kind) for kind in ("lstm", "gru")]
    pair = [make_genome(SPACE, seed, **own) for seed, own in enumerate(chosen)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)
    inputs = jnp.asarray(batch(size=3))
    together = jax.jit(jax.vmap(lambda genome: unroll(genome, inputs, SPACE, native=True).outputs))(population)
    for genome, outputs in zip(pair, together, strict=True):
        one = jax.jit(lambda genome: unroll(genome, inputs[0], SPACE, native=True).outputs)(genome)
        np.testing.assert_allclose(one, outputs[0], atol=1e-6)


# 2. padding is inert


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_garbage_in_weights_that_do_not_exist_changes_nothing(kernel, garbage):
    for chosen in CASES:
        genome = make_genome(SPACE, 7, **chosen)
        clean, spoilt = (put_where_absent(genome, SPACE, chosen, value) for value in (0.0, garbage))
        found = run(SPACE, True)(spoilt, batch(), probe())
        assert_trees_equal(found, run(SPACE, True)(clean, batch(), probe()))
        by_params = found[1][0]
        exact = exact_params(by_params, SPACE, chosen)
        assert all_finite(exact)
        assert_trees_equal(by_params, padded_like(by_params, exact, SPACE, chosen, 0.0))  # 0 in padding


def test_nan_in_a_weight_comes_out(kernel):
    """A failed network must be seen to fail."""
    chosen = genes(num_slots=7)
    genome = make_genome(SPACE, 8, **chosen)
    for block, name in ARRAYS:
        exact = exact_params(genome.params, SPACE, chosen)
        if exact.get(block, {}).get(name) is None or not exact[block][name].size:
            continue
        exact[block][name] = np.full_like(exact[block][name], np.nan)
        spoilt = genome.replace(params=padded_like(genome.params, exact, SPACE, chosen, 0.0))
        found, _ = run(SPACE, True)(spoilt, batch(), probe())
        assert np.isnan(found.outputs).any(), (block, name)


def test_nan_in_one_sequence_stays_there(kernel):
    genome, inputs = make_genome(SPACE, 9, **genes(num_slots=7)), batch()
    spoilt = inputs.copy()
    spoilt[4] = np.nan
    clean, found = (run(SPACE, True)(genome, own, probe())[0].outputs for own in (inputs, spoilt))
    others = np.arange(BATCH_SIZE) != 4
    np.testing.assert_array_equal(clean[others], found[others])
    assert np.isnan(found[4]).all()


# 3. bad input


@pytest.mark.parametrize("gene", GENES)
def test_a_gene_out_of_range_is_an_error(kernel, gene):
    genome = make_genome(SPACE, 10, **genes(num_slots=7))
    for value in (-(2**31), -1, 100, 2**31 - 1) + ((0,) if gene not in ("addressing", "controller", "memory") else ()):
        architecture = genome.architecture.replace(**{gene: jnp.int32(value)})
        with pytest.raises(jax.errors.JaxRuntimeError, match=gene):
            jax.block_until_ready(run(SPACE, True)(genome.replace(architecture=architecture), batch(), probe()))


def test_what_is_not_served_says_why():
    assert "window" in why_not(CellSpec(controllers=("window",)))
    assert "dnc" in why_not(CellSpec(memories=("dnc",)))
    assert "pondering" in why_not(CellSpec(ponder_steps=2))
    assert "bfloat16" in why_not(CellSpec(), jnp.bfloat16)


MIXED = dataclasses.replace(
    SPARE["LSTM and NTM"], controllers=("lstm", "window"), memories=("ntm", "dnc", "hard_tape", "tape")
)
KINDS = [("lstm", "tape"), ("lstm", "dnc"), ("window", "ntm")]


@pytest.mark.parametrize(("controller", "memory"), KINDS)
def test_individuals_that_are_not_served_run_by_xla(kernel, controller, memory):
    genome = make_genome(MIXED, 13, **genes(num_slots=7, controller=controller, memory=memory))
    assert_same(run(MIXED, True)(genome, batch(), probe()), run(MIXED, False)(genome, batch(), probe()))


def test_what_is_not_served_runs_by_xla(kernel):
    bounds = SPARE["LSTM and NTM"]
    with jax.enable_x64(True):
        genome, inputs = make_genome(bounds, 0, **genes()), jnp.asarray(batch(size=2))
        outputs = [
            jax.jit(lambda genome, native=native: unroll(genome, inputs, bounds, native=native).outputs)(genome)
            for native in (True, False)
        ]
    np.testing.assert_array_equal(*outputs)
    assert outputs[0].dtype == np.float64


def test_kinds_have_the_places_that_the_kernel_expects():
    places = {name: list(CONTROLLERS).index(name) for name in SERVED_CONTROLLERS}
    assert places == {"lstm": 0, "gru": 1, "rnn": 2, "feedforward": 3}
    assert {name: list(MEMORIES).index(name) for name in SERVED_MEMORIES} == {"none": 0, "tape": 1, "ntm": 3}
    assert architecture_from(genes()).addressing == 1


# 4. learning


@pytest.mark.parametrize("optimiser", [None, optax.sgd(0.1)], ids=["its own", "given"])
def test_a_lifetime_is_the_same_to_rounding(kernel, optimiser):
    """Without a given optimiser the weights that exist are one vector."""
    genome = member(compiled_init()(jax.random.key(0)).population.genomes, 0)
    config = LifetimeConfig(batch_size=4, warmup_steps=0, optimiser="sgd", learning_rate=0.1)

    def learnt(native):
        lifetime = Lifetime(BOUNDS, SUITE, config, optimiser=optimiser, flat=optimiser is None, native=native)
        live = jax.jit(lambda key: learn(lifetime, key, genome, jnp.ones(2), 1.0, 5))
        return live(jax.random.key(1)).params

    by_kernel, by_xla = flat(learnt(True)), flat(learnt(False))
    assert not np.array_equal(by_xla, flat(genome.params))
    np.testing.assert_allclose(by_kernel, by_xla, atol=1e-5)


@pytest.mark.parametrize("memory", ["ntm", "dnc"])
def test_lifetimes_of_kinds_served_and_not(kernel, memory):
    bounds = Bounds((5, 7), (2, 3), (1, 1), (1, 1), (3, 4), memories=("ntm", "dnc"))
    chosen = architecture_from(genes(num_slots=6, slot_width=2, controller_size=3, memory=memory))
    genome = random_genome(jax.random.key(0), bounds, SUITE.input_size, SUITE.output_size, chosen)
    config = LifetimeConfig(batch_size=4, warmup_steps=0, optimiser="sgd", learning_rate=0.1)

    @functools.partial(jax.jit, static_argnames="native")
    def learnt(key, native):
        lifetime = Lifetime(bounds, SUITE, config, flat=True, native=native)
        params = learn(lifetime, key, genome, jnp.ones(2), 1.0, 3).params
        return jax.tree.map(jnp.where, mask_of(genome, bounds), params, jax.tree.map(jnp.zeros_like, params))

    by_kernel, by_xla = (flat(learnt(jax.random.key(1), native=native)) for native in (True, False))
    np.testing.assert_allclose(by_kernel, by_xla, atol=1e-5)


@pytest.mark.parametrize("chosen", CASES[:: len(SERVED_MEMORIES)], ids=name_of)
def test_live_weights_of_any_length(kernel, chosen, monkeypatch):
    """The shortest of the lengths that holds the weights is taken, and they come back in their places."""
    genome = make_genome(SPACE, 11, **chosen)
    sizes = SPACE.axis_sizes(INPUT_SIZE, OUTPUT_SIZE)
    monkeypatch.setattr(_call, "LEAST_LENGTH", 1)
    lengths = _call.live_lengths(layout_for(SPACE.spec, sizes).live)

    def doubled(live, exists):
        return live.replace(vector=2 * live.vector), (
            live.vector.size,
            jnp.sum(exists),
            jnp.any((live.vector != 0) & ~exists),
        )

    apply = jax.jit(lambda genome: _call.at_live_size(doubled, genome.architecture, genome.params, SPACE.spec, sizes))
    params, (length, count, beyond) = apply(genome)
    exact = exact_params(genome.params, SPACE, chosen)
    twice = jax.tree.map(lambda array: 2 * array, exact)
    assert_trees_equal(params, padded_like(genome.params, twice, SPACE, chosen, 0.0))
    assert count == sum(array.size for array in jax.tree.leaves(exact)) and not beyond
    assert length in lengths and len(lengths) == _call.MOST_LENGTHS
    shorter = [other for other in lengths if other < length]
    assert (
        not shorter or max(shorter) < count + 2 * genome.params["controller"]["input_kernel"].size
    )  # GRU's blocks of 0


def test_a_vector_too_short_for_the_weights_is_an_error(kernel):
    genome = make_genome(SPACE, 12, **genes(num_slots=7))
    live = _call.live_weights(genome.architecture, genome.params, SPACE.spec, SPACE.axis_sizes(INPUT_SIZE, OUTPUT_SIZE))
    short = live.replace(vector=live.vector[:50])
    with pytest.raises(jax.errors.JaxRuntimeError, match="too short"):
        jax.block_until_ready(_call.live_unroll(genome.architecture, short, jnp.asarray(batch())).outputs)


def test_individuals_spread_over_devices(kernel):
    """Each device calls the kernel for its own individuals, and which one does so changes nothing."""
    pair = [make_genome(SPACE, seed, **genes(num_slots=7)) for seed in range(4)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)
    inputs = jnp.asarray(batch(size=3))

    def outputs(bounds, own, shared):
        del shared
        return unroll(own[0], inputs, bounds, native=True).outputs

    found = []
    for devices in (1, 2):
        run_all = over_population(outputs, device_mesh(devices), 1, (SPACE,))
        found.append(jax.jit(lambda genomes, run=run_all: run((genomes,), genomes.architecture, ()))(population))
    np.testing.assert_array_equal(*found)
