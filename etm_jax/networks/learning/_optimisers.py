"""The optimisers of a lifetime by the names in the settings, under the individual's learning genes."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from etm_jax import ae
from etm_jax.networks.genome._genes import Learning
from etm_jax.networks.learning._config import LifetimeConfig

PLAIN = {"adam": optax.adam, "adamw": optax.adamw, "rmsprop": optax.rmsprop, "sgd": optax.sgd}
# Optimisers under the laws, with the gains that differ from `default_gains`.
ADAPTIVE: dict[str, tuple[Callable[..., optax.GradientTransformationExtraArgs], dict[str, Any]]] = {
    "ae_adam": (ae.ae_adam, {}),
    "ae_adamw": (ae.ae_adamw, {}),
    "ae_sgdm": (ae.ae_sgdm, {}),
    "ae_schedule_free_adamw": (functools.partial(ae.ae_schedule_free_adamw, b2=0.99), {"phase_noise": -0.4}),
}
COEFFICIENT = "learning_rate"
MakeOptimiser = Callable[[Learning], optax.GradientTransformation]


def make_optimiser(config: LifetimeConfig) -> MakeOptimiser:
    """The chain of lifetime learning for an individual: clip by global norm, then the optimiser of the settings.

    The individual's learning genes are factors on the rate, and on two gains of the laws where there are laws.
    """

    def make(learning: Learning) -> optax.GradientTransformation:
        rate = config.learning_rate * learning.learning_rate
        if config.optimiser in PLAIN:
            inner = PLAIN[config.optimiser](rate)
        else:
            chain, changes = ADAPTIVE[config.optimiser]
            inner = chain(rate, gains=own_gains(learning, changes))
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), inner)

    return make


def own_gains(learning: Learning, changes: dict[str, Any]) -> ae.Gains:
    """The default gains of a learning rate with an individual's factors on them."""
    gains = ae.default_gains((COEFFICIENT,), **changes)
    return gains._replace(
        meta_step=gains.meta_step * learning.meta_step, step_limit=gains.step_limit * learning.step_limit
    )


def paces_itself(state: optax.OptState) -> bool:
    """Whether an optimiser's state holds the laws, which set its rate: a schedule from outside would fight them."""
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, ae.AEState))
    return any(isinstance(leaf, ae.AEState) for leaf in leaves)
