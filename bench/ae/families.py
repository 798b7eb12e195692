"""J16: do the laws serve other optimisers than the one that they were tuned on?"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import Make, Peer, sweep
from bench.ae._regression import regression
from bench.ae._train import over_seeds
from bench.ae.static_regression import final, metrics
from etm_jax import ae

CRITERION = (
    "the static regression with five families of optimisers: under the laws, with averaging in place of momentum but "
    "for lion, whose momentum is inside its sign, all from 0.01, final risk <= 1.15 times "
    "that of the best of five fixed rates in at least three quarters of them, so in four"
)
STEPS, SEEDS, LIMIT, RATE = 1500, 5, 1.15, 1e-2


class Family(NamedTuple):
    """An optimiser with fixed rates, and the same under the laws."""

    fixed: Peer
    adaptive: Make


def wrapped(factory: Any) -> Make:
    """Any factory of optax under the laws, with nothing set but the rate."""
    return lambda rate: ae.adaptive_evolution(factory)(learning_rate=rate)


def averaged(factory: Any) -> Make:
    """The same with averaging, for factories without momentum."""
    make = ae.adaptive_evolution(factory, direction="given", phase_noise=-1.0)
    return lambda rate: ae.averaged(make(learning_rate=rate))


ADAM_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FAMILIES = {
    "sgd, momentum 0.9": Family(
        Peer(lambda rate: optax.sgd(rate, momentum=0.9), (5e-3, 1e-2, 2e-2, 5e-2, 1e-1)),
        lambda rate: ae.ae_schedule_free_sgd(rate),
    ),
    "adam": Family(Peer(optax.adam, ADAM_RATES), lambda rate: ae.ae_schedule_free_adamw(rate)),
    "adamw": Family(Peer(optax.adamw, ADAM_RATES), lambda rate: ae.ae_schedule_free_adamw(rate, weight_decay=1e-4)),
    "lion": Family(Peer(optax.lion, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)), wrapped(optax.lion)),
    "adafactor": Family(Peer(optax.adafactor, (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)), averaged(optax.adafactor)),
}


def run(quick: bool = False) -> Finding:
    """Each family against itself."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    problem = regression()
    rows, curves, ratios = [], {}, {}
    for name, family in FAMILIES.items():
        rate, fixed = sweep(problem, family.fixed, steps, seeds, final)
        ours = over_seeds(problem, family.adaptive, jnp.asarray([RATE]), steps, seeds).risk[0]
        rows.append(Row(f"{name}, best of {len(family.fixed.rates)} rates: {rate:g}", metrics(fixed.risk)))
        rows.append(Row(f"{name} under the laws, from {RATE:g}", metrics(ours)))
        curves[name], curves[f"ae_{name}"] = fixed.risk.mean(0), ours.mean(0)
        ratios[name] = float(final(ours).mean() / final(fixed.risk).mean())
    within = sum(ratio <= LIMIT for ratio in ratios.values())
    because = f"within the limit in {within} of {len(ratios)}; final risk over the best fixed rate's: " + ", ".join(
        f"{name} {ratio:.2f}" for name, ratio in ratios.items()
    )
    return Finding(verdict(within >= 0.75 * len(ratios)), because, rows, curves, "risk")
