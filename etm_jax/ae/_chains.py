"""Ready chains: momentum, Adam and AdamW under the laws, and the laws alone as the last stage of a chain.

Every argument has a name, as `optax.inject_hyperparams` requires. That function turns numbers into arrays, so list
static ones (a numeric `sample`) in its `static_args`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae._averaging import averaged
from etm_jax.ae._charts import Coefficient
from etm_jax.ae._coefficients import check, check_decay, check_rate
from etm_jax.ae._gains import Gains, default_gains
from etm_jax.ae._moments import (
    adam_direction,
    momentum_direction,
    scale_by_momentum,
    scale_by_varying_adam,
    scale_by_varying_rms,
)
from etm_jax.ae._transform import NEEDS_PARAMS, adaptive_evolution

Number = Any  # a number or a traced scalar
Flag = bool | jax.Array
Sample = int | jax.Array | Literal["auto"] | None  # an array gets an error: `sample` is static
Ranges = Mapping[str, Coefficient] | None
LEARNING_RATE = ("learning_rate",)
DecayMask = Any  # a pytree of booleans, or a function from the parameters to one


def ae_sgdm(
    learning_rate: Number = 1e-2,
    momentum: Number = 0.9,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "norm",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = "auto",
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with momentum under the laws; its steps do not depend on the scale of the loss.

    Args:
        learning_rate: initial rate; any value works, a bad one costs some steps.
        momentum: decay of the gradient mean.
        coefficients: which of `learning_rate` and `momentum` the laws move.
        gauge, gains, noise, sigma, seed, ranges, sample: see `adaptive_evolution`.

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

    _check_numbers(learning_rate, {"momentum": momentum})
    make = adaptive_evolution(
        sgdm,
        coefficients,
        direction=momentum_direction,
        gauge=gauge,
        gains=gains,
        noise=noise,
        sigma=sigma,
        seed=seed,
        ranges=ranges,
        sample=sample,
    )
    return make(learning_rate, momentum)


def ae_adam(
    learning_rate: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "cap",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = "auto",
) -> optax.GradientTransformationExtraArgs:
    """Adam under the laws; see `ae_adamw`."""

    def adam(
        learning_rate: Number, b1: Number, b2: Number, eps: Number, keep: Flag = True
    ) -> optax.GradientTransformation:
        return optax.chain(
            scale_by_varying_adam(_held(b1, keep), _held(b2, keep), eps), optax.scale_by_learning_rate(learning_rate)
        )

    _check_numbers(learning_rate, {"b1": b1, "b2": b2}, {"eps": eps})
    make = adaptive_evolution(
        adam,
        coefficients,
        direction=adam_direction(eps),
        gauge=gauge,
        gains=gains,
        noise=noise,
        sigma=sigma,
        seed=seed,
        ranges=ranges,
        sample=sample,
    )
    return make(learning_rate, b1, b2, eps)


def ae_adamw(
    learning_rate: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 1e-4,
    mask: DecayMask = None,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "cap",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = "auto",
) -> optax.GradientTransformationExtraArgs:
    """AdamW under the laws. Needs no more memory than Adam: the last step's direction is recomputed from the moments.

    Args:
        learning_rate: initial rate; any value works, a bad one costs some steps.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled weight decay.
        mask: which parameters decay, as in `optax.adamw`: a tree of booleans like the parameters or a prefix of it, or
            a function from the parameters to such a tree. Default: all.
        coefficients: which of the numbers above the laws move.
        gauge, gains, noise, sigma, seed, ranges, sample: see `adaptive_evolution`.

    Example:
        >>> from etm_jax import ae
        >>> import jax
        >>> tx = ae.ae_adamw(1e-5, coefficients=("learning_rate", "b1"))
        >>> no_biases = ae.ae_adamw(1e-3, mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params))
    """

    _check_numbers(learning_rate, {"b1": b1, "b2": b2}, {"eps": eps, "weight_decay": weight_decay})

    def chain(decays: Any) -> optax.GradientTransformationExtraArgs:
        def adamw(
            learning_rate: Number, b1: Number, b2: Number, eps: Number, weight_decay: Number, keep: Flag = True
        ) -> optax.GradientTransformation:
            return optax.chain(
                scale_by_varying_adam(_held(b1, keep), _held(b2, keep), eps),
                optax.add_decayed_weights(weight_decay, decays),
                optax.scale_by_learning_rate(learning_rate),
            )

        make = adaptive_evolution(
            adamw,
            coefficients,
            direction=adam_direction(eps),
            gauge=gauge,
            gains=gains,
            noise=noise,
            sigma=sigma,
            seed=seed,
            ranges=ranges,
            sample=sample,
        )
        return make(learning_rate, b1, b2, eps, weight_decay)

    return _decaying(chain, mask)


def ae_schedule_free_adamw(
    learning_rate: Number = 1e-3,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    mask: DecayMask = None,
    *,
    coefficients: Sequence[str] = ("learning_rate",),
    gauge: str = "cap",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = "auto",
) -> optax.GradientTransformationExtraArgs:
    """AdamW under the laws, with averaging instead of momentum and a schedule. Needs no more memory than Adam.

    Evaluate at `ae.eval_params(state, params)`, not at the parameters themselves; see `averaged`.

    Args:
        learning_rate: initial rate; any value works, a bad one costs some steps.
        b1: weight of the mean in the parameters where gradients are taken.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled weight decay.
        mask: which parameters decay, as in `optax.adamw`: a tree of booleans like the parameters or a prefix of it, or
            a function from the parameters to such a tree. Default: all.
        coefficients: which of `learning_rate`, `b2`, `eps` and `weight_decay` the laws move.
        gauge, gains, noise, sigma, seed, ranges, sample: see `adaptive_evolution`.

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

    _check_numbers(learning_rate, {"b2": b2}, {"eps": eps, "weight_decay": weight_decay})

    def chain(decays: Any) -> optax.GradientTransformationExtraArgs:
        def adamw(
            learning_rate: Number, b2: Number, eps: Number, weight_decay: Number, keep: Flag = True
        ) -> optax.GradientTransformation:
            return optax.chain(
                scale_by_varying_rms(_held(b2, keep), eps),
                optax.add_decayed_weights(weight_decay, decays),
                optax.scale_by_learning_rate(learning_rate),
            )

        make = adaptive_evolution(
            adamw,
            coefficients,
            direction="given",
            gauge=gauge,
            gains=_averaging_gains(gains, coefficients, noise),
            noise=noise,
            sigma=sigma,
            seed=seed,
            ranges=ranges,
            sample=sample,
        )
        return averaged(make(learning_rate, b2, eps, weight_decay), b1)

    return _decaying(chain, mask)


