import functools
from dataclasses import fields as fields_of

import jax
import jax.numpy as jnp
import numpy as np
import oracle_dnc
import pytest
from helpers import all_finite, assert_trees_close, assert_trees_equal, partial_active

from etm_jax.cells import PARAMETERS
from etm_jax.cells._dnc import DNCFields, DNCState, allocation_weighting, dnc_step, initial_dnc
from etm_jax.cells._kinds import value_of

# slots, width, read heads, write heads
PADDED = (7, 4, 2, 3)
ARCHITECTURES = {
    "one head of each kind": (6, 3, 1, 1),
    "two write heads": (5, 4, 1, 2),
    "three write heads": (7, 2, 2, 3),
    "two read heads": (4, 3, 2, 1),
    "one slot": (1, 1, 1, 1),
    "all of the padding": PADDED,
}
NUM_STEPS = 6
AXES = {
    "key": ("head", "width"),
    "strength": ("head",),
    "erase": ("write", "width"),
    "add": ("write", "width"),
    "free": ("read",),
    "allocation": ("write",),
    "write_gate": ("write",),
    "content_mode": ("read",),
    "link_mode": ("read", "write", "direction"),
}


def make_active(sizes, padded=PADDED):
    masks = {
        axis: jnp.arange(size) < count
        for axis, count, size in zip(("slot", "width", "read", "write"), sizes, padded, strict=True)
    }
    return partial_active(**masks)


def lengths(sizes):
    slots, width, reads, writes = sizes
    return {"slot": slots, "width": width, "read": reads, "write": writes, "head": reads + writes, "direction": 2}


def positions(axis, sizes, padded):
    """Where the entries of an axis that exist stand in the padded axis."""
    if axis == "head":
        return np.concatenate([np.arange(sizes[2]), padded[2] + np.arange(sizes[3])])
    return np.arange(lengths(sizes)[axis])


def place(array, axes, sizes, padded, fill=0.0, lead=0):
    """An array of exact sizes put where it exists in a padded one, after `lead` axes that are whole."""
    held = np.full((*array.shape[:lead], *(lengths(padded)[axis] for axis in axes)), fill)
    whole = [np.arange(size) for size in array.shape[:lead]]
    held[np.ix_(*whole, *(positions(axis, sizes, padded) for axis in axes))] = array
    return jnp.asarray(held, float)


def make_fields(sizes, seed=0, scale=1.5):
    """NumPy arrays of exact sizes, a row a step."""
    draws = np.random.default_rng(seed)
    return {
        name: scale * draws.normal(size=(NUM_STEPS, *(lengths(sizes)[axis] for axis in axes)))
        for name, axes in AXES.items()
    }


def make_memory(sizes, seed=0):
    """Rows of numbers, [slot width]; not all equal, so that no order is a tie."""
    return np.random.default_rng(100 + seed).normal(size=sizes[:2])


def pad_fields(fields, sizes, padded=PADDED, fill=0.0):
    return DNCFields(**{name: place(fields[name], axes, sizes, padded, fill, lead=1) for name, axes in AXES.items()})


def pad_memory(rows, sizes, padded=PADDED, fill=0.0):
    return place(rows.T, ("width", "slot"), sizes, padded, fill)


@functools.partial(jax.jit, static_argnames="sparse_links")
def unroll(fields, active, memory, start=None, sparse_links=0):
    """Memory, weightings, reads and state after every step."""
    weightings = jnp.zeros((active.head.size, active.slot.size), memory.dtype)
    weightings, state = start or (weightings, initial_dnc(active, memory.dtype))

    def step(carry, fields):
        memory, weightings, reads, state = dnc_step(fields, active, *carry, sparse_links=sparse_links)
        return (memory, weightings, state), (memory, weightings, reads, state)

    return jax.lax.scan(step, (memory, weightings, state), fields)[1]


def value(fields, active, memory, start=None, sparse_links=0):
    """One number of which all that a step returns has a part, whatever the padding."""
    history = unroll(fields, active, memory, start, sparse_links=sparse_links)
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(history)), history


