import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import all_finite, assert_trees_equal, partial_active
from oracle_hard_tape import Tape

from etm_jax.cells import PARAMETERS
from etm_jax.cells._hard_tape import HardTapeFields, HardTapeState, hard_tape_step, initial_hard_tape
from etm_jax.cells._kinds import value_of

# slots, width, read heads, write heads
PADDED = (6, 3, 3, 4)
ARCHITECTURES = {
    "one head": (5, 3, 1, 1),
    "three heads": (6, 2, 3, 3),
    "write heads without a partner": (4, 3, 1, 3),
    "a read head without a partner": (4, 1, 3, 2),
    "one slot": (1, 2, 1, 1),
    "two slots": (2, 2, 2, 2),
}
NUM_STEPS = 24  # enough to fill the tape and go round
WIDTHS = {"add": None, "write_gate": 0, "jump": 0, "shift": 3}  # numbers after the axis of write heads


def make_active(sizes):
    masks = {
        axis: jnp.arange(size) < count
        for axis, count, size in zip(("slot", "width", "read", "write"), sizes, PADDED, strict=True)
    }
    return partial_active(**masks)


def make_fields(num_writes, width, seed=0, num_steps=NUM_STEPS):
    """NumPy arrays of exact sizes, a row a step."""
    draws = np.random.default_rng(seed)
    shapes = {"add": (width,), "write_gate": (), "jump": (), "shift": (3,)}
    fields = {name: 2 * draws.normal(size=(num_steps, num_writes, *shape)) for name, shape in shapes.items()}
    fields["shift"] += [0, 0, 1]  # else heads seldom get anywhere
    return fields


def pad_fields(fields, fill=0.0):
    def pad(name, array):
        whole = {"add": (PADDED[3], PADDED[1]), "shift": (PADDED[3], 3)}.get(name, (PADDED[3],))
        held = np.full((len(array), *whole), fill)
        held[tuple(slice(size) for size in array.shape)] = array
        return jnp.asarray(held, float)

    return HardTapeFields(**{name: pad(name, array) for name, array in fields.items()})


def start(sizes):
    """A blank memory, [width slot], and every head that exists on slot 0."""
    active = make_active(sizes)
    return jnp.zeros((PADDED[1], PADDED[0])), active.head[:, None] * jnp.eye(PADDED[0])[:1]


@jax.jit
def unroll(fields, active, memory, weightings, min_similarity=0.0):
    """Memory, weightings, reads and state after every step."""

    def step(carry, fields):
        memory, weightings, reads, state = hard_tape_step(fields, active, *carry, min_similarity=min_similarity)
        return (memory, weightings, state), (memory, weightings, reads, state)

    return jax.lax.scan(step, (memory, weightings, initial_hard_tape()), fields)[1]


