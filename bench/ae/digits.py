"""A2: does one setting classify digits from any initial rate, on a task that no gain was tuned on?"""

import jax.numpy as jnp
import numpy as np

from bench.ae._digits import digits
from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import peers, sweep
from bench.ae._train import over_seeds
from etm_jax import ae

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
    """Each run splits the data anew, 1,497 to train and 300 to test; the peers' rates are chosen on the latter."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    problem = digits()
    rows, curves, best = [], {}, {}
    for name in PEERS:
        peer = peers(steps)[name]
        rate, trace = sweep(problem, peer, steps, seeds, final_error)
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {rate:g}", metrics(trace.risk)))
        best[name], curves[name] = float(1 - final_error(trace.risk).mean()), trace.risk.mean(0)
    ours = over_seeds(problem, lambda rate: ae.ae_adamw(rate), jnp.asarray(RATES), steps, seeds).risk
    rows += [Row(f"ae_adamw from {rate:g}", metrics(risk)) for rate, risk in zip(RATES, ours, strict=True)]
    curves |= {f"ae_adamw from {rate:g}": risk.mean(0) for rate, risk in zip(RATES, ours, strict=True)}
    accuracy = 1 - np.asarray(final_error(ours)).mean(1)
    because = (
        f"accuracy {accuracy.min():.4f} to {accuracy.max():.4f}; best of "
        + ", of ".join(f"{name} {value:.4f}" for name, value in best.items())
        + f"; {sum(value >= LEVEL for value in best.values())} of {len(best)} peers reach {LEVEL}"
    )
    return Finding(verdict(bool(accuracy.min() >= LEVEL)), because, rows, curves, "test error")
