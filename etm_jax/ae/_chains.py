"""Ready chains: momentum, Adam and AdamW under the laws, and the laws alone for the end of a chain."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae._averaging import averaged
from etm_jax.ae._moments import (
    adam_direction,
    momentum_direction,
    scale_by_momentum,
    scale_by_varying_adam,
    scale_by_varying_rms,
)
from etm_jax.ae._norms import SAMPLE
from etm_jax.ae._transform import adaptive_evolution

Number = Any  # a number, or a traced scalar
Flag = bool | jax.Array


def ae_sgdm(
    learning_rate: Number = 1e-2,
    momentum: Number = 0.9,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "norm",
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with momentum under the laws; its steps do not depend on the scale of the loss.

    Args:
        learning_rate: where the rate starts; any value works, a bad one costs some steps.
        momentum: decay of the gradients' mean.
        coefficients: of `learning_rate` and `momentum`, those that the laws move.
        gauge: see `adaptive_evolution`.
        **settings: of `adaptive_evolution`.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from etm_jax import ae
        >>> tx = ae.ae_sgdm(10.0)
        >>> x = jnp.asarray([1.0, -2.0])
        >>> state = tx.init(x)
        >>> for _ in range(3):
        ...     value, gradient = jax.value_and_grad(lambda x: jnp.sum(x**2))(x)
        ...     updates, state = tx.update(gradient, state, x, value=value)
        ...     x = optax.apply_updates(x, updates)
        >>> bool(jnp.sum(x**2) < 5.0)
        True
    """

    def sgdm(learning_rate: Number, momentum: Number, keep: Flag = True) -> optax.GradientTransformation:
        return optax.chain(scale_by_momentum(_held(momentum, keep)), optax.scale_by_learning_rate(learning_rate))

    return _wrap(sgdm, coefficients, gauge, momentum_direction, settings)(learning_rate, momentum)


