"""B4: how soon are digits told apart again after their pixels were put in another order?"""

import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._digits import digits
from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import Peer, curves_of, ours, peers, rows_of, sweep
from bench.ae._train import over_seeds
from bench.ae.static_regression import steps_to
from etm_jax import ae

CRITERION = (
    "new order of the pixels every 250 of 1,250 steps, four segments scored: from every initial rate, mean steps to an "
    "accuracy of 0.85 <= 1.25 times those of the best fixed rate of adamw, and <= half of the best cosine's"
)
SEGMENT, SEGMENTS, SEEDS, ERROR = 250, 5, 5, 0.15
RATES = (1e-5, 1e-3, 1e-1, 10.0)
PEERS = ("adamw", "adamw, cosine", "prodigy")
SGDM = Peer(lambda rate: optax.sgd(rate, momentum=0.9), (3e-3, 1e-2, 3e-2, 1e-1, 3e-1))


def scored(risk, segment: int) -> np.ndarray:
    """`[..., segments - 1, segment]`: the first segment is the start, not a drift."""
    risk = np.asarray(risk)
    return risk.reshape(*risk.shape[:-1], SEGMENTS, segment)[..., 1:, :]


def recovery(risk, segment: int) -> np.ndarray:
    """Mean steps to the accuracy, which is a running mean of ten steps; about the segment's length if never."""
    return steps_to(scored(risk, segment), ERROR).mean(-1)


def metrics(risk, segment: int) -> dict:
    """Mean accuracy over segments, that of their last tenth, and steps to 0.85."""
    right = 1 - scored(risk, segment)
    return {
        "mean accuracy": right.mean((-2, -1)),
        "accuracy at the end": right[..., -max(segment // 10, 1) :].mean((-2, -1)),
        "steps to 0.85": recovery(risk, segment),
    }


def run(quick: bool = False) -> Finding:
    """Peers at the rate that recovers soonest; ours at one setting from each initial rate."""
    segment, seeds = (20, 2) if quick else (SEGMENT, SEEDS)
    problem, steps = digits(permute_every=segment), segment * SEGMENTS
    rows, curves, best = [], {}, {}
    rivals = {name: peers(steps)[name] for name in PEERS} | {"sgd, momentum 0.9": SGDM}
    for name, peer in rivals.items():
        rate, trace = sweep(problem, peer, steps, seeds, lambda risk: recovery(risk, segment))
        found = metrics(trace.risk, segment)
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {rate:g}", found))
        best[name], curves[name] = found["steps to 0.85"].mean(), trace.risk.mean(0)
    sgdm = over_seeds(problem, lambda rate: ae.ae_sgdm(rate), jnp.asarray([1e-2]), steps, seeds).risk[0]
    rows.append(Row("ae_sgdm from 0.01", metrics(sgdm, segment)))
    risks = ours(problem, RATES, steps, seeds)
    rows += rows_of(risks, RATES, lambda risk: metrics(risk, segment))
    curves |= curves_of(risks, RATES)
    decisive = next(iter(risks.values()))
    worst = recovery(decisive, segment).mean(-1).max()
    holds = worst <= 1.25 * best["adamw"] and worst <= 0.5 * best["adamw, cosine"]
    because = f"slowest mean recovery {worst:.1f} steps; that over the best of " + ", of ".join(
        f"{name} {worst / other:.2f}" for name, other in best.items()
    )
    return Finding(verdict(bool(holds)), because, rows, curves, "test error")
