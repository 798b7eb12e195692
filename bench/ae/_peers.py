"""The optimisers that people would use instead, each with the rates that it is swept over."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from bench.ae._finding import Row
from bench.ae._train import Problem, Trace, over_seeds
from etm_jax import ae

Make = Callable[[Any], optax.GradientTransformation]
# The first decides; both run with their default gains.
OURS: dict[str, Make] = {
    "ae_schedule_free_adamw": lambda rate: ae.ae_schedule_free_adamw(rate),
    "ae_adamw": lambda rate: ae.ae_adamw(rate),
}


class Peer(NamedTuple):
    """An optimiser of one rate.

    Attributes:
        make: from a rate to the optimiser.
        rates: of its sweep.
        evaluated: see `train`.
    """

    make: Make
    rates: tuple[float, ...]
    evaluated: Callable[[Any, Any], Any] = ae.eval_params


def ours(problem: Problem, rates: Sequence[float], steps: int, seeds: int) -> dict[str, jax.Array]:
    """Risk of the laws from each initial rate, `[rates, seeds, steps]`, by the name of the chain."""
    return {name: over_seeds(problem, make, jnp.asarray(rates), steps, seeds).risk for name, make in OURS.items()}


def rows_of(risks: dict[str, jax.Array], rates: Sequence[float], metrics: Callable[[jax.Array], dict]) -> list[Row]:
    """A row for each chain of ours and initial rate."""
    return [
        Row(f"{name} from {rate:g}", metrics(risk))
        for name, runs in risks.items()
        for rate, risk in zip(rates, runs, strict=True)
    ]


def curves_of(risks: dict[str, jax.Array], rates: Sequence[float]) -> dict[str, jax.Array]:
    """The mean over seeds for the first chain of ours, by name and initial rate."""
    name, runs = next(iter(risks.items()))
    return {f"{name} from {rate:g}": risk.mean(0) for rate, risk in zip(rates, runs, strict=True)}


def peers(steps: int) -> dict[str, Peer]:
    """The peers by name; `steps` is the length of the cosine."""

    def cosine(rate: Any) -> optax.GradientTransformation:
        return optax.adamw(lambda count: rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(count / steps, 1.0))))

    def plateau(rate: Any) -> optax.GradientTransformation:
        reduce = contrib.reduce_on_plateau(factor=0.5, patience=5, accumulation_size=20)
        return optax.chain(optax.adamw(rate), reduce)

    return {
        "adamw": Peer(optax.adamw, (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
        "adamw, cosine": Peer(cosine, (3e-3, 1e-2, 2e-2, 3e-2, 1e-1)),
        "adamw, reduce on plateau": Peer(plateau, (1e-2, 3e-2, 1e-1)),
        "schedule-free adamw": Peer(
            contrib.schedule_free_adamw, (3e-3, 1e-2, 3e-2, 1e-1), contrib.schedule_free_eval_params
        ),
        "prodigy": Peer(contrib.prodigy, (0.3, 1.0)),
        "mechanize(adamw)": Peer(lambda rate: contrib.mechanize(optax.adamw(rate)), (1.0,)),
        "momo_adam": Peer(contrib.momo_adam, (1e-2, 3e-2, 1e-1)),
    }


def sweep(
    problem: Problem, peer: Peer, steps: int, seeds: int, cost: Callable[[jax.Array], Any]
) -> tuple[float, Trace]:
    """Train at every rate; the rate whose mean cost over seeds is least, and its runs.

    Args:
        problem: what is learnt.
        peer: the optimiser.
        steps: of training.
        seeds: runs for each rate.
        cost: from `[rates, seeds, steps]` of risk to `[rates, seeds]`; lower is better.
    """
    trace = over_seeds(problem, peer.make, jnp.asarray(peer.rates), steps, seeds, evaluated=peer.evaluated)
    costs = jnp.nan_to_num(jnp.asarray(cost(trace.risk)), nan=jnp.inf).mean(1)
    best = int(jnp.argmin(costs))
    return peer.rates[best], jax.tree.map(lambda leaf: leaf[best], trace)
