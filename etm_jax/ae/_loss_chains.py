"""Ready chains with coefficients of the loss: reinforcement learning and curricula."""

from typing import Any

import optax

from etm_jax.ae._chains import Number, Ranges, Sample
from etm_jax.ae._gains import Gains
from etm_jax.ae._moments import adam_direction, scale_by_varying_adam
from etm_jax.ae._transform import adaptive_evolution

EPS = 1e-8


def ae_rl(
    learning_rate: Number = 3e-4,
    entropy_temperature: Number = 1e-2,
    kl_weight: Number = 1.0,
    *,
    gauge: str = "cap",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam for policy gradients: step size, entropy temperature and KL weight are coefficients, the reward is a signal.

    A rising reward raises the step size and lowers the other two. A stalled loss raises the temperature. Variance out
    of phase lowers the temperature and raises the KL weight. Read both with `ae.coefficients(state)` and use them in
    the next loss.

    Args:
        learning_rate: initial step size.
        entropy_temperature: initial weight of the entropy bonus, in 1e-4 to 1.
        kl_weight: initial weight of the KL penalty, in 1e-4 to 100.
        gauge, gains, noise, sigma, seed, ranges, sample: see `adaptive_evolution`.

    Returns:
        A transformation whose `update` needs `value=` (the loss) and `reward=` (the mean return).

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> tx = ae.ae_rl(1e-3)
        >>> state = tx.init(jnp.zeros(3))
        >>> temperature = ae.coefficients(state)["entropy_temperature"]
        >>> updates, state = tx.update(jnp.ones(3), state, jnp.zeros(3), value=0.5, reward=10.0)
    """

    def rl(learning_rate: Number, entropy_temperature: Number, kl_weight: Number) -> optax.GradientTransformation:
        del entropy_temperature, kl_weight  # they act in the loss
        return optax.chain(scale_by_varying_adam(eps=EPS), optax.scale_by_learning_rate(learning_rate))

    names = ("learning_rate", "entropy_temperature", "kl_weight")
    make = adaptive_evolution(
        rl,
        names,
        direction=adam_direction(EPS),
        gauge=gauge,
        gains=gains,
        noise=noise,
        sigma=sigma,
        seed=seed,
        ranges=ranges,
        sample=sample,
    )
    tx = make(learning_rate, entropy_temperature, kl_weight)

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        if extra_args.get("reward") is None:
            raise ValueError(
                "ae_rl needs the reward; call update(grads, state, params, value=loss, reward=mean_return)"
            )
        return tx.update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(tx.init, update_fn)


def ae_curriculum(
    learning_rate: Number = 1e-3,
    difficulty: Number = 0.1,
    augmentation: Number = 0.1,
    *,
    gauge: str = "cap",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam with a task's difficulty and the strength of augmentation as coefficients.

    Progress raises the difficulty, and so does a loss that has fallen below its initial value; a loss that stays at
    chance does not. Instability lowers it. A validation loss above the training loss raises the augmentation. Read both
    with `ae.coefficients(state)` and use them to sample the next batch.

    Args:
        learning_rate: initial rate.
        difficulty: initial difficulty, in 0.02 to 0.98.
        augmentation: initial augmentation, in 0.02 to 0.98.
        gauge, gains, noise, sigma, seed, ranges, sample: see `adaptive_evolution`.

    Returns:
        A transformation whose `update` needs `value=` (the loss). The augmentation moves only with `valid_value=`.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> tx = ae.ae_curriculum(1e-3, difficulty=0.25)
        >>> round(float(ae.coefficients(tx.init(jnp.zeros(3)))["difficulty"]), 4)
        0.25
    """

    def curriculum(learning_rate: Number, difficulty: Number, augmentation: Number) -> optax.GradientTransformation:
        del difficulty, augmentation  # they act in the sampling of batches
        return optax.chain(scale_by_varying_adam(eps=EPS), optax.scale_by_learning_rate(learning_rate))

    names = ("learning_rate", "difficulty", "augmentation")
    make = adaptive_evolution(
        curriculum,
        names,
        direction=adam_direction(EPS),
        gauge=gauge,
        gains=gains,
        noise=noise,
        sigma=sigma,
        seed=seed,
        ranges=ranges,
        sample=sample,
    )
    return make(learning_rate, difficulty, augmentation)
