"""The coefficients that the laws move: checks of names, charts and ranges, and initial positions."""

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from etm_jax.ae._charts import COEFFICIENTS, Coefficient, check_coefficient, from_chart, to_chart

ROUNDING = 1e-6  # a bound that went through float32 must still be accepted


class Moved(NamedTuple):
    """The `m` coefficients that move, by name, with chart and range."""

    ranges: dict[str, Coefficient]

    def ends(self) -> tuple[jax.Array, jax.Array]:
        """Bounds of the positions, each `[m]`."""
        with jax.ensure_compile_time_eval():  # constants even when the factory is called under jit
            low, high = (
                jnp.stack([to_chart(one.chart, end(one)) for one in self.ranges.values()])
                for end in (lambda one: one.low, lambda one: one.high)
            )
        return low, high

    def start(self, values: Mapping[str, Any]) -> jax.Array:
        """Positions `[m]` of values, clipped to their ranges."""
        return jnp.stack(
            [
                to_chart(one.chart, jnp.clip(jnp.asarray(values[name], jnp.float32), one.low, one.high))
                for name, one in self.ranges.items()
            ]
        )

    def in_units(self, position: jax.Array) -> dict[str, jax.Array]:
        """The coefficients at positions `[m]`, in their own units."""
        return {name: from_chart(one.chart, z) for (name, one), z in zip(self.ranges.items(), position, strict=True)}


def moved_of(
    factory: Callable[..., Any], coefficients: Sequence[str], noise: bool, ranges: Mapping[str, Coefficient] | None
) -> Moved:
    """The coefficients of a factory that the laws move; `sigma` is added with noise.

    Raises:
        ValueError: there are no names, a name is repeated, has no range or a bad one, or is not an argument of the
            factory.
    """
    names = (*coefficients, *(("sigma",) if noise else ()))
    check(len(set(names)) == len(names) > 0, f"coefficients must be one or more distinct names, got {coefficients!r}")
    known = COEFFICIENTS | dict(ranges or {})
    for name in names:
        check(name in known, f"coefficient {name!r} has no range; give ranges={{{name!r}: ae.Coefficient(...)}}")
        check_coefficient(name, known[name])
    takes = inspect.signature(factory).parameters
    missing = [name for name in coefficients if name not in takes]
    if any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        missing = []  # the factory takes any name
    check(
        not missing,
        f"coefficients {missing} are not arguments of {getattr(factory, '__name__', factory)}; "
        f"it takes {', '.join(takes)}",
    )
    return Moved({name: known[name] for name in names})


def bind(
    factory: Callable[..., Any], moved: Moved, sigma: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[jax.Array, Callable[..., optax.GradientTransformationExtraArgs]]:
    """The initial positions `[m]`, and a function from coefficients to the optimiser with the other arguments fixed.

    The function also takes `keep` and passes it to factories that have such an argument (`is_guarded`).

    Raises:
        ValueError: a coefficient is missing, is not a number, or is a concrete number outside its range.
    """
    signature = inspect.signature(factory)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    rest = next((name for name, each in signature.parameters.items() if each.kind is each.VAR_KEYWORD), None)
    arguments: dict[str, Any] = dict(bound.arguments)
    given = arguments | (arguments[rest] if rest else {})
    starts = {name: sigma if name == "sigma" else given.get(name) for name in moved.ranges}
    for name, value in starts.items():
        check_start(name, value, moved.ranges[name])

    def inner(hyperparams: Mapping[str, jax.Array], keep: jax.Array | bool = True):
        now = dict(hyperparams) | ({"keep": keep} if is_guarded(factory) else {})
        own: dict[str, Any] = {name: now.get(name, value) for name, value in arguments.items()}
        if rest:
            own[rest] = {name: now.get(name, value) for name, value in arguments[rest].items()}
        call = inspect.BoundArguments(signature, OrderedDict(own))
        return optax.with_extra_args_support(factory(*call.args, **call.kwargs))

    return moved.start(starts), inner


def is_guarded(factory: Callable[..., Any]) -> bool:
    """True if the factory takes `keep` and its optimisers then leave their state unchanged at a skipped step."""
    return "keep" in inspect.signature(factory).parameters


def check(holds: bool, message: str) -> None:
    """Raise a ValueError unless it holds."""
    if not holds:
        raise ValueError(message)


def number_of(name: str, value: Any) -> float | None:
    """A hyperparameter as a Python float, or None if it is traced.

    Raises:
        ValueError: it is not one real number.
    """
    if isinstance(value, Tracer):
        check(value.ndim == 0, f"{name} must be one number, got shape {value.shape}; use jax.vmap for several")
        return None
    check(not isinstance(value, str), f"{name} must be one number, got {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be one number, got {value!r}") from None


def check_start(name: str, value: Any, coefficient: Coefficient) -> None:
    """Raise a ValueError unless a coefficient can start at a value. A traced value is not checked; it gets clipped."""
    check(not callable(value) and value is not None, f"{name} is moved by the laws; give it a number")
    number = number_of(name, value)
    if number is None:
        return
    # In the log chart a step multiplies, so a coefficient that starts at 0 could never leave it.
    way_out = f"start inside, leave {name} out of the coefficients, or give ranges={{{name!r}: ae.Coefficient(...)}}"
    low, high = coefficient.low * (1 - ROUNDING), coefficient.high * (1 + ROUNDING)
    check(
        low <= number <= high,
        f"{name} must start in [{coefficient.low:g}, {coefficient.high:g}] where the laws move it, got {number:g}; "
        f"{way_out}",
    )


def check_rate(name: str, value: Any) -> None:
    """Raise a ValueError if a rate is negative or not finite. Schedules and traced values pass unchecked."""
    number = None if callable(value) else number_of(name, value)
    check(number is None or 0 <= number < math.inf, f"{name} must be finite and 0 or above, got {number}")


def check_decay(name: str, value: Any) -> None:
    """Raise a ValueError if a decay lies outside [0, 1). Schedules and traced values pass unchecked."""
    number = None if callable(value) else number_of(name, value)
    check(
        number is None or 0 <= number < 1,
        f"{name} must lie in [0, 1), got {number}; if optax.inject_hyperparams rounded it to the parameters' dtype, "
        "pass it hyperparam_dtype=jnp.float32",
    )


def check_scalar(name: str, value: Any) -> None:
    """Raise a ValueError unless a signal passed to `update` is a scalar."""
    shape = jnp.shape(value)
    check(shape == (), f"{name} must be a scalar, got shape {shape}; take its mean")
