"""Schedule-free averaging under the laws: a fast iterate takes the steps, and its recent mean is the result."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from etm_jax.ae import _laws as laws
from etm_jax.ae._coefficients import number_of
from etm_jax.ae._state import find
from etm_jax.ae._trees import wide


class AveragedState(NamedTuple):
    """State of `averaged`.

    Attributes:
        fast: the fast iterate `z`.
        span: averaging window, in steps, float32.
        b1: weight of the mean in the parameters.
        inner_state: state of the transformation that moves the fast iterate.
    """

    fast: Any
    span: jax.Array
    b1: jax.Array
    inner_state: Any


def averaged(
    inner: optax.GradientTransformationExtraArgs, b1: jax.typing.ArrayLike = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Average the iterates of an AE transformation over a window that shrinks when the task changes.

    With u the step of the inner transformation, z the fast iterate, x its mean and y the parameters, where gradients
    are taken (Defazio et al. 2024; there n counts all steps):

        z <- z + u        n <- max(1, (1 - f) n + growth)        x <- x + (z - x) / n        y = (1 - b1) z + b1 x

    `eval_params` returns the mean x; evaluate and keep that. The inner transformation compares the gradient with
    `x - z`, the direction from the fast iterate back to its mean. Curvature makes the gradient point that way, and the
    rate is right where this pull is as large as one gradient's noise (`phase_noise = -1` in the gains).

    Args:
        inner: made by `adaptive_evolution` with `direction="given"`, without momentum.
        b1: weight of the mean in the parameters, in (0, 1]; replaces momentum.

    Raises:
        ValueError: `b1` is out of range, or `update` was called without parameters.

    References:
        Defazio et al. 2024, The Road Less Scheduled.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from etm_jax import ae
        >>> make = ae.adaptive_evolution(optax.sgd, direction="given", gauge="norm", phase_noise=-1.0)
        >>> tx = ae.averaged(make(1e-2))
        >>> state = tx.init(jnp.zeros(3))
    """

    share = number_of("b1", b1)
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"b1 must be in (0, 1], got {b1}")

    def init_fn(params: Any) -> Any:
        # A copy, since parameters and state may be donated together.
        fast = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
        return AveragedState(fast, jnp.zeros((), jnp.float32), jnp.asarray(b1, jnp.float32), inner.init(params))

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        if params is None:
            raise ValueError("averaging needs the parameters; call update(grads, state, params, value=loss)")
        # The mean x is not stored: y and z give it, so averaging costs no memory beyond z.
        back = jax.tree.map(_difference, params, state.fast)  # b1 (x - z)
        steps, inner_state = inner.update(updates, state.inner_state, params, direction=back, **extra_args)
        before, after = find(state.inner_state), find(inner_state)
        finite = after.skipped == before.skipped  # a skipped step must not move the mean either
        span = jnp.where(finite, laws.span(state.span, after.signals, after.gains), state.span)
        towards = jnp.where(finite, 1 / span, 0.0)
        # The parameters move by (1 - b1) u + b1 (z + u - x) / n = share u - back / n.
        share = 1 - state.b1 + state.b1 * towards

        def moved(step: jax.Array, pull: jax.Array) -> jax.Array:
            dtype = pull.dtype
            return (share.astype(dtype) * step.astype(dtype) - towards.astype(dtype) * pull).astype(step.dtype)

        fast = optax.apply_updates(state.fast, steps)
        return jax.tree.map(moved, steps, back), AveragedState(fast, span, state.b1, inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def eval_params(state: Any, params: Any) -> Any:
    """The parameters to evaluate and to keep: the means where the optimiser averages, otherwise `params`.

    Args:
        state: an optimiser state. It may hold an `AveragedState` in a chain, under `optax.masked`, or one in each group
            of `optax.partition`.
        params: all trained parameters.

    Raises:
        ValueError: a parameter is averaged twice, or the state does not belong to these parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> from etm_jax import ae
        >>> params = jnp.ones(3)
        >>> ae.eval_params(ae.ae_adam().init(params), params).tolist()
        [1.0, 1.0, 1.0]
    """
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, AveragedState))
    found = [leaf for leaf in leaves if isinstance(leaf, AveragedState)]
    if not found:
        return params
    means = [jax.tree.leaves(_means(each, params)) for each in found]
    kept, structure = jax.tree.flatten(params)
    for index, choices in enumerate(zip(*means, strict=True)):
        averaged_by = [choice for choice in choices if choice is not _NOT_AVERAGED]
        if len(averaged_by) > 1:
            raise ValueError(f"the state must hold at most one AveragedState per parameter, got {len(averaged_by)}")
        kept[index] = averaged_by[0] if averaged_by else kept[index]
    return jax.tree.unflatten(structure, kept)


_NOT_AVERAGED = object()


def _means(state: AveragedState, params: Any) -> Any:
    """The means that a state holds, in a tree like the parameters; `_NOT_AVERAGED` for the others."""

    def one(fast: Any, param: Any) -> Any:
        if isinstance(fast, optax.MaskedNode):  # a parameter, or a branch of the tree, in another group
            return jax.tree.map(lambda _: _NOT_AVERAGED, param)
        dtype = wide(param.dtype)
        back = _difference(param, fast) / state.b1.astype(dtype)
        return (fast.astype(dtype) + back).astype(param.dtype)

    try:
        return jax.tree.map(one, state.fast, params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"params must match the tree the state was made for: {str(error).splitlines()[0]}") from None


def _difference(one: jax.Array, other: jax.Array) -> jax.Array:
    dtype = wide(one.dtype)
    return one.astype(dtype) - other.astype(dtype)
