"""State of `adaptive_evolution`, and functions that read it: `monitor`, `find`, `coefficients`."""

from typing import Any, NamedTuple

import jax

from etm_jax.ae._gains import Gains
from etm_jax.ae._signals import Filters, Signals


class AEState(NamedTuple):
    """State of `adaptive_evolution`; `m` coefficients.

    Attributes:
        count: steps, int32.
        hyperparams: the coefficients in their own units, by name; `optax.tree.get(state, "learning_rate")` finds one.
        position: `[m]`, the coefficients in their charts (transforms).
        start: `[m]`, initial positions; the leak of AE-2 pulls back to them.
        multiplier: the dual variable of AE-6.
        filters: state of AE-1.
        signals: the last signals.
        energy: AE-10, at the last step.
        energy_rises: filtered share of steps on which the energy rose.
        skipped: steps with a loss or gradient that was not finite, int32.
        gains: the gains of the laws.
        key: for the noise of AE-4; None without noise.
        direction: the last update; None if it is read from the inner state instead.
        inner_state: state of the wrapped optimiser.
    """

    count: jax.Array
    hyperparams: dict[str, jax.Array]
    position: jax.Array
    start: jax.Array
    multiplier: jax.Array
    filters: Filters
    signals: Signals
    energy: jax.Array
    energy_rises: jax.Array
    skipped: jax.Array
    gains: Gains
    key: jax.Array | None
    direction: Any
    inner_state: Any


def monitor(state: Any) -> dict[str, jax.Array]:
    """Signals, coefficients, energy and skipped steps as one flat dict of scalars.

    Args:
        state: an optimiser state with an `AEState` anywhere in it, such as in a chain, or with one in each group of
            `optax.partition`.

    Returns:
        `coefficient/NAME` in its own units, `signal/NAME`, `energy`, `energy_rises` (filtered share of steps on which
        the energy rose), `skipped` and `count`. With several groups each name is prefixed: `GROUP/energy`.

    Raises:
        ValueError: there is no `AEState`, or several outside the groups of `optax.partition`.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> state = ae.ae_adam(1e-3).init(jnp.zeros(3))
        >>> round(float(ae.monitor(state)["coefficient/learning_rate"]), 6)
        0.001
    """
    return {f"{group}{name}": value for group, found in _groups(state).items() for name, value in _shown(found).items()}


def _shown(found: AEState) -> dict[str, jax.Array]:
    coefficients = {f"coefficient/{name}": value for name, value in found.hyperparams.items()}
    signals = {f"signal/{name}": value for name, value in found.signals._asdict().items()}
    rest = {name: getattr(found, name) for name in ("energy", "energy_rises", "skipped", "count")}
    return coefficients | signals | rest


def find(state: Any) -> AEState:
    """The only `AEState` in an optimiser state.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = _with_paths(state)
    if len(found) != 1:
        raise ValueError(
            f"the state must hold one AEState, got {len(found)}; pass the state of an AE transformation, or of one "
            "group of optax.partition, state.inner_states[GROUP]"
        )
    return found[0][1]


def coefficients(state: Any) -> dict[str, jax.Array]:
    """The coefficients in their own units, by name; some may be weights of the next loss.

    Args:
        state: an optimiser state with an `AEState` anywhere in it, or with one in each group of `optax.partition`; the
            names are then `GROUP/NAME`.

    Raises:
        ValueError: there is no `AEState`, or several outside the groups of `optax.partition`.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> list(ae.coefficients(ae.ae_curriculum().init(jnp.zeros(3))))
        ['learning_rate', 'difficulty', 'augmentation']
    """
    return {
        f"{group}{name}": value for group, found in _groups(state).items() for name, value in found.hyperparams.items()
    }


def _groups(state: Any) -> dict[str, AEState]:
    """All `AEState`s by prefix: `"GROUP/"`, or `""` if there is only one."""
    found = _with_paths(state)
    if len(found) == 1:
        return {"": found[0][1]}
    named = {
        "".join(f"{key.key}/" for key in path if isinstance(key, jax.tree_util.DictKey)): one for path, one in found
    }
    if len(named) < len(found) or not found or "" in named:
        raise ValueError(
            f"the state must hold one AEState, got {len(found)}; pass the state of an AE transformation, or of "
            "optax.partition with one in each group"
        )
    return named


def _with_paths(state: Any) -> list[tuple[Any, AEState]]:
    leaves = jax.tree.leaves_with_path(state, is_leaf=lambda node: isinstance(node, AEState))
    return [(path, leaf) for path, leaf in leaves if isinstance(leaf, AEState)]
