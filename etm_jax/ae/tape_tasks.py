"""Copy and fixed shift on the tape: the smallest plants that have to learn what to do with a memory.

A program of three phases runs over the tape. It *writes* the symbols one after another, *turns* (rewinds and moves
once), and *reads* the whole tape. What each phase does to the pointer is learned, and so are the gates and the maps
from symbols to cells and back. What has to come out is the content of the tape, moved by a fixed number of slots.

There are local minima, in which two phases move the pointer differently. With the default sizes few programs end there
in copy and in shifts forwards; about half of them do in a shift by one slot backwards, and nearly all by two. So run
several keys under `vmap`.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from etm_jax.ae.machine import Environment
from etm_jax.ae.tape import Tape, blank_tape, move, read, rewind, write

PHASES = ("write", "turn", "read")
WRITE = 0
TURN = 1
READ = 2
# With larger ones a program starts with a direction of its own, often a wrong one, and keeps it.
LOGIT_SCALE = 0.1  # of the shift logits a program starts with
MAP_SCALE = 0.3  # of its maps
REWIND_LOGIT = 2.0  # it rewinds almost fully; from a half-open gate it seldom learns to


class Program(NamedTuple):
    """What the plant learns; `phase` in the order of `PHASES`.

    Attributes:
        shift_logits: `[phase, 2S + 1]`, how far the pointer moves.
        sharpness: `[phase]`, how sharp it is afterwards.
        write_gate: logit of the gate of the write.
        rewind_gate: logit of the gate of the rewind.
        encode: `[width, width]`, from a symbol to what is written.
        decode: `[width, width]`, from what is read to what is put out.
    """

    shift_logits: Any
    sharpness: Any
    write_gate: Any
    rewind_gate: Any
    encode: Any
    decode: Any


@dataclasses.dataclass(frozen=True)
class TapeTask:
    """Put out the content of the tape, moved by `shift` slots around the ring; 0 is copy.

    Attributes:
        shift: slots, forwards.
        length: symbols to write, T.
        width: bits of a symbol.
        num_slots: length of the tape; what is not written stays 0.
        shift_range: S, how far the pointer can move in a step.
        batch_size: sequences of an observation.

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
    """Write T symbols, rewind, put them out."""
    return TapeTask(shift=0, **sizes)


def shift_task(shift: int = 2, **sizes: int) -> TapeTask:
    """Write T symbols and put out the tape moved by `shift` slots."""
    return TapeTask(shift=shift, **sizes)


def initial_program(task: TapeTask, key: jax.Array) -> Program:
    """A random program, almost without a direction; the key is consumed.

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
        program: what to do.
        tape: to begin with.
        symbols: `[time, width]`.

    Returns:
        `[slot, width]`, what was read.
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
    """`[slot, width]`: what must come out for one sequence `[time, width]`.

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
    """E: a function of a key and the step that gives a batch of random bits and what must come out for them.

    Returns:
        `sample(key, step)`, whose observation is the pair of `[batch, time, width]` and `[batch, slot, width]`.
    """

    def sample(key: jax.Array, step: jax.typing.ArrayLike) -> tuple[jax.Array, jax.Array]:
        del step
        shape = (task.batch_size, task.length, task.width)
        symbols = jax.random.bernoulli(key, shape=shape).astype(jnp.float32)
        return symbols, jax.vmap(lambda sequence: targets(task, sequence))(symbols)

    return sample


def plant(program: Program, tape: Tape, observation: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Tape]:
    """F: run the program on each sequence of the batch, and measure by how much it misses.

    Args:
        program: what to do.
        tape: that every sequence begins with, `initial_memory(task)`.
        observation: from `sampler`.

    Returns:
        The mean square error, and the tape as it was.

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
    """Share of right bits, after rounding, in a fresh batch; the key is consumed."""
    symbols, wanted = sampler(task)(key, 0)
    outputs = jax.vmap(execute, in_axes=(None, None, 0))(program, initial_memory(task), symbols)
    return jnp.mean((outputs > 0.5) == (wanted > 0.5))
