import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etm_jax import ae
from etm_jax.ae import machine, tape, tape_tasks

NUM_SLOTS, WIDTH, SHIFT_RANGE = 7, 3, 2
NEVER = machine.halt_when(loss_below=-np.inf)


def make_tape(seed=0):
    draws = np.random.default_rng(seed)
    pointer = draws.uniform(0.1, 1.0, NUM_SLOTS)
    return draws.normal(size=(NUM_SLOTS, WIDTH)), pointer / pointer.sum()


def as_tape(cells, pointer):
    return tape.Tape(jnp.asarray(cells, float), jnp.asarray(pointer, float))


def plain_move(pointer, logits, sharpness):
    shifts = np.exp(logits - np.max(logits))
    shifts /= shifts.sum()
    shift_range = len(logits) // 2
    moved = np.zeros_like(pointer)
    for slot in range(len(pointer)):
        for k, share in enumerate(shifts):
            moved[(slot + k - shift_range) % len(pointer)] += share * pointer[slot]
    powers = moved ** (1 + np.log1p(np.exp(sharpness)))
    return powers / powers.sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_read_write_and_move_are_those_of_a_plain_tape(seed):
    cells, pointer = make_tape(seed)
    draws = np.random.default_rng(seed + 10)
    value, logits = draws.normal(size=WIDTH), draws.normal(size=2 * SHIFT_RANGE + 1)
    gate, sharpness = draws.uniform(), draws.normal()
    with jax.enable_x64(True):
        ours = as_tape(cells, pointer)
        np.testing.assert_allclose(tape.read(ours), sum(p * cell for p, cell in zip(pointer, cells, strict=True)))
        written = tape.write(ours, jnp.asarray(value), gate)
        rows = [(1 - gate * p) * cell + gate * p * value for p, cell in zip(pointer, cells, strict=True)]
        np.testing.assert_allclose(written.cells, rows, rtol=1e-12)
        np.testing.assert_array_equal(written.pointer, pointer)
        moved = tape.move(ours, jnp.asarray(logits), sharpness)
        np.testing.assert_allclose(moved.pointer, plain_move(pointer, logits, sharpness), rtol=1e-9)
        np.testing.assert_array_equal(moved.cells, cells)
        start = np.eye(NUM_SLOTS)[0]
        np.testing.assert_allclose(tape.rewind(ours, gate).pointer, (1 - gate) * pointer + gate * start, rtol=1e-12)


@pytest.mark.parametrize("distance", range(-SHIFT_RANGE, SHIFT_RANGE + 1))
@pytest.mark.parametrize("slot", [0, 3, NUM_SLOTS - 1])
def test_a_sharp_pointer_moves_exactly(slot, distance):
    logits = jnp.where(jnp.arange(2 * SHIFT_RANGE + 1) == SHIFT_RANGE + distance, 20.0, -20.0)
    moved = tape.move(as_tape(np.zeros((NUM_SLOTS, WIDTH)), np.eye(NUM_SLOTS)[slot]), logits, 5.0)
    np.testing.assert_allclose(moved.pointer, np.eye(NUM_SLOTS)[(slot + distance) % NUM_SLOTS], atol=1e-6)


def test_the_pointer_stays_a_distribution():
    logits, sharpness = np.random.default_rng(0).normal(size=(50, 5)) * 5, np.linspace(-20, 20, 50)

    def step(now, inputs):
        now = tape.move(now, *inputs)
        return now, now.pointer

    inputs = (jnp.asarray(logits, jnp.float32), jnp.asarray(sharpness, jnp.float32))
    _, pointers = jax.lax.scan(step, tape.blank_tape(NUM_SLOTS, WIDTH), inputs)
    assert float(jnp.min(pointers)) >= 0
    np.testing.assert_allclose(pointers.sum(axis=1), 1.0, atol=1e-5)