differentiate = jax.jit(jax.value_and_grad(value, argnums=(0, 2, 3), has_aux=True))


def plain_value(fields, memory):
    """`value` by the oracle."""
    history = oracle_dnc.run(fields, memory)
    return sum(np.sum(leaf**2) for leaf in jax.tree.leaves(history))


def assert_is_plain(history, expected, sizes, padded=PADDED):
    """Equal to 1e-10 where something exists, and exactly 0 elsewhere."""
    memories, weightings, reads, state = history
    for time, (memory, read, plain) in enumerate(expected):
        both = np.concatenate([plain["read"], plain["write"]])
        pairs = [
            (memories, memory.T, ("width", "slot")),
            (weightings, both, ("head", "slot")),
            (reads, read, ("read", "width")),
            (state.usage, plain["usage"], ("slot",)),
            (state.precedence, plain["precedence"], ("write", "slot")),
            (state.link, plain["link"], ("write", "slot", "slot")),
        ]
        for ours, theirs, axes in pairs:
            held = place(theirs, axes, sizes, padded)
            np.testing.assert_allclose(ours[time], held, rtol=1e-10, atol=1e-10)
            absent = place(np.ones_like(theirs), axes, sizes, padded) == 0
            assert not np.any(np.asarray(ours[time])[absent])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padded_steps_are_those_of_a_plain_dnc(name):
    sizes = ARCHITECTURES[name]
    fields, rows = make_fields(sizes), make_memory(sizes)
    with jax.enable_x64(True):
        history = unroll(pad_fields(fields, sizes), make_active(sizes), pad_memory(rows, sizes))
        assert_is_plain(history, oracle_dnc.run(fields, rows), sizes)


def zero_start(padded):
    """What `unroll` starts from by itself."""
    slots, _, reads, writes = padded
    state = DNCState(jnp.zeros(slots), jnp.zeros((writes, slots)), jnp.zeros((writes, slots, slots)))
    return jnp.zeros((reads + writes, slots)), state


