"""A2: does one setting classify digits from any initial rate, on a task that no gain was tuned on?"""

import numpy as np

from bench.ae._digits import digits
from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import curves_of, ours, peers, rows_of, sweep

CRITERION = "test accuracy of a 64-64-10 network after 1,000 steps >= 0.985 from every initial rate"
STEPS, SEEDS, LAST = 1000, 5, 50
RATES = (1e-5, 1e-3, 1e-1, 10.0)
LEVEL = 0.985
PEERS = ("adamw", "adamw, cosine", "prodigy")


def final_error(risk):
    """Error rate on the test digits, mean over the last steps, `[..., seeds]`."""
    return risk[..., -LAST:].mean(-1)


def metrics(risk) -> dict:
    """Accuracy at the end and over the whole run."""
    return {"test accuracy": 1 - final_error(risk), "mean over the run": 1 - risk.mean(-1)}


def run(quick: bool = False) -> Finding:
    """Each run splits the data again, 1,497 to train and 300 to test; the peers' rates are chosen on the latter."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    problem = digits()
    rows, curves, best = [], {}, {}
    for name in PEERS:
        peer = peers(steps)[name]
        rate, trace = sweep(problem, peer, steps, seeds, final_error)
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {rate:g}", metrics(trace.risk)))
        best[name], curves[name] = float(1 - final_error(trace.risk).mean()), trace.risk.mean(0)
    risks = ours(problem, RATES, steps, seeds)
    rows += rows_of(risks, RATES, metrics)
    curves |= curves_of(risks, RATES)
    decisive = next(iter(risks.values()))
    accuracy = 1 - np.asarray(final_error(decisive)).mean(1)
    because = (
        f"accuracy {accuracy.min():.4f} to {accuracy.max():.4f}; best of "
        + ", of ".join(f"{name} {value:.4f}" for name, value in best.items())
        + f"; {sum(value >= LEVEL for value in best.values())} of {len(best)} peers reach {LEVEL}"
    )
    return Finding(verdict(bool(accuracy.min() >= LEVEL)), because, rows, curves, "test error")
