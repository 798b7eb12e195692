"""Copy and fixed shift on the tape: the smallest plants (systems) that must learn to use a memory.

A program runs over the tape in three phases. It *writes* the symbols one by one, *turns* (rewinds and moves once), and
*reads* the whole tape. The pointer shifts of each phase, the gates, and the maps between symbols and cells are learned.
The target output is the content of the tape, shifted by a fixed number of slots.

There are local minima in which two phases move the pointer differently. With the default sizes few programs get stuck
on copy and forward shifts, about half on a shift of one slot backwards, and nearly all on two slots backwards. So run
several keys under `vmap`.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from etm_jax.ae.machine import Environment
from etm_jax.ae.tape import Tape, blank_tape, move, read, rewind, write

PHASES = ("write", "turn", "read")
WRITE = 0
TURN = 1
READ = 2
# With larger initial logits a program starts with a strong direction, often a wrong one, and keeps it.
LOGIT_SCALE = 0.1  # scale of the initial shift logits
MAP_SCALE = 0.3  # scale of the initial maps
REWIND_LOGIT = 2.0  # initially rewinds almost fully; from a half-open gate it rarely learns to


class Program(NamedTuple):
    """Parameters of the plant; `phase` in the order of `PHASES`.

    Attributes:
        shift_logits: `[phase, 2S + 1]`, pointer shifts.
        sharpness: `[phase]`, sharpening after the shift.
        write_gate: logit of the write gate.
        rewind_gate: logit of the rewind gate.
        encode: `[width, width]`, from symbol to cell.
        decode: `[width, width]`, from cell to output.
    """

    shift_logits: jax.Array
    sharpness: jax.Array
    write_gate: jax.Array
    rewind_gate: jax.Array
    encode: jax.Array
    decode: jax.Array


@dataclasses.dataclass(frozen=True)
class TapeTask:
    """Output the content of the tape, shifted by `shift` slots around the ring; 0 is copy.

    Attributes:
        shift: slots, forwards.
        length: number of symbols to write, T.
        width: bits per symbol.
        num_slots: length of the tape; slots not written stay 0.
        shift_range: S, largest pointer shift in a step.
        batch_size: sequences per observation.

    Raises:
        ValueError: a size is below 1, the tape is too short for the symbols or the shifts, or `shift` is out of range.
    """

    shift: int = 0
    length: int = 6
    width: int = 4
    num_slots: int = 8
    shift_range: int = 2
    batch_size: int = 16

    def __post_init__(self):
        for name in ("length", "width", "shift_range", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        needed = max(self.length, 2 * self.shift_range + 1)
        if self.num_slots < needed:
            raise ValueError(
                f"num_slots must be at least max(length, 2 * shift_range + 1) = {needed}, got {self.num_slots}"
            )
        if abs(self.shift) > self.shift_range:
            raise ValueError(
                f"shift must be within -shift_range..shift_range, got {self.shift} with "
                f"shift_range={self.shift_range}; raise shift_range"
            )


def copy_task(**sizes: int) -> TapeTask:
    """Write T symbols, rewind, output them."""
    return TapeTask(shift=0, **sizes)


def shift_task(shift: int = 2, **sizes: int) -> TapeTask:
    """Write T symbols and output the tape shifted by `shift` slots."""
    return TapeTask(shift=shift, **sizes)


def initial_program(task: TapeTask, key: jax.Array) -> Program:
    """A random program with nearly uniform pointer shifts.

    Example:
        >>> import jax
        >>> from etm_jax import ae
        >>> ae.tape_tasks.initial_program(ae.tape_tasks.copy_task(), jax.random.key(0)).shift_logits.shape
        (3, 5)
    """
    key_shift, key_encode, key_decode = jax.random.split(key, 3)
    square = (task.width, task.width)
    return Program(
        shift_logits=LOGIT_SCALE * _normal(key_shift, (len(PHASES), 2 * task.shift_range + 1)),
        sharpness=jnp.zeros(len(PHASES), jnp.float32),
        write_gate=jnp.zeros((), jnp.float32),
        rewind_gate=jnp.full((), REWIND_LOGIT, jnp.float32),
        encode=MAP_SCALE * _normal(key_encode, square),
        decode=MAP_SCALE * _normal(key_decode, square),
    )


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape, jnp.float32)


def execute(program: Program, tape: Tape, symbols: jax.Array) -> jax.Array:
    """Run a program on one sequence.

    Args:
        program: the program.
        tape: initial tape.
        symbols: `[time, width]`.

    Returns:
        `[slot, width]`, the decoded reads.
    """

    def moved(tape: Tape, phase: int) -> Tape:
        return move(tape, program.shift_logits[phase], program.sharpness[phase])

    def write_one(tape: Tape, symbol: jax.Array) -> tuple[Tape, None]:
        return moved(write(tape, symbol @ program.encode, jax.nn.sigmoid(program.write_gate)), WRITE), None

    def read_one(tape: Tape, _: None) -> tuple[Tape, jax.Array]:
        return moved(tape, READ), read(tape) @ program.decode

    tape, _ = jax.lax.scan(write_one, tape, symbols)
    tape = moved(rewind(tape, jax.nn.sigmoid(program.rewind_gate)), TURN)
    _, outputs = jax.lax.scan(read_one, tape, None, length=tape.pointer.shape[0])
    return outputs


def targets(task: TapeTask, symbols: jax.Array) -> jax.Array:
    """Target output `[slot, width]` for one sequence `[time, width]`.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> task = ae.tape_tasks.shift_task(1, length=2, width=1, num_slots=3, shift_range=1)
        >>> ae.tape_tasks.targets(task, jnp.asarray([[1.0], [0.0]])).ravel().tolist()
        [0.0, 1.0, 0.0]
    """
    blank = jnp.zeros((task.num_slots - task.length, task.width), symbols.dtype)
    return jnp.roll(jnp.concatenate([symbols, blank]), task.shift, axis=0)


def sampler(task: TapeTask) -> Environment:
    """E: a function `sample(key, step)` that draws a batch of random bits with their targets.

    Returns:
        `sample(key, step)`; its observation is a pair of `[batch, time, width]` and `[batch, slot, width]`.
    """

    def sample(key: jax.Array, step: jax.typing.ArrayLike) -> tuple[jax.Array, jax.Array]:
        del step
        shape = (task.batch_size, task.length, task.width)
        symbols = jax.random.bernoulli(key, shape=shape).astype(jnp.float32)
        return symbols, jax.vmap(lambda sequence: targets(task, sequence))(symbols)

    return sample


def plant(program: Program, tape: Tape, observation: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Tape]:
    """F: run the program on each sequence of the batch.

    Args:
        program: the program.
        tape: initial tape of every sequence, `initial_memory(task)`.
        observation: from `sampler`.

    Returns:
        The mean square error, and the unchanged tape.

    Example:
        >>> import jax
        >>> from etm_jax import ae
        >>> task = ae.tape_tasks.copy_task()
        >>> machine = ae.machine.Machine(
        ...     ae.tape_tasks.plant,
        ...     ae.tape_tasks.sampler(task),
        ...     ae.ae_adam(1e-5),
        ...     ae.machine.halt_when(loss_below=2e-3),
        ... )
        >>> key_init, key_run = jax.random.split(jax.random.key(0))
        >>> program, tape = ae.tape_tasks.initial_program(task, key_init), ae.tape_tasks.initial_memory(task)
        >>> result = ae.machine.run(machine, key_run, program, tape, max_steps=500)
        >>> bool(result.halted)
        True
    """
    symbols, wanted = observation
    outputs = jax.vmap(execute, in_axes=(None, None, 0))(program, tape, symbols)
    return jnp.mean((outputs - wanted) ** 2), tape


def initial_memory(task: TapeTask) -> Tape:
    """A blank tape of the task's size."""
    return blank_tape(task.num_slots, task.width)


def accuracy(task: TapeTask, program: Program, key: jax.Array) -> jax.Array:
    """Share of correct bits, after rounding, in a new batch."""
    symbols, wanted = sampler(task)(key, 0)
    outputs = jax.vmap(execute, in_axes=(None, None, 0))(program, initial_memory(task), symbols)
    return jnp.mean((outputs > 0.5) == (wanted > 0.5))