def test_exact_sizes_and_padded_ones_agree_in_values_and_gradients():
    sizes = ARCHITECTURES["two write heads"]
    fields, rows = make_fields(sizes, 1), make_memory(sizes, 1)
    with jax.enable_x64(True):
        (_, history), (by_fields, by_memory, _) = differentiate(
            pad_fields(fields, sizes, sizes),
            make_active(sizes, sizes),
            pad_memory(rows, sizes, sizes),
            zero_start(sizes),
        )
        assert_is_plain(history, oracle_dnc.run(fields, rows), sizes, sizes)
        _, (padded_by_fields, padded_by_memory, _) = differentiate(
            pad_fields(fields, sizes), make_active(sizes), pad_memory(rows, sizes), zero_start(PADDED)
        )
        expected = pad_fields({name: np.asarray(getattr(by_fields, name)) for name in AXES}, sizes)
        assert_trees_close(padded_by_fields, expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(padded_by_memory, pad_memory(by_memory.T, sizes), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["one head of each kind", "three write heads", "all of the padding"])
def test_gradients_are_the_slopes_of_a_plain_dnc(name):
    sizes = ARCHITECTURES[name]
    fields, rows = make_fields(sizes, 2), make_memory(sizes, 2)
    with jax.enable_x64(True):
        arguments = pad_fields(fields, sizes), make_active(sizes), pad_memory(rows, sizes), zero_start(PADDED)
        _, (by_fields, by_memory, _) = differentiate(*arguments)
    draws, distance = np.random.default_rng(0), 1e-6
    for field, axes in AXES.items():
        direction = draws.normal(size=fields[field].shape)
        up, down = (
            plain_value({**fields, field: fields[field] + sign * distance * direction}, rows) for sign in (1, -1)
        )
        along = np.sum(np.asarray(getattr(by_fields, field)) * place(direction, axes, sizes, PADDED, lead=1))
        np.testing.assert_allclose(along, (up - down) / (2 * distance), rtol=1e-5, atol=1e-7, err_msg=field)
        assert np.count_nonzero(np.asarray(getattr(by_fields, field))) > 0
    direction = draws.normal(size=rows.shape)
    up, down = (plain_value(fields, rows + sign * distance * direction) for sign in (1, -1))
    along = np.sum(np.asarray(by_memory) * pad_memory(direction, sizes))
    np.testing.assert_allclose(along, (up - down) / (2 * distance), rtol=1e-5)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("name", ["one head of each kind", "three write heads"])
def test_garbage_where_nothing_exists_changes_nothing_and_gets_no_gradient(name, garbage):
    sizes = ARCHITECTURES[name]
    slots, _, reads, writes = sizes
    draws = np.random.default_rng(3)
    fields, rows = make_fields(sizes, 3), make_memory(sizes, 3)
    weightings, links = draws.dirichlet(np.ones(slots + 1), reads + writes)[:, :slots], np.zeros((writes, slots, slots))

    def start(fill):
        state = DNCState(
            usage=place(np.full(slots, 0.3), ("slot",), sizes, PADDED, fill),
            precedence=place(weightings[:writes], ("write", "slot"), sizes, PADDED, fill),
            link=place(links, ("write", "slot", "slot"), sizes, PADDED, fill),
        )
        return place(weightings, ("head", "slot"), sizes, PADDED, fill), state

    clean, dirty = (
        differentiate(
            pad_fields(fields, sizes, fill=fill), make_active(sizes), pad_memory(rows, sizes, fill=fill), start(fill)
        )
        for fill in (0.0, garbage)
    )
    assert all_finite(clean)
    assert_trees_equal(dirty, clean)
    by_fields, by_memory, _ = dirty[1]
    ones = {name: np.ones_like(array) for name, array in fields.items()}
    absent = jax.tree.map(lambda array: array == 0, pad_fields(ones, sizes))
    assert not any(np.any(leaf[away]) for leaf, away in zip(*map(jax.tree.leaves, (by_fields, absent)), strict=True))
    assert not np.any(np.asarray(by_memory)[np.asarray(pad_memory(np.ones_like(rows), sizes)) == 0])


def extreme_fields(seed):
    """Every field at one of its limits of +-20."""
    draws = np.random.default_rng(seed)
    return {name: 20 * draws.choice([-1.0, 1.0], array.shape) for name, array in make_fields(PADDED).items()}


@pytest.mark.parametrize("rows", [np.zeros(PADDED[:2]), make_memory(PADDED)], ids=["zero memory", "memory"])
def test_fields_at_their_limits_give_finite_values_and_gradients_and_weightings_that_share_one(rows):
    active, memory = make_active(PADDED), pad_memory(rows, PADDED)
    all_zero = {name: np.zeros_like(array) for name, array in make_fields(PADDED).items()}
    for fields in (all_zero, make_fields(PADDED, 4), *map(extreme_fields, range(8))):
        outcome = differentiate(pad_fields(fields, PADDED), active, memory, zero_start(PADDED))
        assert all_finite(outcome)
        _, weightings, _, state = outcome[0][1]
        for shares in (weightings, state.precedence, state.link, jnp.swapaxes(state.link, -1, -2)):
            assert np.min(shares) > -1e-6
            assert np.max(np.sum(shares, axis=-1)) < 1 + 1e-5
        assert np.min(state.usage) > -1e-6
        assert np.max(state.usage) <= 1
        assert not np.any(np.diagonal(state.link, axis1=-2, axis2=-1))


allocate = jax.jit(allocation_weighting)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ([0.5, 0.2, 0.9], [0.5 * 0.2, 0.8, 0.1 * 0.5 * 0.2]),  # in the order 0.2, 0.5, 0.9
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),  # of equal ones the first
        ([0.5, 0.5, 0.5], [0.5, 0.25, 0.125]),
        ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),  # nothing is free
        ([1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
    ],
)
def test_allocation_takes_the_least_used_slot_that_exists_and_as_much_as_is_free(usage, expected):
    # the last slot would be the freest, but does not exist
    allocated = allocate(jnp.array([*usage, 0.0]), jnp.array([True, True, True, False]))
    np.testing.assert_allclose(allocated, [*expected, 0.0], rtol=1e-6, atol=1e-7)
    assert np.sum(allocated) <= 1 + 1e-6


