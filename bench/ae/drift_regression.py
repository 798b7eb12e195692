"""P3: after the task changes, does the closed loop recover sooner than the best fixed schedule?"""

import numpy as np

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import curves_of, ours, peers, rows_of, sweep
from bench.ae._regression import regression

CRITERION = (
    "new random rotation of the inputs every 500 of 2,500 steps, four segments scored: from every initial rate at most "
    "105 steps to a risk of 0.05, and no more than half of the best cosine's"
)
SEGMENT, SEGMENTS, SEEDS, LEVEL = 500, 5, 5, 0.05
RATES = (1e-5, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def scored(risk, segment: int):
    """`[..., segments - 1, segment]`: the first segment is the start, not a drift."""
    return risk.reshape(*risk.shape[:-1], SEGMENTS, segment)[..., 1:, :]


def metrics(risk, segment: int) -> dict:
    """Mean over segments, mean of their last tenth, and steps to the level (the segment's length if never)."""
    runs = np.asarray(scored(risk, segment))
    below = runs < LEVEL
    recovery = np.where(below.any(-1), below.argmax(-1), segment)
    ends = runs[..., -max(segment // 10, 1) :]
    return {
        "mean risk": runs.mean((-2, -1)),
        "risk at the end": ends.mean((-2, -1)),
        "steps to 0.05": recovery.mean(-1),
    }


def run(quick: bool = False) -> Finding:
    """All methods on the regression that drifts."""
    segment, seeds = (20, 2) if quick else (SEGMENT, SEEDS)
    problem, steps = regression(rotate_every=segment), segment * SEGMENTS
    rows, curves, recovery = [], {}, {}
    for name, peer in peers(steps).items():
        rate, trace = sweep(problem, peer, steps, seeds, lambda risk: scored(risk, segment).mean((-2, -1)))
        found = metrics(trace.risk, segment)
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {rate:g}", found))
        recovery[name], curves[name] = found["steps to 0.05"].mean(), trace.risk.mean(0)
    risks = ours(problem, RATES, steps, seeds)
    rows += rows_of(risks, RATES, lambda risk: metrics(risk, segment))
    curves |= curves_of(risks, RATES)
    slowest = {name: metrics(runs, segment)["steps to 0.05"].mean(1).max() for name, runs in risks.items()}
    worst = next(iter(slowest.values()))
    because = (
        f"slowest mean recovery {worst:.0f} steps, of ae_adamw {slowest['ae_adamw']:.0f}; best fixed adamw "
        f"{recovery['adamw']:.0f}, best cosine {recovery['adamw, cosine']:.0f}"
    )
    return Finding(verdict(worst <= min(105, recovery["adamw, cosine"] / 2)), because, rows, curves, "risk")
