"""A1: does one setting reach what a tuned rate reaches, wherever the rate starts?"""

import jax.numpy as jnp
import numpy as np

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import peers, sweep
from bench.ae._regression import regression
from bench.ae._train import over_seeds
from etm_jax import ae

CRITERION = (
    "for initial rates 1e-5 to 10: greatest over least final risk <= 1.5; each <= 1.1 times the best of five fixed "
    "rates; nothing non-finite"
)
STEPS, SEEDS, LAST = 1500, 5, 100
RATES = (1e-5, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def final(risk):
    """Mean risk of the last steps, `[..., seeds]`."""
    return risk[..., -LAST:].mean(-1)


def steps_to(risk, level: float):
    """First step at which the mean of ten steps is below a level; the number of steps if there is none."""
    smooth = np.apply_along_axis(lambda run: np.convolve(run, np.ones(10) / 10, "valid"), -1, np.asarray(risk))
    below = smooth < level
    return np.where(below.any(-1), below.argmax(-1), smooth.shape[-1])


def metrics(risk) -> dict:
    """The final risk, the mean over the whole run, and the steps to 0.02."""
    return {"final risk": final(risk), "mean risk": risk.mean(-1), "steps to 0.02": steps_to(risk, 0.02)}


def run(quick: bool = False) -> Finding:
    """All methods on the static regression."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    problem = regression()
    rows, curves, best = [], {}, {}
    for name, peer in peers(steps).items():
        rate, trace = sweep(problem, peer, steps, seeds, final)
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {rate:g}", metrics(trace.risk)))
        best[name] = float(final(trace.risk).mean())
        curves[name] = trace.risk.mean(0)
    ours = over_seeds(problem, lambda rate: ae.ae_adamw(rate), jnp.asarray(RATES), steps, seeds).risk
    rows += [Row(f"ae_adamw from {rate:g}", metrics(risk)) for rate, risk in zip(RATES, ours, strict=True)]
    curves |= {f"ae_adamw from {rate:g}": risk.mean(0) for rate, risk in zip(RATES, ours, strict=True)}
    means = np.asarray(final(ours).mean(1))
    spread, ratio = means.max() / means.min(), means.max() / best["adamw"]
    holds = spread <= 1.5 and ratio <= 1.1 and bool(np.all(np.isfinite(ours)))
    because = (
        f"greatest over least final risk {spread:.2f}; worst over the best fixed rate {ratio:.2f}, "
        f"over the best cosine {means.max() / best['adamw, cosine']:.2f}"
    )
    return Finding(verdict(holds), because, rows, curves, "risk")
