"""G13: does it come back from an absurd initial rate, and in bounded steps?"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._regression import regression
from bench.ae._train import over_seeds
from bench.ae.static_regression import final, steps_to
from etm_jax import ae

CRITERION = (
    "static regression, ae_sgdm, ae_adamw and ae_schedule_free_adamw from 0.1, 1, 10 and 100: nothing non-finite; "
    "largest step of the log rate <= 0.15 up and <= 0.7 down; mean final risk <= 1.5 times that from 0.01"
)
STEPS, SEEDS = 1500, 5
UP, DOWN, ROUNDING = 0.15, 0.7, 1e-5  # the rates are float32, and so their logarithms are rounded
RATES = (1e-2, 1e-1, 1.0, 10.0, 100.0)
METHODS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "sgdm": lambda rate: optax.chain(ae.scale_by_momentum(0.9), optax.scale_by_learning_rate(rate)),
    "adamw": optax.adamw,
    "ae_sgdm": ae.ae_sgdm,
    "ae_adamw": ae.ae_adamw,
    "ae_schedule_free_adamw": ae.ae_schedule_free_adamw,
}


def log_steps(rates: Any) -> np.ndarray:
    """Steps of the log rate, `[rates, seeds, steps]`, the first from the initial rate."""
    log_rates = np.log(np.asarray(rates, float))
    first = np.broadcast_to(np.log(np.asarray(RATES))[:, None, None], (*log_rates.shape[:2], 1))
    return np.diff(np.concatenate([first, log_rates], -1), axis=-1)


def run(quick: bool = False) -> Finding:
    """All methods on the static regression."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    rows, curves, said, holds = [], {}, [], True
    for name, make in METHODS.items():
        ours = name.startswith("ae_")
        trace = over_seeds(regression(), make, jnp.asarray(RATES), steps, seeds, watch=ours)
        risk, ends = np.asarray(trace.risk), np.asarray(final(trace.risk))
        moves = log_steps(trace.watched["coefficient/learning_rate"]) if ours else np.zeros((len(RATES), seeds, 1))
        for index, rate in enumerate(RATES):
            values = {
                "final risk": ends[index],
                "steps to 0.02": steps_to(risk[index], 0.02),
                "non-finite steps": np.sum(~np.isfinite(risk[index]), -1),
            }
            if ours:
                values["largest step up"] = moves[index].max(-1)
                values["largest step down"] = -moves[index].min(-1)
                values["skipped steps"] = np.asarray(trace.watched["skipped"][index, :, -1])
                curves[f"{name} from {rate:g}"] = risk[index].mean(0)
            rows.append(Row(f"{name} from {rate:g}", values))
        if ours:
            bad, up, down = np.sum(~np.isfinite(risk[1:])), moves[1:].max(), -moves[1:].min()
            ratio = ends[1:].mean(1).max() / ends[0].mean()
            holds &= bool(bad == 0 and up <= UP + ROUNDING and down <= DOWN + ROUNDING and ratio <= 1.5)
            said.append(
                f"{name}: {bad} non-finite, largest step up {up:.3f} and down {down:.3f}, worst final risk {ratio:.2f} "
                "times that from 0.01"
            )
    return Finding(verdict(holds), "; ".join(said), rows, curves, "risk")
