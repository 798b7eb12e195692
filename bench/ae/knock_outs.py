"""L18: which laws carry the result, and which do nothing here?"""

import jax
import jax.numpy as jnp
import numpy as np

from bench.ae import drift_regression
from bench.ae._finding import Finding, Row, half_width, verdict
from bench.ae._regression import regression
from bench.ae._train import over_seeds
from bench.ae.coupling import judged_late
from bench.ae.static_regression import final
from etm_jax import ae

CRITERION = (
    "ae_adamw on the static regression from 0.01 and 10 (final risk) and on the drifting one from 0.01 (risk at the "
    "end of segments, steps to 0.05): without phase and stability (AE-5), and without the gauge (AE-8), one of the "
    "four means at least is >= 2 times that of all laws; an effect is null where the interval of the paired log ratio "
    "has 0"
)
STATIC_STEPS, SEEDS, STARTS = 1500, 5, (0.01, 10.0)
CARRIES = {"no AE-5 phase and stability": "phase", "no AE-8 gauge": "gauge"}


def variants() -> dict[str, ae.Gains]:
    """Gains by what is missing."""
    names = ("learning_rate",)
    gains = ae.default_gains(names)
    laws = ("signals", "drive", "moves", "noise", "phase and stability", "budget", "coupling", "gauge")
    return {
        "all laws": gains,
        **{f"no AE-{number} {what}": ae.without(gains, f"AE-{number}") for number, what in enumerate(laws, 1)},
        "no persistence": ae.default_gains(names, drive={"learning_rate": {"persistence": 0.0}}),
        "no trend": ae.default_gains(names, drive={"learning_rate": {"progress": 0.0}}),
        "no surge": ae.default_gains(names, surge=0.0),
    }


def measured(segment: int, static_steps: int, seeds: int) -> dict[str, np.ndarray]:
    """The four figures, `[variants, seeds]` each."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variants().values())
    count = len(variants())

    def knocked(index: jax.Array, rate: jax.typing.ArrayLike):
        return ae.ae_adamw(rate, gains=jax.tree.map(lambda leaf: leaf[index], stacked))

    static, starts = judged_late(regression(), static_steps), jnp.asarray(STARTS)
    settings = jnp.arange(count * len(STARTS))
    ends = final(
        over_seeds(static, lambda n: knocked(n % count, starts[n // count]), settings, static_steps, seeds).risk
    )
    ends = np.asarray(ends).reshape(len(STARTS), count, seeds)
    drifting, steps = regression(rotate_every=segment), segment * drift_regression.SEGMENTS
    risk = over_seeds(drifting, lambda n: knocked(n, STARTS[0]), jnp.arange(count), steps, seeds).risk
    drift = drift_regression.metrics(risk, segment)
    return {
        **{f"static from {rate:g}": end for rate, end in zip(STARTS, ends, strict=True)},
        "drift, segment end": drift["risk at the end"],
        "drift, steps to 0.05": drift["steps to 0.05"],
    }


def effect(values: np.ndarray, whole: np.ndarray) -> tuple[float, int]:
    """Ratio of means to all laws, infinite where a run was lost; 1 = worse beyond the paired interval, -1 = better."""
    if not np.all(np.isfinite(values)):
        return float("inf"), 1
    ratios = np.log(np.maximum(values, 1e-12) / np.maximum(whole, 1e-12))
    beyond = abs(ratios.mean()) > half_width(ratios)
    return float(values.mean() / whole.mean()), int(beyond * np.sign(ratios.mean()))


def run(quick: bool = False) -> Finding:
    """Every knock-out on both problems."""
    segment, static_steps, seeds = (20, 60, 2) if quick else (drift_regression.SEGMENT, STATIC_STEPS, SEEDS)
    found = measured(segment, static_steps, seeds)
    rows, worst, null, idle = [], {}, [], []
    for index, name in enumerate(variants()):
        effects = {metric: effect(values[index], values[0]) for metric, values in found.items()}
        rows.append(Row(name, {metric: values[index] for metric, values in found.items()}))
        worst[name] = max((ratio, metric) for metric, (ratio, _) in effects.items())
        signs = [sign for _, sign in effects.values()]
        rows[-1].values["worst ratio"] = worst[name][0]
        rows[-1].values["worse beyond the interval"] = signs.count(1)
        rows[-1].values["better beyond it"] = signs.count(-1)
        if all(np.array_equal(values[index], values[0]) for values in found.values()):
            idle.append(name)
        elif not any(signs):
            null.append(name)
    costs = [f"{what} {worst[name][0]:.1f} times ({worst[name][1]})" for name, what in CARRIES.items()]
    because = (
        f"greatest costs: {', '.join(costs)}; null in all four figures: {', '.join(null) or 'none'}; not in use here: "
        f"{', '.join(idle[1:]) or 'none'}"
    )
    return Finding(verdict(all(worst[name][0] >= 2 for name in CARRIES)), because, rows)
