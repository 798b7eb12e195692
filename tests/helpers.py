"""Small search spaces, genomes with every weight alive, and functions that compile once a search space."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from etm_jax.cells import NTMActive, map_table, ntm_unroll
from etm_jax.genomes import Bounds, Genome, apply, architecture_from, ranges, unroll

INPUT_SIZE, OUTPUT_SIZE = 3, 2
NUM_STEPS = 9  # more than the slots of the smallest memory, so that heads go round

TINY = Bounds(
    num_slots=(5, 7),
    slot_width=(2, 4),
    num_read_heads=(1, 2),
    num_write_heads=(1, 2),
    controller_size=(2, 5),
    shift_range=(1, 2),
)
LARGER = replace(
    TINY,
    num_slots=(5, 11),
    slot_width=(2, 6),
    num_read_heads=(1, 3),
    num_write_heads=(1, 4),
    controller_size=(2, 8),
    shift_range=(1, 2),
)


def genes_within(bounds):
    """Any architecture of the bounds, as a dict of genes."""
    numbers = {name: st.integers(low, high) for name, (low, high) in ranges(bounds)}
    return st.fixed_dictionaries({**numbers, "addressing": st.sampled_from(bounds.addressing)})


def genes(**changes):
    """One architecture of TINY and LARGER that is neither their smallest nor their largest."""
    middle = {"num_slots": 6, "slot_width": 3, "num_read_heads": 1, "num_write_heads": 1, "controller_size": 4}
    return {**middle, "shift_range": 1, "addressing": "content_and_location", **changes}


def make_params(sizes, seed=0):
    """Every weight drawn, biases too. From NumPy: eager JAX operations compile one by one."""
    draws = np.random.default_rng(seed)

    def draw(parameter):
        return jnp.asarray(0.5 * draws.normal(size=[sizes[axis] for axis in parameter.axes]), float)

    return map_table(draw)


def make_genome(bounds, seed=0, **changes):
    """A genome of `genes(**changes)`; entries that do not exist hold noise too."""
    params = make_params(bounds.axis_sizes(INPUT_SIZE, OUTPUT_SIZE), seed)
    return Genome(architecture=architecture_from(genes(**changes)), params=params)


def make_inputs(seed=0, num_steps=NUM_STEPS):
    return jnp.asarray(np.random.default_rng(1000 + seed).normal(size=(num_steps, INPUT_SIZE)), float)


def make_probe(num_steps=NUM_STEPS):
    """Fixed coefficients that turn outputs into one number of which every output has a part."""
    return jnp.asarray(np.cos(np.arange(num_steps * OUTPUT_SIZE)).reshape(num_steps, OUTPUT_SIZE), float)


def existing(bounds, chosen):
    """Which positions of every padded axis exist, counted out by hand: the first ones, and the shifts -S..S."""
    widest, reach = bounds.shift_range[1], chosen["shift_range"]
    counts = {
        "unit": chosen["controller_size"],
        "slot": chosen["num_slots"],
        "width": chosen["slot_width"],
        "read": chosen["num_read_heads"],
        "write": chosen["num_write_heads"],
    }
    positions = {axis: np.arange(count) for axis, count in counts.items()}
    positions |= {"input": np.arange(INPUT_SIZE), "output": np.arange(OUTPUT_SIZE), "gate": np.arange(4)}
    positions["head"] = np.concatenate([positions["read"], bounds.num_read_heads[1] + positions["write"]])
    located = chosen["addressing"] == "content_and_location"
    fields = [0, 1, *range(2 + widest - reach, 2 + widest + reach + 1)]  # gate, sharpening, shifts
    positions["location"] = np.array(fields if located else [], int)
    return positions


def exact_params(params, bounds, chosen):
    """The weights that exist, at exact sizes; also of anything shaped like params."""
    positions = existing(bounds, chosen)

    def cut(parameter, array):
        return np.asarray(array)[np.ix_(*(positions[axis] for axis in parameter.axes))]

    return map_table(cut, params)


def padded_like(params, exact, bounds, chosen, fill):
    """`exact` put where it exists in arrays shaped like `params`, and `fill` everywhere else."""
    positions = existing(bounds, chosen)

    def place(parameter, array, block):
        padded = np.full_like(np.asarray(array), fill)
        padded[np.ix_(*(positions[axis] for axis in parameter.axes))] = block
        return jnp.asarray(padded)

    return map_table(place, params, exact)


def put_where_absent(genome, bounds, chosen, value):
    """The genome with `value` in every weight that does not exist."""
    exact = exact_params(genome.params, bounds, chosen)
    return genome.replace(params=padded_like(genome.params, exact, bounds, chosen, value))


def exact_active(chosen):
    """The masks of a network at exact sizes: all True."""
    positions = existing(exact_bounds(chosen), chosen)
    return NTMActive(**{axis: jnp.ones(len(positions[axis]), bool) for axis in NTMActive.__dataclass_fields__})


def exact_bounds(chosen):
    """The search space that holds just this architecture."""
    ranges = {name: (size, size) for name, size in chosen.items() if name != "addressing"}
    return Bounds(**ranges, addressing=(chosen["addressing"],))


@functools.cache
def forward(bounds):
    """Jitted `unroll`: one compile serves every architecture of the bounds."""
    return jax.jit(lambda genome, inputs: unroll(genome, inputs, bounds))


@functools.cache
def gradients(bounds):
    """Jitted: outputs, and the gradients of a probe of them by params and by inputs."""

    def probe(params, inputs, architecture):
        outputs = apply(Genome(architecture=architecture, params=params), inputs, bounds)
        return jnp.sum(outputs * make_probe(inputs.shape[0])), outputs

    differentiate = jax.value_and_grad(probe, argnums=(0, 1), has_aux=True)

    @jax.jit
    def run(genome, inputs):
        (_, outputs), (by_params, by_inputs) = differentiate(genome.params, inputs, genome.architecture)
        return outputs, by_params, by_inputs

    return run


@jax.jit
def exact_gradients(params, active, inputs):
    """The same of a network at exact sizes, straight from the cell; compiles for each architecture."""

    def probe(params, inputs):
        outputs, _ = ntm_unroll(params, active, inputs)
        return jnp.sum(outputs * make_probe(inputs.shape[0])), outputs

    (_, outputs), (by_params, by_inputs) = jax.value_and_grad(probe, argnums=(0, 1), has_aux=True)(params, inputs)
    return outputs, by_params, by_inputs


def to_numpy(params):
    """The arrays of a params pytree as float64."""
    return jax.tree.map(lambda array: np.asarray(array, np.float64), params)


def assert_trees_close(left, right, **tolerance):
    """Leaf by leaf, naming the leaf that differs."""
    pairs = zip(jax.tree.leaves_with_path(left), jax.tree.leaves(right), strict=True)
    for (path, first), second in pairs:
        np.testing.assert_allclose(first, second, **tolerance, err_msg=jax.tree_util.keystr(path))


def assert_trees_equal(left, right):
    """The same bits, NaN equal to NaN."""
    pairs = zip(jax.tree.leaves_with_path(left), jax.tree.leaves(right), strict=True)
    for (path, first), second in pairs:
        np.testing.assert_array_equal(first, second, err_msg=jax.tree_util.keystr(path))


def all_finite(tree):
    return all(bool(np.isfinite(np.asarray(leaf, np.float64)).all()) for leaf in jax.tree.leaves(tree))