def ae_adam(
    learning_rate: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "cap",
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """Adam under the laws; see `ae_adamw`."""

    def adam(
        learning_rate: Number, b1: Number, b2: Number, eps: Number, keep: Flag = True
    ) -> optax.GradientTransformation:
        return optax.chain(
            scale_by_varying_adam(_held(b1, keep), _held(b2, keep), eps), optax.scale_by_learning_rate(learning_rate)
        )

    return _wrap(adam, coefficients, gauge, adam_direction(eps), settings)(learning_rate, b1, b2, eps)


def ae_adamw(
    learning_rate: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 1e-4,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "cap",
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """AdamW under the laws, in the memory of Adam: the last step's direction is recomputed from the moments.

    Args:
        learning_rate: where the rate starts; any value works, a bad one costs some steps.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled weight decay.
        coefficients: of the arguments above, those that the laws move.
        gauge: see `adaptive_evolution`.
        **settings: of `adaptive_evolution`.

    Example:
        >>> from etm_jax import ae
        >>> tx = ae.ae_adamw(1e-5, coefficients=("learning_rate", "b1"))
    """

    def adamw(
        learning_rate: Number, b1: Number, b2: Number, eps: Number, weight_decay: Number, keep: Flag = True
    ) -> optax.GradientTransformation:
        return optax.chain(
            scale_by_varying_adam(_held(b1, keep), _held(b2, keep), eps),
            optax.add_decayed_weights(weight_decay),
            optax.scale_by_learning_rate(learning_rate),
        )

    return _wrap(adamw, coefficients, gauge, adam_direction(eps), settings)(learning_rate, b1, b2, eps, weight_decay)


def ae_schedule_free_adamw(
    learning_rate: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "cap",
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """AdamW with averaging in place of momentum and of a schedule, under the laws, in the memory of Adam.

    Evaluate at `ae.eval_params(state, params)`, not at the parameters themselves; see `averaged`.

    Args:
        learning_rate: where the rate starts; any value works, a bad one costs some steps.
        b1: share of the mean in the parameters that gradients are taken at.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled weight decay.
        coefficients: of `learning_rate`, `b2`, `eps` and `weight_decay`, those that the laws move.
        gauge: see `adaptive_evolution`.
        **settings: of `adaptive_evolution`.

    References:
        Defazio et al. 2024, The Road Less Scheduled.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from etm_jax import ae
        >>> tx = ae.ae_schedule_free_adamw(1e-4)
        >>> x = jnp.asarray([1.0, -2.0])
        >>> state = tx.init(x)
        >>> for _ in range(3):
        ...     value, gradient = jax.value_and_grad(lambda x: jnp.sum(x**2))(x)
        ...     updates, state = tx.update(gradient, state, x, value=value)
        ...     x = optax.apply_updates(x, updates)
        >>> ae.eval_params(state, x).shape
        (2,)
    """

    def adamw(
        learning_rate: Number, b2: Number, eps: Number, weight_decay: Number, keep: Flag = True
    ) -> optax.GradientTransformation:
        return optax.chain(
            scale_by_varying_rms(_held(b2, keep), eps),
            optax.add_decayed_weights(weight_decay),
            optax.scale_by_learning_rate(learning_rate),
        )

    make = _averaging(adamw, coefficients, gauge, settings)
    return averaged(make(learning_rate, b2, eps, weight_decay), b1)


def ae_schedule_free_sgd(
    learning_rate: Number = 1e-2, b1: Number = 0.9, *, gauge: str = "norm", **settings: Any
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with averaging in place of momentum and of a schedule; see `ae_schedule_free_adamw`."""
    make = _averaging(optax.scale_by_learning_rate, ("learning_rate",), gauge, settings)
    return averaged(make(learning_rate), b1)


def _wrap(
    factory: Callable[..., optax.GradientTransformation],
    coefficients: Sequence[str],
    gauge: str,
    direction: Callable[[Any], Any],
    settings: dict[str, Any],
) -> Callable[..., optax.GradientTransformationExtraArgs]:
    return adaptive_evolution(
        factory, coefficients, gauge=gauge, **{"direction": direction, "sample": SAMPLE, **settings}
    )


def _averaging(
    factory: Callable[..., optax.GradientTransformation],
    coefficients: Sequence[str],
    gauge: str,
    settings: dict[str, Any],
) -> Callable[..., optax.GradientTransformationExtraArgs]:
    """With the phase judged as averaging wants it, unless the caller says otherwise."""
    phase = {} if "gains" in settings else {"phase_noise": -1.0}
    return adaptive_evolution(
        factory, coefficients, gauge=gauge, direction="given", **{"sample": SAMPLE, **phase, **settings}
    )


def _held(decay: Number, keep: Flag) -> jax.Array:
    """A decay of 1 where a step must change nothing: with a gradient of 0 the moments then stay, to the bit."""
    return jnp.where(keep, decay, 1.0)


def scale_by_ae(learning_rate: Number = 1e-2, *, gauge: str = "cap", **settings: Any):
    """The last stage of a chain, in place of `optax.scale_by_learning_rate`: the laws move the learning rate alone.

    What comes in are the chain's updates; for the phase law to see the raw gradients pass them as `grad=`, as
    `optax.scale_by_backtracking_linesearch` wants them. Without it the incoming updates are taken for gradients, which
    is right behind clipping and wrong behind momentum.

    Args:
        learning_rate: where the rate starts.
        gauge: see `adaptive_evolution`.
        **settings: of `adaptive_evolution`.

    Example:
        >>> import optax
        >>> from etm_jax import ae
        >>> tx = optax.chain(optax.scale_by_lion(), ae.scale_by_ae(1e-3))
        >>> # tx.update(gradients, state, params, value=loss, grad=gradients)
    """
    return adaptive_evolution(optax.scale_by_learning_rate, ("learning_rate",), gauge=gauge, **settings)(learning_rate)