def test_allocation_is_that_by_a_sort_and_all_of_what_is_not_in_use_together():
    for seed in range(20):
        usage = np.random.default_rng(seed).choice([0.0, 0.1, 0.5, 0.9, 0.99, 1.0], 8)
        allocated = allocate(jnp.asarray(usage, float), jnp.ones(8, bool))
        np.testing.assert_allclose(allocated, oracle_dnc.allocation(usage), atol=1e-6)
        np.testing.assert_allclose(np.sum(allocated), 1 - np.prod(usage), rtol=1e-5)


def orders(num_writes=1, **changes):
    """Fields that do as told: all gates shut, reading by content, except for what `changes` says, a row a step."""
    shut = {name: np.full_like(array, -20.0) for name, array in make_fields((5, 3, 1, num_writes)).items()}
    shut |= {"key": np.zeros_like(shut["key"]), "add": np.zeros_like(shut["add"]), "content_mode": -shut["free"]}
    shut["strength"] = -shut["strength"]
    for name, rows in changes.items():
        rows = np.asarray(rows, float)
        shut[name][: len(rows)] = rows.reshape(len(rows), *shut[name].shape[1:])
    return shut


def follow_orders(num_writes, **changes):
    """Weightings and state of five slots of width 3, all blank at the start."""
    sizes = (5, 3, 1, num_writes)
    fields = pad_fields(orders(num_writes, **changes), sizes)
    _, weightings, _, state = unroll(fields, make_active(sizes), pad_memory(np.zeros((5, 3)), sizes))
    return np.asarray(weightings)[:, positions("head", sizes, PADDED), :5], state


THINGS = 3 * np.eye(3)
OPEN_3 = [[20]] * 3


def test_reading_moves_forward_and_back_along_what_was_written_in_order():
    # write three things into free slots; find the second by content, go on, go back, go back
    back, on, neither = [20, -20], [-20, 20], [-20, -20]
    weightings, _ = follow_orders(
        1,
        write_gate=OPEN_3,
        allocation=OPEN_3,
        add=THINGS,
        key=[[[0, 0, 0]] * 2] * 2 + [[THINGS[1], [0, 0, 0]]],
        content_mode=[[20], [20], [20], [-20], [-20], [-20]],
        link_mode=[neither, neither, neither, on, back, back],
    )
    np.testing.assert_allclose(weightings[:3, 1], np.eye(5)[[0, 1, 2]], atol=1e-5)
    np.testing.assert_allclose(weightings[2:, 0], np.eye(5)[[1, 2, 1, 0]], atol=1e-3)


def test_a_slot_that_is_let_go_of_after_reading_is_written_next():
    weightings, state = follow_orders(
        1,
        write_gate=[[20], [20], [20], [20]],
        allocation=[[20], [20], [20], [20]],
        add=[*THINGS, THINGS[0]],
        key=[[[0, 0, 0]] * 2] * 2 + [[THINGS[0], [0, 0, 0]]],
        free=[[-20], [-20], [-20], [20]],
    )
    np.testing.assert_allclose(weightings[2, 0], np.eye(5)[0], atol=1e-3)  # reads slot 0
    np.testing.assert_allclose(weightings[3, 1], np.eye(5)[0], atol=1e-2)  # and has it overwritten
    np.testing.assert_allclose(state.usage[4, :5], [1, 1, 1, 0, 0], atol=1e-2)


def test_write_heads_that_allocate_in_one_step_take_different_slots():
    gates = [[20, 20]] * 2
    weightings, state = follow_orders(2, write_gate=gates, allocation=gates, add=[THINGS[:2], THINGS[:2]])
    np.testing.assert_allclose(weightings[0, 1:], np.eye(5)[[0, 1]], atol=1e-5)
    np.testing.assert_allclose(weightings[1, 1:], np.eye(5)[[2, 3]], atol=1e-5)
    # each links what it wrote itself
    for head, (first, second) in enumerate([(0, 2), (1, 3)]):
        np.testing.assert_allclose(state.link[1, head], np.outer(np.eye(7)[second], np.eye(7)[first]), atol=1e-5)


