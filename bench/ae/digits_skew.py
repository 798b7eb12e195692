"""B5: does one setting follow a mixture of classes as well as the best rate for each mixture would?"""

import jax.numpy as jnp
import numpy as np

from bench.ae._digits import digits
from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import curves_of, ours, peers, rows_of, sweep
from bench.ae._train import over_seeds

CRITERION = (
    "new class weights every 300 of 1,500 steps, four segments scored: from every initial rate, test loss <= 1.3 times "
    "that of an oracle, which takes in each segment of each run the best of five fixed rates of adamw; mean over runs"
)
SEGMENT, SEGMENTS, SEEDS, LIMIT = 300, 5, 5, 1.3
RATES = (1e-5, 1e-3, 1e-1, 10.0)
FIXED = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
PEERS = ("adamw, cosine", "prodigy", "schedule-free adamw")


def by_segment(risk, segment: int) -> np.ndarray:
    """`[..., segments - 1]`: mean loss of each segment but the first, which is the start and no change."""
    risk = np.asarray(risk)
    return risk.reshape(*risk.shape[:-1], SEGMENTS, segment)[..., 1:, :].mean(-1)


def run(quick: bool = False) -> Finding:
    """The oracle is the lower envelope of five whole runs; it doesn't carry weights from one rate to another."""
    segment, seeds = (20, 2) if quick else (SEGMENT, SEEDS)
    problem, steps = digits(skew_every=segment), segment * SEGMENTS
    fixed = over_seeds(problem, peers(steps)["adamw"].make, jnp.asarray(FIXED), steps, seeds).risk
    oracle = np.nanmin(by_segment(fixed, segment), 0).mean(-1)

    def metrics(risk) -> dict:
        loss = by_segment(risk, segment).mean(-1)
        return {"test loss": loss, "over the oracle's": loss / oracle}

    rows = [Row("oracle: best of five rates in each segment", {"test loss": oracle})]
    rows += [Row(f"adamw, {rate:g}", metrics(risk)) for rate, risk in zip(FIXED, fixed, strict=True)]
    curves = {}
    for name in PEERS:
        peer = peers(steps)[name]
        rate, trace = sweep(problem, peer, steps, seeds, lambda risk: by_segment(risk, segment).mean(-1))
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {rate:g}", metrics(trace.risk)))
        curves[name] = trace.risk.mean(0)
    risks = ours(problem, RATES, steps, seeds)
    rows += rows_of(risks, RATES, metrics)
    curves |= curves_of(risks, RATES)
    decisive = next(iter(risks.values()))

    def regret(risk) -> np.ndarray:
        return (by_segment(risk, segment).mean(-1) / oracle).mean(-1)

    worst, best_fixed = regret(decisive).max(), np.nanmin(regret(fixed))
    because = f"worst regret {worst:.2f} times the oracle; the best one fixed rate has {best_fixed:.2f}"
    return Finding(verdict(bool(worst <= LIMIT)), because, rows, curves, "test loss")
