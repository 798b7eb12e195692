import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle_window
import pytest
from helpers import INPUT_SIZE, NUM_STEPS, all_finite, assert_trees_close, assert_trees_equal, make_inputs, to_numpy

from etm_jax.cells import PARAMETERS
from etm_jax.cells._kinds import value_of
from etm_jax.cells._weights import keep_active
from etm_jax.cells._window import WindowActive, embed, initial_window, window_step

PADDED = {"unit": 6, "read": 3, "width": 5, "attention_head": 3, "key": 4, "layer": 3, "window": NUM_STEPS + 3}


def sizes(**changes):
    """One architecture that PADDED can hold."""
    middle = {"unit": 4, "read": 1, "width": 3, "attention_head": 2, "key": 2, "layer": 1, "window": 3}
    return {**middle, **changes}


NETWORKS = {
    "three inputs": sizes(),
    "the newest input only": sizes(window=1),
    "a window longer than the sequence": sizes(window=NUM_STEPS + 2),
    "two layers": sizes(layer=2, window=4, read=2),
    "many heads of both kinds": sizes(attention_head=3, key=3, read=3, width=2),
    "one of each": sizes(unit=2, attention_head=1, key=1, width=1, window=2),
    "the largest": PADDED,
}


def shape_of(parameter, chosen):
    return [{"input": INPUT_SIZE, "expansion": 4, **chosen}[axis] for axis in parameter.axes]


def map_window(function, *trees):
    return jax.tree.map(function, {"window": PARAMETERS["window"]}, *trees)


def make_params(chosen, seed=0):
    """Every weight drawn, biases too."""
    draws = np.random.default_rng(seed)
    return map_window(lambda parameter: jnp.asarray(0.7 * draws.normal(size=shape_of(parameter, chosen)), float))


def make_reads(chosen, seed=0):
    draws = np.random.default_rng(2000 + seed)
    return jnp.asarray(draws.normal(size=(NUM_STEPS, chosen["read"], chosen["width"])), float)


def make_active(chosen, padded=PADDED):
    return WindowActive(**{axis: jnp.asarray(np.arange(size) < chosen[axis]) for axis, size in padded.items()})


def make_mask(chosen, padded=PADDED):
    """Where a weight exists at padded shape."""
    return pad(map_window(lambda parameter: np.ones(shape_of(parameter, chosen), bool)), False, padded)


def first(shape):
    return tuple(slice(size) for size in shape)


def pad(params, fill=0.0, padded=PADDED):
    """At padded shape: the first entries of every axis, and `fill` everywhere else."""

    def place(parameter, block):
        array = np.full(shape_of(parameter, padded), fill, block.dtype)
        array[first(block.shape)] = block
        return jnp.asarray(array)

    return map_window(place, params)


def pad_reads(reads):
    return jnp.pad(reads, [(0, 0), (0, PADDED["read"] - reads.shape[1]), (0, PADDED["width"] - reads.shape[2])])


def cut(params, chosen):
    """The inverse of `pad`."""
    return map_window(lambda parameter, array: array[first(shape_of(parameter, chosen))], params)


@jax.jit
def unroll(params, active, inputs, reads):
    """The hidden units of every step."""
    embedded = embed(params, inputs)
    start = initial_window(active, embedded.dtype)
    return jax.lax.scan(lambda state, row: window_step(params, active, state, *row), start, (embedded, reads))[1]


@jax.jit
def gradients(params, mask, active, inputs, reads):
    """The hidden units, and the gradients of a probe of them by weights, inputs and reads."""

    def probe(params, inputs, reads):
        hidden = unroll(keep_active(params, mask), active, inputs, reads)
        return jnp.sum(hidden[:, :2] * PROBE.astype(hidden.dtype)), hidden

    (_, hidden), grads = jax.value_and_grad(probe, argnums=(0, 1, 2), has_aux=True)(params, inputs, reads)
    return hidden, *grads


PROBE = np.cos(np.arange(2 * NUM_STEPS)).reshape(NUM_STEPS, 2)  # of the two units that every architecture has


def plain(params, inputs, reads):
    return oracle_window.run(to_numpy(params), np.asarray(inputs), np.asarray(reads))


