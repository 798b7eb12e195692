"""Small search spaces, genomes with every weight alive, and functions that compile once a search space."""

import contextlib
import functools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from hypothesis import strategies as st

from etm_jax.cells import CONTROLLERS, MEMORIES, Active, cell_unroll, table_of
from etm_jax.cells._registry import constant_axes, exact
from etm_jax.cells._weights import map_table
from etm_jax.networks import Bounds, Genome, apply, unroll
from etm_jax.networks.genome._bounds import bounds_of
from etm_jax.networks.genome._genes import CHOICES, architecture_from

ROOT = Path(__file__).parents[1]
INPUT_SIZE, OUTPUT_SIZE = 3, 2
NUM_STEPS = 9  # more than the slots of the smallest memory, so that heads go round

TINY = Bounds(
    num_slots=(5, 7),
    slot_width=(2, 4),
    num_read_heads=(1, 2),
    num_write_heads=(1, 2),
    controller_size=(2, 5),
    shift_range=(1, 2),
    window_size=(2, 3),
    num_layers=(1, 2),
    attention_heads=(1, 2),
    attention_width=3,
)
LARGER = replace(
    TINY,
    num_slots=(5, 11),
    slot_width=(2, 6),
    num_read_heads=(1, 3),
    num_write_heads=(1, 4),
    controller_size=(2, 8),
    shift_range=(1, 2),
    window_size=(2, 5),
    num_layers=(1, 3),
    attention_heads=(1, 3),
)
# All kinds of controllers and memories side by side, and pondering.
MIXED = replace(
    TINY,
    ponder_steps=(1, 3),
    controllers=tuple(CONTROLLERS),
    memories=tuple(MEMORIES),
)
LARGER_MIXED = replace(
    LARGER,
    ponder_steps=(1, 4),
    controllers=tuple(CONTROLLERS)[::-1],
    memories=tuple(MEMORIES)[::-1],
)
SPACES = {"one kind": (TINY, LARGER), "many kinds": (MIXED, LARGER_MIXED)}


def genes_within(bounds):
    """Any architecture of the bounds, as a dict of genes."""
    numbers = {name: st.integers(low, high) for name, (low, high) in bounds.ranges.items()}
    kinds = {gene: st.sampled_from(getattr(bounds, name)) for gene, (name, _) in CHOICES.items()}
    return st.fixed_dictionaries({**numbers, **kinds})


def genes(**changes):
    """One architecture of TINY and LARGER that is neither their smallest nor their largest."""
    middle = {"num_slots": 6, "slot_width": 3, "num_read_heads": 1, "num_write_heads": 1, "controller_size": 4}
    kinds = {"addressing": "content_and_location", "controller": "lstm", "memory": "ntm"}
    window = {"window_size": 3, "num_layers": 1, "attention_heads": 2}
    return {**middle, "shift_range": 1, "ponder_steps": 1, **window, **kinds, **changes}


def make_params(bounds, seed=0):
    """Every weight drawn, biases too. From NumPy by `device_put`: `jnp.asarray` compiles a program a shape."""
    draws, sizes = np.random.default_rng(seed), bounds.axis_sizes(INPUT_SIZE, OUTPUT_SIZE)

    def draw(parameter):
        return jax.device_put(0.5 * draws.normal(size=[sizes[axis] for axis in parameter.axes]))

    return jax.tree.map(draw, table_of(bounds.spec))


def make_genome(bounds, seed=0, **changes):
    """A genome of `genes(**changes)`; entries that do not exist hold noise too."""
    params = make_params(bounds, seed)
    return Genome(architecture=architecture_from(genes(**changes)), params=params)


def make_inputs(seed=0, num_steps=NUM_STEPS):
    return jax.device_put(np.random.default_rng(1000 + seed).normal(size=(num_steps, INPUT_SIZE)))


def make_probe(num_steps=NUM_STEPS):
    """Fixed coefficients that turn outputs into one number of which every output has a part."""
    return jnp.asarray(np.cos(np.arange(num_steps * OUTPUT_SIZE)).reshape(num_steps, OUTPUT_SIZE), float)


