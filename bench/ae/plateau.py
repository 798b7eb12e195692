"""E11: does the noise law lead off a plateau, and what does it cost where there is a slope?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._train import Problem, train
from etm_jax import ae

CRITERION = (
    "from a bias of +8, an exit being half of the first loss. Hard plateau (clipped, gradient 0): ae_sgdm and ae_adam "
    "exit in every run with the noise law and in none without. Soft plateau (sigmoid) without it: mean exit <= 0.5 "
    "times that of adam from the same initial rate. Mean final loss with it <= 5e-3 on both"
)
STEPS, SEEDS, LAST = 4000, 5, 100
INPUTS, POINTS, BIAS = 4, 64, 8.0
RATE = 0.03  # initial, of ours and of the adam that the criterion names
ADAM_RATES, SGDM_RATES = (0.01, RATE, 0.1, 0.3, 1.0), (RATE, 0.3, 3.0)
PLATEAUS, LAWS = ("soft", "hard"), ("without noise", "with noise")
Make = Callable[[Any, jax.Array], optax.GradientTransformation]


def saturated(hard: jax.Array) -> Problem:
    """One unit that learns a unit of its own kind from all points at once, and starts far in saturation."""

    def unit(inputs: jax.Array) -> jax.Array:
        return jnp.where(hard, jnp.clip(inputs / 6 + 0.5, 0.0, 1.0), jax.nn.sigmoid(inputs))

    def sample(key: jax.Array, index: jax.Array, run: jax.Array):
        del key, index
        key_points, key_teacher = jax.random.split(jax.random.fold_in(run, 7))
        points = jax.random.normal(key_points, (POINTS, INPUTS))
        return points, unit(points @ jax.random.normal(key_teacher, (INPUTS,)))

    def loss(params: jax.Array, batch: tuple[jax.Array, jax.Array]):
        points, targets = batch
        return jnp.mean((unit(points @ params[:-1] + params[-1]) - targets) ** 2)

    return Problem(
        init=lambda key: jnp.append(0.1 * jax.random.normal(key, (INPUTS,)), BIAS),
        sample=sample,
        loss=loss,
        risk=lambda params, index, run: loss(params, sample(run, index, run)),
    )


def runs(make: Make, settings: Any, steps: int, seeds: int) -> np.ndarray:
    """Losses `[plateaus, settings, seeds, steps]`; `make` gets a setting and a seed for the noise."""
    keys = jax.random.split(jax.random.key(2026), seeds)

    def one(hard: jax.Array, setting: Any, key: jax.Array) -> jax.Array:
        noise = jax.random.bits(jax.random.fold_in(key, 8), dtype=jnp.uint32)
        return train(saturated(hard), make(setting, noise), steps, key).risk

    over = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    return np.asarray(jax.jit(over)(jnp.asarray([False, True]), settings, keys))


def metrics(loss: np.ndarray) -> dict[str, Any]:
    """Whether and when each run exits (the number of steps if never), and its final loss."""
    below = loss < loss[..., :1] / 2  # one step does not lead off the plateau
    exit_step = np.where(below.any(-1), below.argmax(-1), loss.shape[-1])
    return {"exits": below.any(-1).astype(float), "exit step": exit_step, "final loss": loss[..., -LAST:].mean(-1)}


def run(quick: bool = False) -> Finding:
    """All methods on both plateaus."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    gains = ae.default_gains(("learning_rate", "sigma"))
    switched = jax.tree.map(lambda *leaves: jnp.stack(leaves), ae.without(gains, "AE-4"), gains)

    def momentum(rate: Any, seed: jax.Array) -> optax.GradientTransformation:
        del seed
        return optax.chain(ae.scale_by_momentum(0.9), optax.scale_by_learning_rate(rate))

    methods: dict[str, tuple[Make, Any, tuple[str, ...]]] = {
        "sgdm": (momentum, jnp.asarray(SGDM_RATES), tuple(f"of {rate:g}" for rate in SGDM_RATES)),
        "adam": (
            lambda rate, seed: optax.adam(rate),
            jnp.asarray(ADAM_RATES),
            tuple(f"of {rate:g}" for rate in ADAM_RATES),
        ),
        "ae_sgdm": (lambda gains, seed: ae.ae_sgdm(RATE, gains=gains, noise=True, seed=seed), switched, LAWS),
        "ae_adam": (lambda gains, seed: ae.ae_adam(RATE, gains=gains, noise=True, seed=seed), switched, LAWS),
    }
    found, curves = {}, {}
    for name, (make, settings, labels) in methods.items():
        for plateau, by_setting in zip(PLATEAUS, runs(make, settings, steps, seeds), strict=True):
            for label, loss in zip(labels, by_setting, strict=True):
                found[f"{plateau}, {name} {label}"] = metrics(loss)
                curves[f"{name} {label}, {plateau}"] = loss.mean(0)
    ours = ("ae_sgdm", "ae_adam")
    exits = [[found[f"hard, {name} {law}"]["exits"].sum() for name in ours] for law in LAWS]
    slowest = max(found[f"soft, {name} without noise"]["exit step"].mean() for name in ours)
    peers = {rate: found[f"soft, adam of {rate:g}"]["exit step"].mean() for rate in ADAM_RATES}
    finals = [found[f"{plateau}, {name} with noise"]["final loss"].mean() for plateau in PLATEAUS for name in ours]
    final = np.max(finals)  # NaN where a run was lost, and then the criterion does not hold
    hard = min(exits[1]) == seeds and max(exits[0]) == 0
    holds = bool(hard and slowest <= 0.5 * peers[RATE] and final <= 5e-3)
    because = (
        f"hard: fewest exits with the law {min(exits[1]):.0f} of {seeds}, most without {max(exits[0]):.0f}; soft: exit "
        f"at step {slowest:.0f}, adam from the same rate {peers[RATE]:.0f}, adam of its quickest rate "
        f"{min(peers.values()):.0f}; "
        f"final loss with the law at most {final:.2g}"
    )
    return Finding(verdict(holds), because, [Row(*item) for item in sorted(found.items())], curves, "loss")