@pytest.mark.parametrize("name", ["three inputs", "two layers"])
def test_the_hidden_units_are_those_of_a_plain_window_transformer(name):
    with jax.enable_x64(True):
        chosen = NETWORKS[name]
        arguments = make_params(chosen), make_inputs(), make_reads(chosen)
        hidden = unroll(arguments[0], make_active(chosen, chosen), *arguments[1:])
        np.testing.assert_allclose(hidden, plain(*arguments), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_padded_network_computes_what_a_plain_one_of_its_exact_sizes_does(name):
    with jax.enable_x64(True):
        chosen = NETWORKS[name]
        params, inputs, reads = make_params(chosen, 1), make_inputs(1), make_reads(chosen, 1)
        hidden = np.asarray(unroll(pad(params), make_active(chosen), inputs, pad_reads(reads)))
        expected = plain(params, inputs, reads)
        np.testing.assert_allclose(hidden[:, : chosen["unit"]], expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_array_equal(hidden[:, chosen["unit"] :], 0.0)


def test_scores_of_any_size_leave_out_the_tokens_that_do_not_exist():
    with jax.enable_x64(True):
        chosen = NETWORKS["three inputs"]
        params, inputs, reads = make_params(chosen), make_inputs(), make_reads(chosen)
        params["window"]["query_kernel"] *= 1e8
        params["window"]["key_kernel"] *= 1e8
        hidden = unroll(pad(params), make_active(chosen), inputs, pad_reads(reads))
        expected = plain(params, inputs, reads)
        np.testing.assert_allclose(hidden[:, : chosen["unit"]], expected, rtol=1e-10, atol=1e-10)


def test_padded_gradients_are_those_at_exact_sizes():
    with jax.enable_x64(True):
        chosen = NETWORKS["two layers"]
        params, inputs, reads = make_params(chosen), make_inputs(), make_reads(chosen)
        exact = gradients(params, make_mask(chosen, chosen), make_active(chosen, chosen), inputs, reads)[1:]
        padded = gradients(pad(params), make_mask(chosen), make_active(chosen), inputs, pad_reads(reads))[1:]
        live = cut(padded[0], chosen), padded[1], padded[2][(slice(None), *first(reads.shape[1:]))]
        assert_trees_close(live, exact, rtol=1e-10, atol=1e-10)


def test_gradients_are_the_slopes_of_a_plain_window_transformer():
    with jax.enable_x64(True):
        chosen = NETWORKS["two layers"]
        arguments = make_params(chosen), make_inputs(), make_reads(chosen)
        active, mask = make_active(chosen, chosen), make_mask(chosen, chosen)
        grads = jax.tree.leaves(to_numpy(gradients(arguments[0], mask, active, *arguments[1:])[1:]))
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(arguments)]
    leaves, structure = jax.tree.flatten(to_numpy(arguments))
    draws, step = np.random.default_rng(0), 1e-5
    for index, (name, grad) in enumerate(zip(names, grads, strict=True)):
        direction = draws.normal(size=grad.shape)
        up, down = (
            np.sum(plain(*structure.unflatten([*leaves[:index], moved, *leaves[index + 1 :]]))[:, :2] * PROBE)
            for moved in (leaves[index] + step * direction, leaves[index] - step * direction)
        )
        along = np.sum(grad * direction)
        np.testing.assert_allclose(along, (up - down) / (2 * step), rtol=1e-5, atol=1e-8, err_msg=name)
        assert abs(along) > 1e-6 or name.endswith("['key_bias']"), (
            name
        )  # one number added to all scores changes nothing


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_garbage_in_weights_that_do_not_exist_changes_nothing_and_gets_no_gradient(garbage):
    with jax.enable_x64(True):
        chosen = NETWORKS["two layers"]
        params, reads = make_params(chosen), pad_reads(make_reads(chosen))
        clean, dirty = (
            gradients(pad(params, fill), make_mask(chosen), make_active(chosen), make_inputs(), reads)
            for fill in (0.0, garbage)
        )
        assert all_finite(clean)
        assert_trees_equal(dirty, clean)
        assert_trees_equal(dirty[1], pad(cut(dirty[1], chosen)))


@pytest.mark.parametrize("recurrent", [True, False])
def test_what_is_older_than_the_window_counts_through_the_hidden_units_only(recurrent):
    with jax.enable_x64(True):
        chosen = NETWORKS["two layers"]  # sees four inputs
        params = pad(make_params(chosen))
        params["window"]["recurrent_kernel"] *= recurrent
        reads = pad_reads(make_reads(chosen))
        before = unroll(params, make_active(chosen), make_inputs(), reads)
        after = unroll(params, make_active(chosen), make_inputs().at[1].add(1.0), reads)
        changed = np.any(np.asarray(before != after), axis=-1)
        np.testing.assert_array_equal(changed, [step >= 1 and (recurrent or step < 1 + 4) for step in range(NUM_STEPS)])


def test_the_state_holds_the_last_embedded_inputs_and_zero_before_and_beyond_them():
    chosen = NETWORKS["three inputs"]
    params, active, inputs, reads = pad(make_params(chosen)), make_active(chosen), make_inputs(), make_reads(PADDED)
    embedded = embed(params, inputs)
    state, step = initial_window(active, embedded.dtype), jax.jit(window_step)
    for now in range(4):
        state, hidden = step(params, active, state, embedded[now], reads[now])
        seen = [embedded[now - age] for age in range(min(now + 1, 3))]
        np.testing.assert_array_equal(state.present, np.arange(PADDED["window"]) < len(seen))
        np.testing.assert_array_equal(state.tokens[: len(seen)], seen)
        np.testing.assert_array_equal(state.tokens[len(seen) :], 0.0)
        np.testing.assert_array_equal(state.hidden, hidden)


@pytest.mark.parametrize("weights, inputs", [(0.0, 0.0), (0.0, 1.0), (1e3, 1e6), (1e-3, 1e20), (1e6, 1.0)])
def test_huge_and_zero_weights_and_inputs_give_finite_outputs_and_gradients(weights, inputs):
    chosen = NETWORKS["two layers"]
    params = jax.tree.map(lambda array: weights * array, pad(make_params(chosen)))
    reads = pad_reads(inputs * make_reads(chosen))
    results = gradients(params, make_mask(chosen), make_active(chosen), inputs * make_inputs(), reads)
    assert all_finite(results)


@pytest.mark.parametrize("weights_dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("inputs_dtype", [jnp.float32, jnp.bfloat16])
def test_the_state_takes_the_wider_type_of_weights_and_inputs(weights_dtype, inputs_dtype):
    chosen = NETWORKS["two layers"]
    params = jax.tree.map(lambda array: array.astype(weights_dtype), make_params(chosen))
    wider = jnp.promote_types(weights_dtype, inputs_dtype)
    active, reads = make_active(chosen, chosen), make_reads(chosen).astype(wider)
    hidden = jax.eval_shape(unroll, params, active, make_inputs().astype(inputs_dtype), reads)
    assert hidden.dtype == wider


KEPT = {"layer": {"layer": 3}, "attention_head": {"attention_head": 3}, "width": {"width": 5}}
NOT_KEPT = {"unit": {"unit": 6}, "key": {"key": 4}, "window": {"window": 6}, "read": {"read": 3}}


@pytest.mark.parametrize("axis", [*KEPT, *NOT_KEPT])
def test_growth_as_the_table_says_keeps_the_function_where_it_can(axis):
    with jax.enable_x64(True):
        chosen = NETWORKS["two layers"]
        grown = {**chosen, **{**KEPT, **NOT_KEPT}[axis]}
        old, reads = make_params(chosen), make_reads(chosen)

        def grow(parameter, old, new):
            new = np.array(new if parameter.fan_in else jnp.broadcast_to(value_of(parameter.start, {}), new.shape))
            for position in parameter.closed_axes:
                beyond = [slice(None)] * new.ndim
                beyond[position] = slice(old.shape[position], None)
                new[tuple(beyond)] = 0.0
            new[first(old.shape)] = old
            return jnp.asarray(new)

        params = pad(map_window(grow, old, make_params(grown, 1)))
        more = make_reads(grown, 1).at[:, : chosen["read"], : chosen["width"]].set(reads)
        before = unroll(pad(old), make_active(chosen), make_inputs(), pad_reads(reads))
        after = unroll(params, make_active(grown), make_inputs(), pad_reads(more))
        same = np.allclose(after[:, : chosen["unit"]], before[:, : chosen["unit"]], rtol=1e-10, atol=1e-10)
        assert same == (axis in KEPT)


def test_a_recurrent_transformer_ntm_has_the_number_of_weights_that_is_worked_out_by_hand():
    units, symbols, window, reads = 104, 14, 8, 2
    counts = {"input": symbols, "output": symbols, "unit": units, "width": units, "window": window, "layer": 1}
    counts |= {"attention_head": 4, "key": units // 4, "expansion": 4, "read": reads, "write": 1, "head": 3}
    counts |= {"location": 4, "gating": 1}

    def total(*blocks):
        leaves = jax.tree.leaves(blocks)
        return sum(math.prod(counts[axis] for axis in parameter.axes) for parameter in leaves)

    # layer 12 E^2 + 13 E, recurrent layer 2 E^2 + E, last norm 2 E, tokens (V + 1 + K + R) E, reads E^2
    assert total(PARAMETERS["window"]) == 15 * units**2 + 41 * units
    rest = [PARAMETERS[block] for block in ("heads", "write", "output")]
    assert total(PARAMETERS["window"], *rest) == 20 * units**2 + 106 * units + 32
