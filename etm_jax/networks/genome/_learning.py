"""Learning genes: how an individual learns in its lifetime, as factors on the settings of the run."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Key, Scalar, pytree

LEARNING_GENES = ("learning_rate", "meta_step", "step_limit")
FACTORS = (1 / 16, 16.0)  # how far a gene may go from the settings
FOUNDERS_SIGMA = 0.2  # spread of the logarithms in the first population


@pytree
class Learning:
    """Factors of one network's learning, 1 = as set; a population has a leading axis on every field.

    Attributes:
        learning_rate: on the rate that a lifetime starts at.
        meta_step: on how fast the AE laws move a coefficient (AE-3); optimisers without laws ignore it.
        step_limit: on the effective step that the AE laws allow (AE-8); optimisers without laws ignore it.
    """

    learning_rate: Float[Array, "*population"]
    meta_step: Float[Array, "*population"]
    step_limit: Float[Array, "*population"]


def neutral() -> Learning:
    """Learning as the settings say."""
    return Learning(*[jnp.ones(())] * len(LEARNING_GENES))


def random_learning(key: Key) -> Learning:
    """Log-normal factors about 1. The key is consumed."""
    return mutate_learning(key, neutral(), FOUNDERS_SIGMA)


def mutate_learning(key: Key, learning: Learning, sigma: Scalar | float) -> Learning:
    """Multiply every factor by `exp(sigma N(0, 1))`, within `FACTORS`. The key is consumed."""
    steps = sigma * jax.random.normal(key, (len(LEARNING_GENES),))
    moved = [getattr(learning, name) * jnp.exp(steps[index]) for index, name in enumerate(LEARNING_GENES)]
    return Learning(*[jnp.clip(factor, *FACTORS) for factor in moved])
