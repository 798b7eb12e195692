"""C8: does it get through a curved valley and a deep linear net, wherever the rate starts?"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._train import Problem, over_seeds
from etm_jax import ae

CRITERION = (
    "Rosenbrock's function (greatest distance of a coordinate to the optimum) and a deep linear net of 4 layers "
    "(relative Frobenius distance to its target): after 30,000 steps of ae_sgdm and ae_adam an error <= 3e-2 in every "
    "run from every initial rate; nothing non-finite from 10"
)
STEPS, SEEDS, LEVEL = 30_000, 5, 3e-2
RATES = (1e-2, 1e-1, 1.0, 10.0)
SIZES = (8, 16, 16, 16, 8)
METHODS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "sgdm": lambda rate: optax.chain(ae.scale_by_momentum(0.9), optax.scale_by_learning_rate(rate)),
    "adam": optax.adam,
    "ae_sgdm": ae.ae_sgdm,
    "ae_adam": ae.ae_adam,
}


def rosenbrock() -> Problem:
    """`(1 - x)^2 + 100 (y - x^2)^2` from random points of the square of side 4."""

    def loss(params: jax.Array, batch: tuple):
        del batch
        x, y = params
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    return Problem(
        init=lambda key: jax.random.uniform(key, (2,), minval=-2.0, maxval=2.0),
        sample=lambda key, index, run: (),
        loss=loss,
        risk=lambda params, index, run: jnp.abs(params - 1).max(),
    )


def deep_linear() -> Problem:
    """A product of 4 matrices that is to become a random one."""

    def target(run: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(run, 7), (SIZES[0], SIZES[-1])) / jnp.sqrt(SIZES[0])

    def init(key: jax.Array) -> list[jax.Array]:
        keys = jax.random.split(key, len(SIZES) - 1)
        shapes = itertools.pairwise(SIZES)
        return [jax.random.normal(k, shape) / jnp.sqrt(shape[0]) for k, shape in zip(keys, shapes, strict=True)]

    def loss(params: list[jax.Array], wanted: jax.Array):
        return 0.5 * jnp.sum((jnp.linalg.multi_dot(params) - wanted) ** 2)

    def risk(params: list[jax.Array], index: jax.Array, run: jax.Array):
        return jnp.sqrt(2 * loss(params, target(run))) / jnp.linalg.norm(target(run))

    return Problem(init=init, sample=lambda key, index, run: target(run), loss=loss, risk=risk)


def first_below(error: np.ndarray) -> np.ndarray:
    """The first step below the level; the number of steps if there is none."""
    below = error < LEVEL
    return np.where(below.any(-1), below.argmax(-1), below.shape[-1])


def run(quick: bool = False) -> Finding:
    """All methods on both problems."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    rows, curves, said, holds = [], {}, [], True
    for problem_name, problem in {"Rosenbrock": rosenbrock(), "deep linear": deep_linear()}.items():
        for name, make in METHODS.items():
            ours = name.startswith("ae_")
            trace = over_seeds(problem, make, jnp.asarray(RATES), steps, seeds, watch=ours)
            error = np.asarray(trace.risk)  # [rates, seeds, steps]
            for index, rate in enumerate(RATES):
                values = {
                    "error": error[index, :, -1],
                    f"steps to {LEVEL:g}": first_below(error[index]),
                    "non-finite steps": np.sum(~np.isfinite(error[index]), -1),
                }
                if ours:
                    values["skipped steps"] = np.asarray(trace.watched["skipped"][index, :, -1])
                rows.append(Row(f"{problem_name}, {name} from {rate:g}", values))
            if ours:
                worst, bad = error[..., -1].max(-1), np.sum(~np.isfinite(error))
                holds &= bool(np.all(worst <= LEVEL) and bad == 0)
                at = ", ".join(f"{value:.3g}" for value in worst)
                said.append(f"{problem_name}, {name}: worst error from each rate {at}, non-finite {bad}")
                curves |= {f"{name} from 0.1, {problem_name}": error[1].mean(0)}
    return Finding(verdict(holds), "; ".join(said), rows, curves, "error")
