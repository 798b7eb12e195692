"""F12: for which form of momentum does the best rate depend on the decay?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._regression import regression
from bench.ae._train import Problem, over_seeds
from bench.ae.static_regression import LAST, final
from etm_jax import ae

CRITERION = (
    "slope of the best log rate over log 1 / (1 - decay), 6 decays by 9 rates on the static regression, mean over "
    "seeds: heavy ball in [-1.2, -0.7]; exponential mean and Adam's b1 within 0.3 of 0"
)
STEPS, SEEDS = 1000, 5
DECAYS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
RATES = 9
Make = Callable[[Any, Any], optax.GradientTransformation]


def mean_form(rate: Any, decay: Any) -> optax.GradientTransformation:
    """Momentum as an exponential mean of gradients."""
    return optax.chain(ae.scale_by_momentum(decay), optax.scale_by_learning_rate(rate))


# Each form with the range of its rates.
FORMS: dict[str, tuple[Make, float, float]] = {
    "heavy ball": (lambda rate, decay: optax.sgd(rate, decay), 1e-3, 1.0),
    "exponential mean": (mean_form, 1e-2, 10.0),
    "adam, b1": (lambda rate, decay: optax.adam(rate, b1=decay), 3e-4, 0.3),
}


def judged_late(problem: Problem, steps: int) -> Problem:
    """The same problem, with a risk of 0 until the last steps, where it is not looked at and need not be computed."""

    def risk(params: Any, index: jax.Array, run: jax.Array) -> jax.Array:
        return jax.lax.cond(
            index >= steps - LAST, lambda: problem.risk(params, index, run), lambda: jnp.zeros((), jnp.float32)
        )

    return problem._replace(risk=risk)


def lowest(log_rates: np.ndarray, risk: np.ndarray) -> float:
    """Log rate of the least risk: the vertex of the parabola through the best rate and its neighbours, in logarithms.

    At an end of the range, or next to a run that was lost, the rate itself.
    """
    log_risk = np.log(np.where(np.isfinite(risk), risk, np.inf))
    best = int(np.argmin(log_risk))
    around = log_risk[max(best - 1, 0) : best + 2]
    if around.size < 3 or not np.all(np.isfinite(around)):
        return float(log_rates[best])
    before, at, after = around
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(log_rates[best] + shift * (log_rates[1] - log_rates[0]))


def run(quick: bool = False) -> Finding:
    """The ridge of each form, a slope a seed."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    problem = judged_late(regression(), steps)
    horizons = -np.log1p(-np.asarray(DECAYS))
    rows, slopes = [], {}

    def ridge(make: Make, rates: np.ndarray) -> np.ndarray:
        settings = jnp.asarray([(rate, decay) for decay in DECAYS for rate in rates])
        risk = over_seeds(problem, lambda setting: make(setting[0], setting[1]), settings, steps, seeds).risk
        grid = np.asarray(final(risk)).reshape(len(DECAYS), len(rates), seeds)
        return np.asarray([[lowest(np.log(rates), column) for column in block.T] for block in grid])

    for name, (make, low, high) in FORMS.items():
        rates = np.geomspace(low, high, RATES)
        best = ridge(make, rates)  # [decays, seeds]
        slopes[name] = np.polyfit(horizons, best, 1)[0]
        at_end = (best <= np.log(rates[0]) + 1e-6) | (best >= np.log(rates[-1]) - 1e-6)
        best_rates = {f"best rate, {decay:g}": np.exp(row) for decay, row in zip(DECAYS, best, strict=True)}
        rows.append(Row(name, {"slope": slopes[name], **best_rates, "at an end of the range": at_end.mean(0)}))
    means = {name: float(slope.mean()) for name, slope in slopes.items()}
    holds = -1.2 <= means["heavy ball"] <= -0.7 and max(abs(means[name]) for name in list(FORMS)[1:]) <= 0.3
    because = "slopes: " + ", ".join(f"{name} {mean:+.2f}" for name, mean in means.items())
    return Finding(verdict(holds), because, rows)
