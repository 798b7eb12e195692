"""The AE machine: a plant (system), its memory and its environment, adapted in closed loop until a predicate holds."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae._signals import WARM_STEPS, mean_loss
from etm_jax.ae._state import AEState, find, monitor
from etm_jax.ae._trees import mean_square

FIRST_WARM_STEP = 2 + int(WARM_STEPS)  # finite steps until the loss signals are fully faded in

Plant = Callable[[Any, Any, Any], tuple[jax.Array, Any]]  # (params, memory, observation) to (loss, memory)
Environment = Callable[[jax.Array, jax.typing.ArrayLike], Any]  # (key, step) to an observation
Halt = Callable[[AEState], jax.Array]


@dataclasses.dataclass(frozen=True)
class Machine:
    """M = (X, C, Mem, F, G, S, H, E) as four functions.

    The state X is what `run` carries: parameters and the state of `tx`, which holds the coefficients C and the signals
    S. The memory Mem is any pytree, such as an `ae.tape.Tape`, or None.

    Attributes:
        plant: F, the controlled system: a pure function from parameters, memory and observation to a scalar loss and
            the next memory, with unchanged shapes and dtypes.
        sample: E, from a key and the step to an observation.
        tx: G with S, an AE transformation of this package or a chain with one.
        halt: H, from the `AEState` to True if the machine may stop; see `halt_when`.
        patience: consecutive steps on which `halt` must hold. More than one, since the step is also near 0 for a moment
            when momentum changes its sign.

    Raises:
        ValueError: `patience` is below 1.
    """

    plant: Plant
    sample: Environment
    tx: optax.GradientTransformationExtraArgs
    halt: Halt
    patience: int = 10

    def __post_init__(self):
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")


class MachineResult(NamedTuple):
    """Result of `run`.

    Attributes:
        params: final parameters.
        memory: final memory.
        opt_state: final state of the transformation.
        steps: steps taken, including skipped ones, int32.
        halted: True if the predicate stopped it, False if it ran to `max_steps`.
        trace: arrays `[max_steps]` by name: `loss`, the plant's, finite or not; `filtered_loss`; everything in
            `ae.monitor`, after each step; and `valid`, True in the first `steps` rows. The other rows are 0.
    """

    params: Any
    memory: Any
    opt_state: Any
    steps: jax.Array
    halted: jax.Array
    trace: dict[str, jax.Array]


def halt_when(
    *,
    loss_below: jax.typing.ArrayLike | None = None,
    step_below: jax.typing.ArrayLike | None = None,
    variance_below: jax.typing.ArrayLike | None = None,
    min_steps: int = 20,
) -> Halt:
    """H: the machine may stop when it has reached the goal or is at rest.

    The goal is a filtered loss of at most `loss_below`. The machine is at rest if its effective step (rms of the update
    over rms of the parameters) is at most `step_below` and the variance signal is at most `variance_below`. Small steps
    alone do not count: an unstable loss may just have lowered the rate.

    Args:
        loss_below: in units of the loss.
        step_below: effective step; the default cap is 0.03.
        variance_below: in [0, 1), as `signal/variance`.
        min_steps: number of finite steps before it may hold.

    Returns:
        A function of an `AEState`. The thresholds may be traced.

    Raises:
        ValueError: no threshold is given, only one of `step_below` and `variance_below` is given, or `min_steps` is
            less than the warm-up of the filters.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> halt = ae.machine.halt_when(loss_below=1e-3)
        >>> bool(halt(ae.ae_adam().init(jnp.zeros(2))))
        False
    """
    if (step_below is None) != (variance_below is None):
        raise ValueError("step_below and variance_below belong together; give both or neither")
    if loss_below is None and step_below is None:
        raise ValueError("halt_when needs a threshold; give loss_below, or step_below with variance_below")
    if min_steps < FIRST_WARM_STEP:
        raise ValueError(
            f"min_steps must be at least {FIRST_WARM_STEP}, the warm-up of the loss filters, got {min_steps}"
        )

    def halt(state: AEState) -> jax.Array:
        enough = jnp.zeros((), bool)
        if loss_below is not None:
            enough |= mean_loss(state.filters, state.gains) <= loss_below
        if step_below is not None and variance_below is not None:
            enough |= (state.signals.effective_step <= step_below) & (state.signals.variance <= variance_below)
        return enough & (state.filters.steps >= min_steps)

    return halt


class _Carry(NamedTuple):
    params: Any
    memory: Any
    opt_state: Any
    step: jax.Array
    held: jax.Array  # consecutive steps on which the predicate held
    trace: dict[str, jax.Array]


def run(machine: Machine, key: jax.Array, params: Any, memory: Any = None, *, max_steps: int) -> MachineResult:
    """Sample, run the plant, adapt; repeat until the predicate has held for `patience` steps.

    Works under `jit` and `vmap`. A step whose loss or gradient is not finite changes neither parameters nor memory, is
    counted in `skipped` and lowers the learning rate. A memory that is not finite is discarded too.

    Args:
        machine: what to run.
        key: step t samples with `fold_in(key, t)`.
        params: pytree of parameters.
        memory: initial memory.
        max_steps: upper bound on the steps; the length of the trace.

    Returns:
        The final state and the trace. Under `vmap` the loop runs until the last member halts and copies the trace at
        each step, so a batch costs the steps of its slowest member. There is no reverse-mode gradient through the loop.

    Raises:
        ValueError: `max_steps` is below 1; the plant's loss is not a scalar, or its memory changes shape or dtype; or
            the transformation does not hold exactly one `AEState`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax import ae
        >>> def plant(x, memory, target):
        ...     return jnp.sum((x - target) ** 2), memory
        >>> machine = ae.machine.Machine(
        ...     plant, lambda key, step: jnp.ones(2), ae.ae_adam(1e-5), ae.machine.halt_when(loss_below=1e-3)
        ... )
        >>> result = ae.machine.run(machine, jax.random.key(0), jnp.zeros(2), max_steps=1000)
        >>> bool(result.halted), bool(result.steps < 1000)
        (True, True)
    """
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    params, memory = jax.tree.map(jnp.asarray, (params, memory))
    opt_state = machine.tx.init(params)
    _check_plant(machine, key, params, memory)

    def unfinished(carry: _Carry) -> jax.Array:
        return (carry.step < max_steps) & (carry.held < machine.patience)

    def body(carry: _Carry) -> _Carry:
        observation = machine.sample(jax.random.fold_in(key, carry.step), carry.step)
        forward = jax.value_and_grad(machine.plant, has_aux=True)
        (loss, memory), gradient = forward(carry.params, carry.memory, observation)
        # Zero the gradient here: transformations before the laws in a chain have no guard against NaN.
        finite = jnp.isfinite(loss) & jnp.isfinite(mean_square(gradient))
        gradient = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), gradient)
        value = jnp.where(finite, loss, jnp.nan)
        updates, opt_state = machine.tx.update(gradient, carry.opt_state, carry.params, value=value, grad=gradient)
        keep = finite & _all_finite(memory)
        memory = jax.tree.map(lambda new, old: jnp.where(keep, new, old), memory, carry.memory)
        row = _row(loss, opt_state)
        return _Carry(
            params=optax.apply_updates(carry.params, updates),
            memory=memory,
            opt_state=opt_state,
            step=carry.step + 1,
            held=jnp.where(machine.halt(find(opt_state)), carry.held + 1, jnp.zeros_like(carry.held)),
            trace={name: column.at[carry.step].set(row[name]) for name, column in carry.trace.items()},
        )

    blank = jax.eval_shape(_row, jnp.zeros(()), opt_state)
    start = _Carry(
        params=params,
        memory=memory,
        opt_state=opt_state,
        step=jnp.zeros((), jnp.int32),
        held=jnp.zeros((), jnp.int32),
        trace={name: jnp.zeros((max_steps, *leaf.shape), leaf.dtype) for name, leaf in blank.items()},
    )
    end = jax.lax.while_loop(unfinished, body, start)
    trace = end.trace | {"valid": jnp.arange(max_steps, dtype=jnp.int32) < end.step}
    return MachineResult(end.params, end.memory, end.opt_state, end.step, end.held >= machine.patience, trace)


def _row(loss: jax.Array, opt_state: Any) -> dict[str, jax.Array]:
    """One row of the trace."""
    state = find(opt_state)
    losses = {"loss": loss.astype(jnp.float32), "filtered_loss": mean_loss(state.filters, state.gains)}
    return losses | monitor(opt_state)


def _all_finite(memory: Any) -> jax.Array:
    """True if no number of the memory is infinite or NaN; integers and keys count as finite."""
    leaves = [leaf for leaf in jax.tree.leaves(memory) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.asarray([jnp.all(jnp.isfinite(leaf)) for leaf in leaves], bool))


def _check_plant(machine: Machine, key: jax.Array, params: Any, memory: Any) -> None:
    def once(key: jax.Array, params: Any, memory: Any) -> tuple[jax.Array, Any]:
        return machine.plant(params, memory, machine.sample(key, jnp.zeros((), jnp.int32)))

    def kinds(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)

    loss, after = jax.eval_shape(once, key, params, memory)
    if loss.shape != ():
        raise ValueError(f"the plant's loss must be a scalar, got shape {loss.shape}; take its mean")
    if kinds(after) != kinds(memory):
        raise ValueError(
            f"the plant must return its memory with unchanged shapes and dtypes, {kinds(memory)}, got {kinds(after)}"
        )
