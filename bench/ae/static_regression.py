"""A1: does one setting reach what a tuned rate reaches, wherever the rate starts?"""

import numpy as np

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import curves_of, ours, peers, rows_of, sweep
from bench.ae._regression import regression

CRITERION = (
    "for initial rates 1e-5 to 10: greatest over least final risk <= 1.5; each <= 1.1 times the best of five fixed "
    "rates and of the best cosine; nothing non-finite"
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
    risks = ours(problem, RATES, steps, seeds)
    rows += rows_of(risks, RATES, metrics)
    curves |= curves_of(risks, RATES)
    decisive = next(iter(risks.values()))
    means = np.asarray(final(decisive).mean(1))
    spread = means.max() / means.min()
    ratios = [means.max() / best[name] for name in ("adamw", "adamw, cosine", "schedule-free adamw")]
    holds = spread <= 1.5 and max(ratios[:2]) <= 1.1 and bool(np.all(np.isfinite(decisive)))
    because = (
        f"greatest over least final risk {spread:.2f}; worst over the best fixed rate "
        "{:.2f}, over the best cosine {:.2f}, over the best schedule-free {:.2f}".format(*ratios)
    )
    return Finding(verdict(holds), because, rows, curves, "risk")