def test_what_is_written_is_read_and_nothing_else_changes():
    cells, _ = make_tape()
    ours = as_tape(cells, np.eye(NUM_SLOTS)[2])
    written = tape.write(ours, jnp.arange(3.0))
    np.testing.assert_array_equal(tape.read(written), np.arange(3.0))
    np.testing.assert_array_equal(np.delete(written.cells, 2, 0), np.delete(ours.cells, 2, 0))
    np.testing.assert_array_equal(tape.write(ours, jnp.arange(3.0), 0.0).cells, ours.cells)


def episode(cells, pointer, value, logits, gate, sharpness):
    """A number that depends on everything the tape does."""
    now = tape.write(tape.Tape(cells, pointer), value, jax.nn.sigmoid(gate))
    now = tape.move(tape.rewind(tape.move(now, logits, sharpness), 0.3), -logits, sharpness)
    now = tape.write(now, 2 * value, jax.nn.sigmoid(-gate))
    return jnp.sum(tape.read(now) * jnp.arange(1, WIDTH + 1)) + jnp.sum(now.cells**2)


def test_gradients_are_finite_differences():
    draws = np.random.default_rng(5)
    arguments = [*make_tape(), draws.normal(size=WIDTH), draws.normal(size=5), np.array(0.3), np.array(-0.2)]
    with jax.enable_x64(True):
        arguments = [jnp.asarray(argument) for argument in arguments]
        gradients = jax.jit(jax.grad(episode, argnums=range(6)))(*arguments)
        probe, step = jax.jit(episode), 1e-5
        for i, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
            slopes = np.zeros(argument.size)
            for j in range(argument.size):
                bump = step * np.eye(argument.size)[j].reshape(argument.shape)
                up, down = [[*arguments[:i], argument + sign * bump, *arguments[i + 1 :]] for sign in (1, -1)]
                slopes[j] = (probe(*up) - probe(*down)) / (2 * step)
            np.testing.assert_allclose(gradient.ravel(), slopes, rtol=1e-6, atol=1e-8)


def test_no_gradient_is_nan_at_the_extremes():
    gradient = jax.jit(jax.grad(episode, argnums=range(6)))
    one_hot, zeros, flat = np.eye(NUM_SLOTS)[1], np.zeros(NUM_SLOTS), np.full(NUM_SLOTS, 1 / NUM_SLOTS)
    for pointer in (one_hot, zeros, flat):
        for logits in (np.full(5, 20.0), np.array([-20.0, -20, 20, -20, -20]), np.array([20.0, -20, 20, -20, 20])):
            for gate, sharpness in ((20.0, 20.0), (-20.0, 20.0), (20.0, -20.0)):
                numbers = [np.ones((NUM_SLOTS, WIDTH)), pointer, np.ones(WIDTH), logits, gate, sharpness]
                slopes = gradient(*[jnp.asarray(number, jnp.float32) for number in numbers])
                assert all(bool(jnp.all(jnp.isfinite(slope))) for slope in slopes), (pointer, logits, gate, sharpness)


