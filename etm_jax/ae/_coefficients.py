"""Which coefficients the laws move: checks of their names, their charts and ranges, and where they start."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae._charts import COEFFICIENTS, Coefficient, check_coefficient, from_chart, to_chart


class Moved(NamedTuple):
    """The coefficients that move, by name, each with its chart and range; `m` of them."""

    ranges: dict[str, Coefficient]

    def ends(self) -> tuple[jax.Array, jax.Array]:
        """Least and greatest positions, each `[m]`."""
        low, high = (
            jnp.stack([to_chart(one.chart, end(one)) for one in self.ranges.values()])
            for end in (lambda one: one.low, lambda one: one.high)
        )
        return low, high

    def start(self, values: Mapping[str, Any]) -> jax.Array:
        """Positions `[m]` of values, which are clipped to their ranges."""
        return jnp.stack(
            [
                to_chart(one.chart, jnp.clip(jnp.asarray(values[name], jnp.float32), one.low, one.high))
                for name, one in self.ranges.items()
            ]
        )

    def in_units(self, position: jax.Array) -> dict[str, jax.Array]:
        """The coefficients at positions `[m]`."""
        return {name: from_chart(one.chart, z) for (name, one), z in zip(self.ranges.items(), position, strict=True)}


def moved_of(
    factory: Callable[..., Any], coefficients: Sequence[str], noise: bool, ranges: Mapping[str, Coefficient] | None
) -> Moved:
    """The coefficients of a factory that are to move; with noise its `sigma` too.

    Raises:
        ValueError: a name is given twice or none, has no range or a bad one, or is no argument of the factory.
    """
    names = (*coefficients, *(("sigma",) if noise else ()))
    check(len(set(names)) == len(names) > 0, f"coefficients must be one or more different names, got {coefficients!r}")
    known = COEFFICIENTS | dict(ranges or {})
    for name in names:
        check(name in known, f"coefficient {name!r} has no range; give ranges={{{name!r}: ae.Coefficient(...)}}")
        check_coefficient(name, known[name])
    takes = inspect.signature(factory).parameters
    missing = [name for name in coefficients if name not in takes]
    check(
        not missing,
        f"coefficients {missing} are no arguments of {getattr(factory, '__name__', factory)}; "
        f"it takes {', '.join(takes)}",
    )
    return Moved({name: known[name] for name in names})


def bind(
    factory: Callable[..., Any], moved: Moved, sigma: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[jax.Array, Callable[..., optax.GradientTransformationExtraArgs]]:
    """Where the coefficients start, `[m]`, and the optimiser as a function of them; the factory's other arguments stay.

    That function also takes `keep`, which a factory gets that has an argument of this name (`is_guarded`).
    """
    bound = inspect.signature(factory).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = bound.arguments
    starts = {name: sigma if name == "sigma" else arguments[name] for name in moved.ranges}
    for name, value in starts.items():
        check(not callable(value) and value is not None, f"{name} is moved by the laws; give it a number")

    def inner(hyperparams: Mapping[str, jax.Array], keep: jax.Array | bool = True):
        now = {name: hyperparams.get(name, value) for name, value in arguments.items()}
        return optax.with_extra_args_support(factory(**now | ({"keep": keep} if is_guarded(factory) else {})))

    return moved.start(starts), inner


def is_guarded(factory: Callable[..., Any]) -> bool:
    """Does it make optimisers that leave their state alone when told so by the argument `keep`?"""
    return "keep" in inspect.signature(factory).parameters


def check(holds: bool, message: str) -> None:
    """Raise a ValueError unless it holds."""
    if not holds:
        raise ValueError(message)
