"""C7: with gradients that come late, does the rate find its own way down?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._train import Problem, over_seeds
from etm_jax import ae

CRITERION = (
    "quadratic bowl of condition 100 in 20 dimensions, initial rate 1, gradients 0 to 8 steps late: for every delay at "
    "which sgd of the same rate ends non-finite, ae_sgdm and ae_adam end finite with L / L0 <= 1e-2 in every run; "
    "greatest |theta| / |theta0| <= 1.05 at any delay"
)
STEPS, SEEDS = 1500, 5
DELAYS = (0, 2, 4, 6, 8)
SLOTS = max(DELAYS) + 1
CURVATURES = jnp.geomspace(1e-2, 1.0, 20)  # along the axes; sgd of rate 1 is stable without delay


class DelayedState(NamedTuple):
    """The newest gradients and losses first, the steps so far, and the state of the optimiser inside."""

    gradients: jax.Array
    values: jax.Array
    count: jax.Array
    inner: Any


def delayed(tx: optax.GradientTransformation, delay: jax.Array) -> optax.GradientTransformationExtraArgs:
    """An optimiser that gets each gradient and its loss late; until the first is due, those of the start."""
    inner = optax.with_extra_args_support(tx)

    def init_fn(params: Any) -> Any:
        return DelayedState(jnp.zeros((SLOTS, *params.shape)), jnp.zeros(SLOTS), jnp.zeros((), int), inner.init(params))

    def update_fn(updates: Any, state: Any, params: Any = None, *, value: Any = None, **extra_args: Any):
        gradients = jnp.roll(state.gradients, 1, 0).at[0].set(updates)
        values = jnp.roll(state.values, 1, 0).at[0].set(value)
        due = jnp.minimum(delay, state.count)
        updates, after = inner.update(gradients[due], state.inner, params, value=values[due], **extra_args)
        return updates, DelayedState(gradients, values, state.count + 1, after)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def bowl() -> Problem:
    """From random points; what is reported is the loss and the distance to the optimum."""

    def loss(params: jax.Array, batch: tuple):
        del batch
        return 0.5 * jnp.sum(CURVATURES * params**2)

    return Problem(
        init=lambda key: jax.random.normal(key, CURVATURES.shape),
        sample=lambda key, index, run: (),
        loss=loss,
        risk=lambda params, index, run: jnp.stack([loss(params, ()), jnp.linalg.norm(params)]),
    )


METHODS: dict[str, tuple[Callable[[Any], optax.GradientTransformation], tuple[float, ...]]] = {
    "sgd": (optax.sgd, (1.0, 0.1)),
    "sgdm": (lambda rate: optax.chain(ae.scale_by_momentum(0.9), optax.scale_by_learning_rate(rate)), (1.0, 0.1)),
    "adam": (optax.adam, (1.0, 0.1, 0.01)),
    "ae_sgdm": (ae.ae_sgdm, (1.0,)),
    "ae_adam": (ae.ae_adam, (1.0,)),
}


def measured(name: str, steps: int, seeds: int) -> np.ndarray:
    """Loss and distance over their own starts, `[rates, delays, seeds, steps, 2]`."""
    make, rates = METHODS[name]
    settings = jnp.asarray([(rate, delay) for rate in rates for delay in DELAYS])

    def late(setting: jax.Array) -> optax.GradientTransformation:
        return delayed(make(setting[0]), setting[1].astype(int))

    start = over_seeds(bowl(), lambda _: optax.set_to_zero(), jnp.zeros(1), 1, seeds).risk[0]
    relative = over_seeds(bowl(), late, settings, steps, seeds).risk / start
    return np.asarray(relative).reshape(len(rates), len(DELAYS), seeds, steps, 2)


def run(quick: bool = False) -> Finding:
    """All methods at all delays."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    rows, at_one, curves = [], {}, {}
    for name, (_, rates) in METHODS.items():
        relative = measured(name, steps, seeds)
        at_one[name] = relative[0]
        for rate, runs in zip(rates, relative, strict=True):
            ends = {f"L / L0, {delay} late": end for delay, end in zip(DELAYS, runs[:, :, -1, 0], strict=True)}
            rows.append(Row(f"{name} from {rate:g}", ends | {"overshoot": runs[..., 1].max((0, 2))}))
            curves[f"{name} from {rate:g}, 4 late"] = runs[DELAYS.index(4), ..., 0].mean(0)
    lost = ~np.isfinite(at_one["sgd"][:, :, -1, 0]).any(1)  # no run of the delay ends finite
    ours = np.stack([at_one["ae_sgdm"], at_one["ae_adam"]])
    worst = ours[:, lost, :, -1, 0].max(initial=0.0)
    overshoot = ours[..., 1].max()
    holds = bool(np.isfinite(ours).all() and lost.any() and worst <= 1e-2 and overshoot <= 1.05)
    because = (
        f"sgd from 1 ends non-finite at {lost.sum()} of {len(DELAYS)} delays, where the worst run of ours ends at "
        f"L / L0 = {worst:.2g}; greatest |theta| / |theta0| {overshoot:.3f}"
    )
    return Finding(verdict(holds), because, rows, curves, "L / L0")