def test_the_gradient_of_a_move_has_no_scatter():
    def probe(pointer, logits):
        return jnp.sum(tape.move(tape.Tape(jnp.zeros((NUM_SLOTS, 1)), pointer), logits, 0.0).pointer ** 2)

    text = str(jax.make_jaxpr(jax.grad(probe, argnums=(0, 1)))(jnp.ones(NUM_SLOTS), jnp.ones(5)))
    assert "gather" not in text and "scatter" not in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tape.blank_tape(0, 2), "num_slots must be at least 1, got 0"),
        (lambda: tape.move(tape.blank_tape(4, 2), jnp.zeros(2), 0.0), "odd length"),
        (lambda: tape.move(tape.blank_tape(4, 2), jnp.zeros((1, 3)), 0.0), "odd length"),
        (lambda: tape.move(tape.blank_tape(2, 2), jnp.zeros(3), 0.0), "got 3 for 2 slots"),
        (lambda: tape.write(tape.blank_tape(4, 2), jnp.zeros(3)), r"must have shape \(2,\)"),
        (lambda: machine.halt_when(), "needs a threshold"),
        (lambda: machine.halt_when(step_below=1e-3), "belong together"),
        (lambda: machine.halt_when(loss_below=1.0, variance_below=0.1), "belong together"),
        (lambda: machine.halt_when(loss_below=1.0, min_steps=5), "at least 12"),
        (lambda: run_quadratic(patience=0), "patience must be at least 1"),
        (lambda: run_quadratic(max_steps=0), "max_steps must be at least 1"),
        (lambda: run_quadratic(plant=lambda x, memory, seen: (x, memory)), "must be a scalar"),
        (lambda: run_quadratic(plant=lambda x, memory, seen: (jnp.sum(x), jnp.ones(2))), "shapes and dtypes"),
        (lambda: run_quadratic(tx=optax.adam(0.1)), "must hold one AEState"),
        (lambda: tape_tasks.shift_task(3), "shift_range"),
        (lambda: tape_tasks.copy_task(num_slots=5), "num_slots must be at least"),
        (lambda: tape_tasks.copy_task(width=0), "width must be at least 1"),
    ],
)
def test_mistakes_are_named_before_tracing(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def quadratic(x, memory, seen):
    """A loss of 0 at 3, and a memory that counts what was done and holds where it was."""
    target, factor = seen
    return factor * jnp.sum((x - target) ** 2), {"count": memory["count"] + 1, "last": factor * x}


def clean(key, step):
    del key, step
    return jnp.full(2, 3.0), jnp.ones(())


def noisy_with_a_nan(key, step):
    return 3.0 + 0.1 * jax.random.normal(key, (2,)), jnp.where(step == 7, jnp.nan, 1.0)


def make_memory():
    return {"count": jnp.zeros((), jnp.int32), "last": jnp.zeros(2)}


@functools.partial(jax.jit, static_argnames=("plant", "sample", "tx", "halt", "patience", "max_steps"))
def run_quadratic(
    learning_rate=1e-2,
    key=None,
    *,
    plant=quadratic,
    sample=clean,
    tx=None,
    halt=NEVER,
    patience=10,
    max_steps=60,
    start=0.0,
):
    it = machine.Machine(plant, sample, ae.ae_adam(learning_rate) if tx is None else tx, halt, patience)
    key = jax.random.key(0) if key is None else key
    return machine.run(it, key, jnp.full(2, start), make_memory(), max_steps=max_steps)


@pytest.mark.parametrize(
    "halt",
    [
        machine.halt_when(loss_below=1e-3),
        machine.halt_when(loss_below=-1.0, step_below=1e-3, variance_below=0.5),
    ],
    ids=["goal", "rest"],
)
def test_it_halts_early_once_the_quadratic_is_solved(halt):
    result = run_quadratic(1e-5, halt=halt, max_steps=1500)
    assert bool(result.halted)
    assert 20 <= int(result.steps) < 1000
    np.testing.assert_allclose(result.params, 3.0, atol=0.05)
    assert int(result.memory["count"]) == int(result.steps)
    np.testing.assert_array_equal(result.trace["valid"], np.arange(1500) < int(result.steps))
    for name, column in result.trace.items():
        assert column.shape == (1500,), name
        assert not np.any(column[int(result.steps) :]), name
    assert float(result.trace["loss"][0]) == 18.0


@pytest.mark.parametrize(("sample", "patience", "steps"), [(clean, 1, 12), (noisy_with_a_nan, 5, 17)])
def test_it_never_halts_before_the_filters_are_warm(sample, patience, steps):
    halt = machine.halt_when(loss_below=np.inf, step_below=np.inf, variance_below=np.inf, min_steps=12)
    result = run_quadratic(halt=halt, sample=sample, patience=patience)
    assert int(result.steps) == steps  # a skipped step warms nothing


def test_small_steps_do_not_halt_it_while_the_loss_is_unstable():
    state = ae.ae_adam().init(jnp.zeros(2))
    calm = state._replace(
        filters=state.filters._replace(loss_fast=jnp.ones(()), steps=jnp.full((), 50.0)),
        signals=state.signals._replace(effective_step=jnp.full((), 1e-4), variance=jnp.full((), 0.1)),
    )
    halt = machine.halt_when(loss_below=0.5, step_below=1e-3, variance_below=0.3)
    assert bool(halt(calm))
    assert not bool(halt(calm._replace(signals=calm.signals._replace(variance=jnp.full((), 0.9)))))
    assert not bool(halt(calm._replace(signals=calm.signals._replace(effective_step=jnp.full((), 1e-2)))))
    assert not bool(halt(calm._replace(filters=calm.filters._replace(steps=jnp.full((), 19.0)))))


def test_it_does_what_a_python_loop_does():
    tx, x, memory, key = ae.ae_adam(1e-2), jnp.zeros(2), make_memory(), jax.random.key(4)
    state, rows = tx.init(x), []

    @jax.jit
    def step(x, state, memory, t):
        seen = noisy_with_a_nan(jax.random.fold_in(key, t), t)
        (loss, after), gradient = jax.value_and_grad(quadratic, has_aux=True)(x, memory, seen)
        updates, state = tx.update(gradient, state, x, value=loss)
        return optax.apply_updates(x, updates), state, after, loss

    for t in range(40):
        x, state, after, loss = step(x, state, memory, t)
        memory = memory if np.isnan(loss) else after
        rows.append({"loss": loss, **ae.monitor(state)})
    result = run_quadratic(1e-2, key, sample=noisy_with_a_nan, max_steps=40)
    np.testing.assert_allclose(result.params, x, rtol=1e-5)
    np.testing.assert_allclose(result.memory["last"], memory["last"], rtol=1e-5)
    assert not bool(result.halted) and int(result.steps) == 40
    assert set(result.trace) == {*rows[0], "filtered_loss", "valid"}
    for name in rows[0]:
        np.testing.assert_allclose(result.trace[name], [row[name] for row in rows], rtol=1e-4, atol=1e-5, err_msg=name)


def test_vmap_is_a_loop():
    halt = machine.halt_when(loss_below=0.05)
    solve = functools.partial(run_quadratic, sample=noisy_with_a_nan, halt=halt, max_steps=400)
    rates, keys = jnp.asarray([1e-5, 1e-2, 10.0]), jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(solve)(rates, keys)
    assert len(set(together.steps.tolist())) == 3 and bool(jnp.all(together.halted))
    for i in range(3):
        one = solve(rates[i], keys[i])
        assert int(one.steps) == int(together.steps[i])
        for got, wanted in ((together.params[i], one.params), (together.memory["last"][i], one.memory["last"])):
            np.testing.assert_allclose(got, wanted, rtol=1e-3)
        assert int(together.memory["count"][i]) == int(one.memory["count"]) == int(one.steps) - 1
        np.testing.assert_allclose(together.trace["loss"][i], one.trace["loss"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "tx",
    [ae.ae_sgdm(1e-2), optax.chain(optax.scale_by_adam(), ae.scale_by_ae(1e-2))],
    ids=["sgdm", "adam before the laws"],
)
def test_a_nan_is_skipped_and_counted(tx):
    result = run_quadratic(tx=tx, sample=noisy_with_a_nan, max_steps=300)
    skipped = result.trace["skipped"]
    assert int(result.steps) == 300 and np.isnan(result.trace["loss"][7])
    np.testing.assert_array_equal(skipped, np.arange(300) >= 7)
    assert int(result.memory["count"]) == 299 and np.all(np.isfinite(result.memory["last"]))
    finite = {name: column for name, column in result.trace.items() if name != "loss"}
    assert all(np.all(np.isfinite(column)) for column in finite.values())
    assert np.sum(np.isnan(result.trace["loss"])) == 1
    np.testing.assert_allclose(result.params, 3.0, atol=0.3)


def test_a_gradient_or_a_memory_that_is_not_finite_is_not_taken_over():
    def bad_slope(x, memory, seen):
        """A finite loss whose slope is infinite wherever the factor is NaN."""
        loss, memory = quadratic(x, memory, (seen[0], jnp.ones(())))
        zero = x - jax.lax.stop_gradient(x)
        return loss + jnp.sum(jnp.sqrt(jnp.where(jnp.isnan(seen[1]), zero, 1.0 + zero))), memory

    def bad_memory(x, memory, seen):
        loss, after = quadratic(x, memory, (seen[0], jnp.ones(())))
        return loss, {"count": after["count"], "last": seen[1] * x}

    slope = run_quadratic(plant=bad_slope, sample=noisy_with_a_nan)
    memory = run_quadratic(plant=bad_memory, sample=noisy_with_a_nan)
    for result, skipped in ((slope, 1), (memory, 0)):
        assert int(ae.find(result.opt_state).skipped) == skipped
        assert int(result.memory["count"]) == 59 and np.all(np.isfinite(result.memory["last"]))
        assert np.all(np.isfinite(result.params)) and np.all(np.isfinite(result.trace["loss"]))


COPY, SHIFT = tape_tasks.copy_task(), tape_tasks.shift_task(2)


def sharp(distance):
    return jnp.where(jnp.arange(-2, 3) == distance, 20.0, -20.0)


@pytest.mark.parametrize("shift", [-2, 1])
def test_the_program_written_by_hand_moves_the_tape(shift):
    task = tape_tasks.shift_task(shift)
    program = tape_tasks.Program(
        shift_logits=jnp.stack([sharp(1), sharp(-shift), sharp(1)]),  # what moves forwards is read from further back
        sharpness=jnp.full(3, 5.0),
        write_gate=jnp.full((), 20.0),
        rewind_gate=jnp.full((), 20.0),
        encode=jnp.eye(task.width),
        decode=jnp.eye(task.width),
    )

    @jax.jit
    def probe(program, key):
        tape, seen = tape_tasks.initial_memory(task), tape_tasks.sampler(task)(key, 0)
        loss, after = tape_tasks.plant(program, tape, seen)
        return seen, loss, after, tape_tasks.accuracy(task, program, key)

    (symbols, wanted), loss, after, accuracy = probe(program, jax.random.key(1))
    assert symbols.shape == (16, 6, 4) and after.cells.shape == (8, 4)
    for i in range(8):  # slot i of what comes out held symbol i - shift, if there was one
        source = (i - shift) % 8
        np.testing.assert_array_equal(wanted[:, i], symbols[:, source] if source < 6 else np.zeros((16, 4)))
    assert float(loss) < 1e-8 and float(accuracy) == 1.0


@functools.cache
def solver():
    """Learns copy or shift; one function for both, as compiling it takes most of the time."""
    key_init, key_run = jax.random.split(jax.random.key(0))

    def solve(learning_rate, shifted):
        def sample(key, step):
            pairs = zip(tape_tasks.sampler(SHIFT)(key, step), tape_tasks.sampler(COPY)(key, step), strict=True)
            return tuple(jnp.where(shifted, one, other) for one, other in pairs)

        halt = machine.halt_when(loss_below=2e-3)
        it = machine.Machine(tape_tasks.plant, sample, ae.ae_adam(learning_rate), halt)
        program, memory = tape_tasks.initial_program(COPY, key_init), tape_tasks.initial_memory(COPY)
        result = machine.run(it, key_run, program, memory, max_steps=500)
        return result.params, result.steps, result.halted

    return jax.jit(solve)


@pytest.mark.parametrize("learning_rate", [1e-5, 10.0])
@pytest.mark.parametrize("task", [COPY, SHIFT], ids=["copy", "shift"])
def test_the_machine_learns_tape_programs_from_absurd_learning_rates(task, learning_rate):
    program, steps, halted = solver()(learning_rate, task == SHIFT)
    assert bool(halted) and int(steps) < 400
    accuracy = jax.jit(functools.partial(tape_tasks.accuracy, task))
    assert [float(accuracy(program, key)) for key in jax.random.split(jax.random.key(9), 5)] == [1.0] * 5
