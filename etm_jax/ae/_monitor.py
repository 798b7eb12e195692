"""What the controller did, for any logger."""

from typing import Any

import jax

from etm_jax.ae._state import AEState


def monitor(state: Any) -> dict[str, jax.Array]:
    """Signals, coefficients, energy and skipped steps as one flat dict of scalars.

    Args:
        state: an optimiser state that holds an `AEState` anywhere, in a chain for one.

    Returns:
        `coefficient/NAME` in its own units, `signal/NAME`, `energy`, `energy_rises` (filtered share of steps on which
        the energy rose), `skipped` and `count`.

    Raises:
        ValueError: there is no `AEState` in the state, or more than one.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> state = ae.ae_adam(1e-3).init(jnp.zeros(3))
        >>> round(float(ae.monitor(state)["coefficient/learning_rate"]), 6)
        0.001
    """
    found = find(state)
    coefficients = {f"coefficient/{name}": value for name, value in found.hyperparams.items()}
    signals = {f"signal/{name}": value for name, value in found.signals._asdict().items()}
    rest = {name: getattr(found, name) for name in ("energy", "energy_rises", "skipped", "count")}
    return coefficients | signals | rest


def find(state: Any) -> AEState:
    """The one `AEState` in an optimiser state.

    Raises:
        ValueError: there is none, or more than one.
    """
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, AEState))
    found = [leaf for leaf in leaves if isinstance(leaf, AEState)]
    if len(found) != 1:
        raise ValueError(f"the state must hold one AEState, got {len(found)}; pass the state of an AE transformation")
    return found[0]


def coefficients(state: Any) -> dict[str, jax.Array]:
    """The coefficients in their own units, by name, as the next loss may need them.

    Args:
        state: an optimiser state that holds an `AEState` anywhere.

    Raises:
        ValueError: there is no `AEState` in the state, or more than one.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> list(ae.coefficients(ae.ae_curriculum().init(jnp.zeros(3))))
        ['learning_rate', 'difficulty', 'augmentation']
    """
    return dict(find(state).hyperparams)