def existing(bounds, chosen):
    """Which positions of every padded axis exist, counted out by hand: the first ones, and the shifts -S..S."""
    gates = {name: (kind.from_inputs, kind.from_units) for name, kind in CONTROLLERS.items()} | {
        "lstm": ([0, 1, 2, 3], [0, 1, 2, 3]),
        "gru": ([0, 1, 2], [0, 1, 3]),
        "rnn": ([0], [0]),
        "feedforward": ([0], []),
        "window": ([], []),
    }
    widest, reach = bounds.shift_range[1], chosen["shift_range"]
    counts = {
        "unit": chosen["controller_size"],
        "slot": chosen["num_slots"],
        "width": chosen["slot_width"],
        "read": chosen["num_read_heads"],
        "write": chosen["num_write_heads"],
        "window": chosen["window_size"],
        "layer": chosen["num_layers"],
        "attention_head": chosen["attention_heads"],
    }
    positions = {axis: np.arange(count) for axis, count in counts.items()}
    pondering, ponders = bounds.ponder_steps[1] > 1, chosen["ponder_steps"] > 1
    positions |= {"input": np.arange(INPUT_SIZE + ponders), "output": np.arange(OUTPUT_SIZE)}
    positions["pondering"] = np.arange(int(ponders))
    everywhere = {place for kind in bounds.controllers for part in gates[kind] for place in part}
    for axis, index in (("input_gate", 0), ("unit_gate", 1)):
        padded = sorted({place for kind in bounds.controllers for place in gates[kind][index]})
        positions[axis] = np.array([padded.index(place) for place in gates[chosen["controller"]][index]], int)
    own = {place for part in gates[chosen["controller"]] for place in part}
    positions["gate"] = np.array([sorted(everywhere).index(place) for place in sorted(own)])
    if chosen["memory"] == "none":
        positions |= {axis: np.arange(0) for axis in ("slot", "width", "read", "write")}
    reads = 0 if bounds.memories == ("none",) else bounds.num_read_heads[1]
    positions["head"] = np.concatenate([positions["read"], reads + positions["write"]])
    shared = MEMORIES[chosen["memory"]].shares
    gated = "gate" in shared and chosen["addressing"] == "content_and_location"
    moves = "location" in shared and ("gate" not in shared or gated)
    fields = [0, *range(1 + widest - reach, 1 + widest + reach + 1)]  # sharpening, shifts
    positions["location"] = np.array(fields if moves else [], int)
    positions["gating"] = np.arange(int(gated))
    constant = constant_axes() | {"direction": 2, "move": 3, "expansion": 4}
    positions |= {axis: np.arange(size) for axis, size in constant.items()}
    positions["key"] = np.arange(bounds.attention_width)
    assert pondering or not ponders
    return positions


def exact_params(params, bounds, chosen):
    """The weights that exist, at exact sizes; also of anything shaped like params."""
    positions = existing(bounds, chosen)
    table = table_of(exact_bounds(chosen).spec)
    params = {block: {name: params[block][name] for name in part} for block, part in table.items()}

    def cut(parameter, array):
        return np.asarray(array)[np.ix_(*(positions[axis] for axis in parameter.axes))]

    return map_table(cut, params)


def padded_like(params, exact, bounds, chosen, fill):
    """`exact` put where it exists in arrays shaped like `params`, and `fill` everywhere else."""
    positions = existing(bounds, chosen)

    def place(parameter, array, block, name):
        padded = np.full_like(np.asarray(array), fill)
        if name in exact.get(block, {}):
            padded[np.ix_(*(positions[axis] for axis in parameter.axes))] = exact[block][name]
        return jax.device_put(padded)

    names = {block: {name: name for name in part} for block, part in params.items()}
    blocks = {block: dict.fromkeys(part, block) for block, part in params.items()}
    return map_table(place, params, blocks, names)


def put_where_absent(genome, bounds, chosen, value):
    """The genome with `value` in every weight that does not exist."""
    exact = exact_params(genome.params, bounds, chosen)
    return genome.replace(params=padded_like(genome.params, exact, bounds, chosen, value))


def exact_active(chosen):
    """The masks of a network at exact sizes: all True."""
    bounds = exact_bounds(chosen)
    return exact(bounds.spec, {axis: len(own) for axis, own in existing(bounds, chosen).items()})


def partial_active(**masks):
    """Masks of a network, those that are not given empty."""
    nothing = {name: jnp.ones(0, bool) for name in Active.__dataclass_fields__ if name != "spec"}
    return Active(**nothing | {name: jnp.asarray(mask) for name, mask in masks.items()})


def exact_bounds(chosen):
    """The search space that holds just this architecture."""
    return bounds_of(chosen, TINY.spec)


@functools.cache
def forward(bounds, native=False):
    """Jitted `unroll`: one compile serves every architecture of the bounds."""
    return jax.jit(lambda genome, inputs: unroll(genome, inputs, bounds, native=native))


@functools.cache
def gradients(bounds, native=False):
    """Jitted: outputs, and the gradients of a probe of them by params and by inputs."""

    def probe(params, inputs, architecture):
        outputs = apply(Genome(architecture=architecture, params=params), inputs, bounds, native=native)
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
        outputs = cell_unroll(params, active, inputs).outputs
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


def start_command(*flags):
    """The command line of evolution in a process of its own, with the compile cache of the tests."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tasks")])}
    cache = str(jax.config.jax_compilation_cache_dir)
    command = [sys.executable, "-m", "etm_jax.evolve", *flags, "--compile-cache", cache]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@contextlib.contextmanager
def unchecked_types():
    """Without the checks of annotations, as outside the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