def ae_schedule_free_sgd(
    learning_rate: Number = 1e-2,
    b1: Number = 0.9,
    *,
    gauge: str = "norm",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = "auto",
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with averaging instead of momentum and a schedule; see `ae_schedule_free_adamw`."""
    _check_numbers(learning_rate)
    make = adaptive_evolution(
        optax.scale_by_learning_rate,
        LEARNING_RATE,
        direction="given",
        gauge=gauge,
        gains=_averaging_gains(gains, LEARNING_RATE, noise),
        noise=noise,
        sigma=sigma,
        seed=seed,
        ranges=ranges,
        sample=sample,
    )
    return averaged(make(learning_rate), b1)


def scale_by_ae(
    learning_rate: Number = 1e-2,
    *,
    gauge: str = "cap",
    gains: Gains | None = None,
    noise: bool = False,
    sigma: Number = 1e-5,
    seed: Number = 0,
    ranges: Ranges = None,
    sample: Sample = None,
) -> optax.GradientTransformationExtraArgs:
    """The last stage of a chain, replacing `optax.scale_by_learning_rate`: the laws move only the learning rate.

    Pass the raw gradients to `update` as `grad=`, as for `optax.scale_by_backtracking_linesearch`, so that the phase
    law sees them. Without `grad=` the incoming updates count as gradients: right after clipping, wrong after momentum.

    Args:
        learning_rate: initial rate.
        gauge, gains, noise, sigma, seed, ranges, sample: see `adaptive_evolution`.

    Example:
        >>> import optax
        >>> from etm_jax import ae
        >>> tx = optax.chain(optax.scale_by_lion(), ae.scale_by_ae(1e-3))
        >>> # tx.update(gradients, state, params, value=loss, grad=gradients)
    """
    make = adaptive_evolution(
        optax.scale_by_learning_rate,
        LEARNING_RATE,
        gauge=gauge,
        gains=gains,
        noise=noise,
        sigma=sigma,
        seed=seed,
        ranges=ranges,
        sample=sample,
    )
    return make(learning_rate)


def _check_numbers(learning_rate: Number, decays: Mapping[str, Number] = {}, rest: Mapping[str, Number] = {}) -> None:
    for name, value in {"learning_rate": learning_rate, **rest}.items():
        check_rate(name, value)
    for name, value in decays.items():
        check_decay(name, value)


def _averaging_gains(gains: Gains | None, coefficients: Sequence[str], noise: bool) -> Gains:
    """The caller's gains, or the defaults with the phase target that averaging needs."""
    return default_gains((*coefficients, *(("sigma",) if noise else ())), phase_noise=-1.0) if gains is None else gains


def _decaying(
    chain: Callable[[Any], optax.GradientTransformationExtraArgs], mask: DecayMask
) -> optax.GradientTransformationExtraArgs:
    """The chain in which only the masked parameters decay."""
    if mask is None:
        return chain(None)

    # The mask function must see the parameters themselves: the laws call the chain on samples too, whose shapes differ.
    def decays(params: Any) -> Any:
        tree = mask(params) if callable(mask) else mask
        try:
            jax.tree.map(lambda decays, _: bool(decays), tree, params)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"mask must have a boolean for each parameter or branch of parameters: {str(error).splitlines()[0]}"
            ) from None
        return tree

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        check(params is not None, NEEDS_PARAMS)
        return chain(decays(params)).update(updates, state, params, **extra_args)

    # The state does not depend on the mask, and `optax.tree.map_params` calls init without parameters.
    return optax.GradientTransformationExtraArgs(chain(True).init, update_fn)


def _held(decay: Number, keep: Flag) -> jax.Array:
    """The decay, or 1 at a skipped step: with a gradient of 0 the moments then keep their exact bits."""
    return jnp.where(keep, jnp.asarray(decay, jnp.float32), 1.0)
