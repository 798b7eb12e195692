"""D9: does one setting serve batches of 4, 16 and 64 without being tuned again?"""

import jax.numpy as jnp
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import Peer, sweep
from bench.ae._regression import regression
from bench.ae._train import over_seeds
from bench.ae.static_regression import final
from etm_jax import ae

CRITERION = (
    "from one initial rate, 0.01: final risk at every size of batch <= 1.15 times that of the best of three fixed "
    "rates of adamw, chosen for that size"
)
STEPS, SEEDS, LIMIT = 1500, 5, 1.15
BATCHES = (4, 16, 64)
ADAMW = Peer(optax.adamw, (3e-3, 1e-2, 3e-2))


def run(quick: bool = False) -> Finding:
    """Each size on its own; nothing is kept constant but the number of steps."""
    steps, seeds = (60, 2) if quick else (STEPS, SEEDS)
    rows, curves, ratios = [], {}, {}
    for batch in BATCHES:
        problem = regression(batch)
        rate, fixed = sweep(problem, ADAMW, steps, seeds, final)
        ours = over_seeds(
            problem, lambda rate: ae.ae_schedule_free_adamw(rate), jnp.asarray([1e-2]), steps, seeds, watch=True
        )
        risk = ours.risk[0]
        rows.append(Row(f"batch {batch}, adamw, best of 3 rates: {rate:g}", {"final risk": final(fixed.risk)}))
        learnt = {
            "final risk": final(risk),
            "learning rate at the end": ours.watched["coefficient/learning_rate"][0][:, -1],
        }
        rows.append(Row(f"batch {batch}, ae_schedule_free_adamw from 0.01", learnt))
        curves[f"adamw, batch {batch}"] = fixed.risk.mean(0)
        curves[f"ae_schedule_free_adamw, batch {batch}"] = risk.mean(0)
        ratios[batch] = float(final(risk).mean() / final(fixed.risk).mean())
    because = "final risk over the best fixed rate's: " + ", ".join(
        f"{ratio:.2f} at batch {batch}" for batch, ratio in ratios.items()
    )
    return Finding(verdict(all(ratio <= LIMIT for ratio in ratios.values())), because, rows, curves, "risk")