@pytest.mark.parametrize("sparse_links", [2, PADDED[0]])
def test_sparse_links_are_those_of_a_plain_dnc_and_with_every_slot_the_dense_ones(sparse_links):
    sizes = ARCHITECTURES["three write heads"]
    fields, rows = make_fields(sizes), make_memory(sizes)
    with jax.enable_x64(True):
        arguments = pad_fields(fields, sizes), make_active(sizes), pad_memory(rows, sizes)
        history = unroll(*arguments, sparse_links=sparse_links)
        assert_is_plain(history, oracle_dnc.run(fields, rows, sparse_links), sizes)
        dense = unroll(*arguments)
    links, dense_links = history[3].link, dense[3].link
    if sparse_links == sizes[0]:
        np.testing.assert_allclose(links, dense_links, rtol=1e-12, atol=1e-12)
    else:
        assert np.count_nonzero(links[1]) <= 3 * sparse_links**2 < np.count_nonzero(dense_links[1])


def test_a_negative_number_of_sparse_links_is_refused():
    active = make_active(PADDED)
    fields, memory = pad_fields(make_fields(PADDED), PADDED), pad_memory(make_memory(PADDED), PADDED)
    with pytest.raises(ValueError, match="sparse_links must be at least 0, got -1"):
        unroll(fields, active, memory, sparse_links=-1)


def test_what_a_step_stores_for_the_backward_pass_is_little_more_than_one_set_of_links():
    sizes = (32, 4, 2, 1)
    active, fields = make_active(sizes, sizes), pad_fields(make_fields(sizes), sizes, sizes)

    def stored(*fields):
        _, backward = jax.vjp(lambda f: value(f, active, memory)[0], *fields)
        return backward

    memory = pad_memory(make_memory(sizes), sizes, sizes)
    leaves = jax.tree.leaves(jax.eval_shape(stored, fields))
    links = NUM_STEPS * sizes[0] ** 2
    assert links <= sum(leaf.size for leaf in leaves) < 3 * links


def test_the_table_has_an_array_for_every_field_of_its_own_and_heads_that_are_new_change_next_to_nothing():
    shared = {"key", "strength", "erase", "add"}
    named = {name.rsplit("_", 1)[0] for name in PARAMETERS["dnc"]}
    assert named == {field.name for field in fields_of(DNCFields)} - shared
    for name, axes in AXES.items():
        if name not in shared:
            assert PARAMETERS["dnc"][f"{name}_bias"].axes == axes
            assert PARAMETERS["dnc"][f"{name}_kernel"].axes == ("unit", *axes)

    # one head more of each kind, its fields at what the table says of a new one
    small, large = (6, 3, 1, 1), (6, 3, 2, 2)
    fields, rows = make_fields(small), make_memory(small)
    more = make_fields(large, 7)
    for name, axes in AXES.items():
        if name not in shared:
            parameter = PARAMETERS["dnc"][f"{name}_bias"]
            for closed in parameter.closed_axes:
                kernel = PARAMETERS["dnc"][f"{name}_kernel"]
                assert closed + 1 in kernel.closed_axes  # so that the bias alone decides
                more[name].swapaxes(0, closed + 1)[1:] = value_of(parameter.closed, {})
        old = np.ix_(
            np.arange(NUM_STEPS), *([0, 2] if axis == "head" else np.arange(lengths(small)[axis]) for axis in axes)
        )
        more[name][old] = fields[name]
    more["erase"][:, 1], more["add"][:, 1] = -10, 0  # as PARAMETERS has it
    before = unroll(pad_fields(fields, small), make_active(small), pad_memory(rows, small))
    after = unroll(pad_fields(more, large), make_active(large), pad_memory(rows, large))
    np.testing.assert_allclose(after[2][:, 0], before[2][:, 0], atol=2e-3)
    np.testing.assert_allclose(after[0], before[0], atol=2e-3)