def assert_is_plain(history, fields, sizes, min_similarity=0.0):
    """Equal to a tape that really grows, step by step, and 0 in all that is not on it."""
    num_slots, width, num_reads, num_writes = sizes
    num_heads = min(num_reads, num_writes)
    memories, weightings, reads, state = jax.tree.map(np.asarray, history)
    tape = Tape(width, num_heads, num_slots, min_similarity=min_similarity)
    for time in range(len(fields["jump"])):
        wrote = [(place + tape.lowest) % num_slots for place in tape.heads]
        expected = tape.step({name: rows[time][:num_heads] for name, rows in fields.items()})
        assert (state.lowest[time], state.highest[time]) == (tape.lowest, tape.lowest + len(tape.slots) - 1)
        held, shown = np.zeros(memories.shape[1:]), np.zeros(reads.shape[1:])
        for place, slot in enumerate(tape.slots):
            held[:width, (place + tape.lowest) % num_slots] = slot
        shown[:num_heads, :width] = expected
        np.testing.assert_allclose(memories[time], held, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(reads[time], shown, rtol=1e-10, atol=1e-12)
        stands = [(place + tape.lowest) % num_slots for place in tape.heads]
        heads = np.zeros(weightings.shape[1:])
        heads[np.arange(num_heads), stands] = 1
        heads[PADDED[2] + np.arange(num_heads), wrote] = 1
        np.testing.assert_array_equal(weightings[time], heads)
    return tape


@pytest.mark.parametrize("min_similarity", [0.0, 0.8])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padded_steps_are_those_of_a_plain_tape(name, min_similarity):
    sizes = ARCHITECTURES[name]
    full = 0
    with jax.enable_x64(True):
        for seed in range(4):
            fields = make_fields(sizes[3], sizes[1], seed)
            history = unroll(pad_fields(fields), make_active(sizes), *start(sizes), min_similarity)
            full += len(assert_is_plain(history, fields, sizes, min_similarity).slots) == sizes[0]
    assert full > 0  # some tapes have met their end


def test_garbage_where_nothing_exists_changes_nothing_and_gets_no_gradient():
    sizes = (4, 2, 1, 2)
    active, fields = make_active(sizes), make_fields(2, 2)

    @jax.jit
    @jax.value_and_grad
    def outcome(arguments):
        fields, memory = arguments
        memories, weightings, reads, _ = unroll(fields, active, memory, start(sizes)[1])
        return jnp.sum(memories**2) + jnp.sum(reads**3) + jnp.sum(weightings)

    exists = np.outer(np.arange(3) < 2, np.arange(6) < 4)
    clean, dirty = (
        outcome((pad_fields(fields, fill), jnp.asarray(np.where(exists, 0.25, fill), float))) for fill in (0.0, np.nan)
    )
    assert all_finite(clean)
    assert_trees_equal(dirty, clean)
    by_fields, by_memory = dirty[1]
    assert not np.any(by_fields.add[:, 1:])  # the second write head has no partner
    assert not np.any(by_fields.add[:, :, 2:])
    assert np.all(np.any(np.asarray(by_fields.add[:-1, 0, :2]) != 0, axis=0))
    assert np.any(by_fields.write_gate[:, 0])
    assert not np.any(by_fields.jump)  # a choice
    assert not np.any(by_fields.shift)
    assert not np.any(np.asarray(by_memory)[~exists])


def test_gradients_of_what_is_written_are_the_slopes_of_a_plain_tape():
    sizes = (5, 3, 2, 2)
    fields = make_fields(2, 3, 5)

    def plain(fields):
        tape = Tape(3, 2, 5)
        reads = [tape.step({name: rows[time] for name, rows in fields.items()}) for time in range(NUM_STEPS)]
        return np.sum(np.square(reads))

    with jax.enable_x64(True):
        arguments = make_active(sizes), *start(sizes)
        by_fields = jax.jit(jax.grad(lambda f: jnp.sum(unroll(f, *arguments)[2] ** 2)))(pad_fields(fields))
    for name in ("add", "write_gate"):
        direction = np.random.default_rng(0).normal(size=fields[name].shape)
        up, down = (plain({**fields, name: fields[name] + sign * 1e-6 * direction}) for sign in (1, -1))
        along = np.sum(
            np.asarray(getattr(by_fields, name)) * np.asarray(getattr(pad_fields({**fields, name: direction}), name))
        )
        np.testing.assert_allclose(along, (up - down) / 2e-6, rtol=1e-5)


def orders(*steps, num_writes=1):
    """Fields of heads that write nothing, do not jump and stay, except for what the dict of each step says.

    Always NUM_STEPS of them, so that one compile serves every test.
    """
    steps += ({},) * (NUM_STEPS - len(steps))
    quiet = {"add": np.full((num_writes, 3), -20.0), "write_gate": np.full(num_writes, -20.0)}
    quiet |= {"jump": np.full(num_writes, -20.0), "shift": np.tile([0.0, 1.0, 0.0], (num_writes, 1))}
    rows = [{name: np.reshape(step.get(name, each), each.shape) for name, each in quiet.items()} for step in steps]
    return {name: np.stack([row[name] for row in rows]) for name in quiet}


def follow_orders(*steps, num_slots=5, num_heads=1, min_similarity=0.0):
    """Where every read head stands after each step, what the first one reads, and the last state."""
    sizes = (num_slots, 3, num_heads, num_heads)
    fields = pad_fields(orders(*steps, num_writes=num_heads))
    _, weightings, reads, state = unroll(fields, make_active(sizes), *start(sizes), min_similarity)
    stands = np.argmax(weightings[: len(steps), :num_heads], axis=-1)
    last = jax.tree.map(lambda ends: ends[-1], state)
    return stands.squeeze(1) if num_heads == 1 else stands, np.asarray(reads[: len(steps), 0]), last


ON, BACK = {"shift": [0, 0, 9]}, {"shift": [9, 0, 0]}
RED, GREEN = np.array([20.0, -20, -20]), np.array([-20.0, 20, -20])


def write(vector, **more):
    return {"add": vector, "write_gate": 20.0, **more}


def test_a_full_tape_wraps_at_its_ends_only():
    stands, _, state = follow_orders(*[ON] * 3, BACK, ON, ON, BACK, num_slots=3)
    np.testing.assert_array_equal(stands, [1, 2, 0, 2, 0, 1, 0])
    assert (state.lowest, state.highest) == (0, 2)
    stands, _, state = follow_orders(BACK, ON, ON, BACK, BACK, BACK, num_slots=3)  # it grows at both ends
    np.testing.assert_array_equal(stands, [2, 0, 1, 0, 2, 1])
    assert (state.lowest, state.highest) == (-1, 1)


def test_of_equal_moves_the_first_is_taken_which_is_back():
    stands, _, _ = follow_orders({"shift": [0, 0, 0]}, {"shift": [-1, 3, 3]})
    np.testing.assert_array_equal(stands, [4, 4])


def test_a_jump_goes_to_the_most_similar_slot_and_of_equal_ones_to_the_first_of_the_tape():
    # red, red, green in a row: the first red is on slot 4, before slot 0
    stands, reads, _ = follow_orders(
        write(RED, **ON), write(GREEN, **BACK), BACK, write(RED), {"add": GREEN, "jump": 0.0}, {"add": RED, "jump": 0.0}
    )
    np.testing.assert_array_equal(stands, [1, 0, 4, 4, 1, 4])
    np.testing.assert_allclose(reads[-2:], [[0, 1, 0], [1, 0, 0]], atol=1e-6)


def test_just_below_a_half_is_no_jump():
    stands, _, _ = follow_orders(write(RED, **ON), ON, {"add": RED, "jump": -1e-6}, {"add": RED, "jump": 0.0})
    np.testing.assert_array_equal(stands, [1, 2, 2, 0])


def test_a_jump_goes_after_the_write_so_that_an_open_gate_leads_to_the_first_slot_like_the_vector():
    stands, _, _ = follow_orders(ON, ON, write(RED, jump=0.0))
    np.testing.assert_array_equal(stands, [1, 2, 2])


@pytest.mark.parametrize(("min_similarity", "goal"), [(0.0, 0), (0.5, 0), (0.7, 2)])
def test_a_jump_to_nothing_similar_enough_goes_to_the_end_of_the_tape(min_similarity, goal):
    # the tape: red, blank, blank; red and green differ in two of three numbers, blank and green in one
    seek = {"add": np.array([20.0, 20, -20]), "jump": 0.0}  # 2/3 like red, 1/3 like blank
    stands, _, _ = follow_orders(write(RED, **ON), ON, BACK, seek, min_similarity=min_similarity)
    np.testing.assert_array_equal(stands, [1, 2, 1, goal])


def test_a_jump_never_leaves_the_tape():
    # blank is what is looked for, and slots beyond the tape are blank; the only slot of the tape is red
    stands, _, _ = follow_orders(write(RED), {"jump": 0.0})
    np.testing.assert_array_equal(stands, [0, 0])


def test_heads_share_the_tape_write_in_order_and_read_what_the_others_wrote():
    both = {"add": np.stack([RED, GREEN]), "write_gate": [20.0, 0.0]}  # the second writes half
    _, reads, _ = follow_orders(both, num_heads=2)
    np.testing.assert_allclose(reads[0], [0.5, 0.5, 0], atol=1e-6)
    parting = {"shift": [[0, 0, 9], [9, 0, 0]]}
    stands, _, state = follow_orders(parting, parting, parting, num_heads=2)
    np.testing.assert_array_equal(stands, [[1, 4], [2, 3], [3, 2]])
    assert (state.lowest, state.highest) == (-2, 2)


def test_the_state_keeps_its_types():
    for x64, dtype in ((False, "float32"), (True, "float64")):
        with jax.enable_x64(x64):
            sizes = ARCHITECTURES["one head"]
            fields = jax.tree.map(lambda rows: rows[0], pad_fields(make_fields(1, 3)))
            memory, weightings = start(sizes)
            outcome = jax.eval_shape(
                hard_tape_step, fields, make_active(sizes), memory, weightings, initial_hard_tape()
            )
            assert [leaf.dtype.name for leaf in jax.tree.leaves(outcome)] == [dtype] * 3 + ["int32"] * 2


def test_a_new_head_by_the_table_changes_next_to_nothing():
    table = PARAMETERS["hard_tape"]
    assert {name.rsplit("_", 1)[0] for name in table} == set(HardTapeFields.__dataclass_fields__) - {"add"}
    fields = make_fields(1, 3)
    more = {name: np.repeat(array, 2, axis=1) for name, array in fields.items()}
    for name in ("write_gate", "jump", "shift"):
        assert 1 in table[f"{name}_kernel"].closed_axes  # so that the bias alone decides
        assert table[f"{name}_bias"].closed_axes == (0,)
        more[name][:, 1] = value_of(table[f"{name}_bias"].closed, {"move": 3})
    more["add"][:, 1] = 0
    before = unroll(pad_fields(fields), make_active((5, 3, 1, 1)), *start((5, 3, 1, 1)))
    after = unroll(pad_fields(more), make_active((5, 3, 2, 2)), *start((5, 3, 2, 2)))
    np.testing.assert_array_equal(after[1][:, 0], before[1][:, 0])
    np.testing.assert_allclose(after[0], before[0], atol=2e-3)
    assert_trees_equal(after[3], before[3])


def test_an_empty_state_is_a_tape_of_one_slot():
    assert_trees_equal(initial_hard_tape(), HardTapeState(lowest=np.int32(0), highest=np.int32(0)))
