"""D10: is training the same whatever the unit of the loss?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import Peer, peers, sweep
from bench.ae._regression import regression
from bench.ae._train import train
from bench.ae.static_regression import final
from etm_jax import ae

CRITERION = (
    'loss times 0.01, 0.1, 1, 10 and 100: with ae_sgdm and gauge="norm" the risk at every step is that of the scale 1 '
    "to a relative difference of 1e-3"
)
STEPS, SEEDS, LIMIT = 1000, 5, 1e-3
SCALES = (0.01, 0.1, 1.0, 10.0, 100.0)
SGDM = Peer(lambda rate: optax.sgd(rate, momentum=0.9), (5e-3, 1e-2, 2e-2, 5e-2, 1e-1))


def over_scales(make: Callable[[], Any], steps: int, seeds: int) -> np.ndarray:
    """Risk `[scales, seeds, steps]`."""
    keys = jax.random.split(jax.random.key(2026), seeds)

    def one(scale: Any, key: jax.Array) -> jax.Array:
        return train(regression(loss_scale=scale), make(), steps, key).risk

    return np.asarray(jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(jnp.asarray(SCALES), keys))


def differences(risk: np.ndarray) -> np.ndarray:
    """`[seeds]`: greatest relative difference from the scale 1, over scales and steps; infinite if a run blew up."""
    unscaled = risk[SCALES.index(1.0)]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(risk - unscaled) / unscaled
    return np.nan_to_num(apart, nan=np.inf).max((0, 2))


def run(quick: bool = False) -> Finding:
    """The peers' rates are swept at the scale 1; ours start from 0.01."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    methods: dict[str, Callable[[], Any]] = {}
    for name, peer in {"sgd, momentum 0.9": SGDM, "momo_adam": peers(steps)["momo_adam"]}.items():
        rate, _ = sweep(regression(), peer, steps, seeds, final)
        methods[f"{name}, best of {len(peer.rates)} rates: {rate:g}"] = lambda make=peer.make, rate=rate: make(rate)
    methods |= {
        'ae_sgdm, gauge="cap"': lambda: ae.ae_sgdm(1e-2, gauge="cap"),
        "ae_adamw": lambda: ae.ae_adamw(1e-2),
        'ae_sgdm, gauge="norm"': lambda: ae.ae_sgdm(1e-2, gauge="norm"),
    }
    rows, curves, apart = [], {}, np.zeros(())
    for name, make in methods.items():
        risk = over_scales(make, steps, seeds)
        values = {f"final risk, times {scale:g}": final(runs) for scale, runs in zip(SCALES, risk, strict=True)}
        apart = differences(risk)
        rows.append(Row(name, {**values, "greatest relative difference": apart}))
        curves |= {f"{name}, times {scale:g}": risk[SCALES.index(scale)].mean(0) for scale in (0.01, 1.0, 100.0)}
    because = f'greatest relative difference of ae_sgdm with gauge="norm": {apart.max():.2g}'
    return Finding(verdict(bool(apart.max() <= LIMIT)), because, rows, curves, "risk")
