"""A3: does one setting reach a tuned schedule on text, too?

A perceptron reads eight characters of Python's own help texts, whose size depends on the version of Python, and
predicts the ninth. Blocks of the text are held out for validation; peers are chosen by it.
"""

import functools
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._peers import Make, peers
from bench.ae._regression import mlp, mlp_init
from etm_jax import ae

CRITERION = (
    "ae_schedule_free_adamw: validation nats <= those of the best cosine + 0.05 at every initial rate of 1e-5, 1e-3, "
    "1e-1 and 10"
)
STEPS, SEEDS, BATCH, EVERY = 1500, 5, 64, 250
CONTEXT, EMBEDDING, HIDDEN = 8, 16, 80
BLOCK, VALIDATION_WINDOWS = 1000, 4096  # every tenth block is for validation
AVERAGE = 0.97  # decay of the averaged parameters
RATES = (1e-5, 1e-3, 1e-1, 10.0)
PEERS = ("adamw", "adamw, cosine", "schedule-free adamw")
# phase width, phase floor, phase target
VARIANTS = {
    "ae_adamw": (3.0, 0.02, 0.0),
    "ae_adamw, phase width 1 and floor 0.2": (1.0, 0.2, 0.0),
    "ae_adamw, phase target -0.02": (3.0, 0.02, -0.02),
    "ae_adamw, phase target 0.02": (3.0, 0.02, 0.02),
}


@functools.cache
def text() -> tuple[np.ndarray, np.ndarray, int]:
    """Blocks for training, blocks for validation, and the number of symbols."""
    joined = "".join(topics[name] for name in sorted(topics))
    symbols, codes = np.unique(list(joined), return_inverse=True)
    blocks = codes[: len(codes) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(np.uint8)
    held_out = np.arange(len(blocks)) % 10 == 0
    return blocks[~held_out], blocks[held_out], len(symbols)


def windows(key: jax.Array, blocks: np.ndarray, number: int) -> jax.Array:
    """`[number, CONTEXT + 1]` codes, each window within one block."""
    key_block, key_start = jax.random.split(key)
    block = jax.random.randint(key_block, (number, 1), 0, len(blocks))
    start = jax.random.randint(key_start, (number, 1), 0, BLOCK - CONTEXT)
    return jnp.asarray(blocks)[block, start + jnp.arange(CONTEXT + 1)].astype(jnp.int32)


def init(key: jax.Array):
    symbols = text()[2]
    key_embedding, key_layers = jax.random.split(key)
    layers = mlp_init(key_layers, (CONTEXT * EMBEDDING, HIDDEN, symbols))
    return {"embedding": jax.random.normal(key_embedding, (symbols, EMBEDDING)), "layers": layers}


def nats(params, batch: jax.Array) -> jax.Array:
    """Mean cross-entropy of the last character of each window."""
    read = jax.nn.one_hot(batch[:, :-1], text()[2]) @ params["embedding"]
    scores = mlp(params["layers"], read.reshape(len(batch), -1))
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch[:, -1]).mean()


def train(tx: Any, steps: int, key: jax.Array, evaluated: Any, watch: Callable[[Any], Any]) -> dict[str, jax.Array]:
    """Train once; validation nats of the parameters and of their exponential mean, every few steps."""
    tx = optax.with_extra_args_support(tx)
    key_init, key_run = jax.random.split(key)
    blocks, held_out, _ = text()
    validation = windows(jax.random.key(0), held_out, VALIDATION_WINDOWS)

    def step(carry: Any, index: jax.Array):
        params, state, average = carry
        value, gradient = jax.value_and_grad(nats)(params, windows(jax.random.fold_in(key_run, index), blocks, BATCH))
        updates, state = tx.update(gradient, state, params, value=value)
        params = optax.apply_updates(params, updates)
        average = optax.incremental_update(evaluated(state, params), average, 1 - AVERAGE)
        return (params, state, average), None

    def stretch(carry: Any, indices: jax.Array):
        (params, state, average), _ = jax.lax.scan(step, carry, indices)
        seen = {"nats": nats(evaluated(state, params), validation), "averaged": nats(average, validation)}
        return (params, state, average), seen | watch(state)

    params = init(key_init)
    every = min(EVERY, steps)
    return jax.lax.scan(stretch, (params, tx.init(params), params), jnp.arange(steps).reshape(-1, every))[1]


def trained(
    make: Make, settings: Any, steps: int, seeds: int, evaluated: Any = ae.eval_params, watch: Any = lambda state: {}
):
    """For every setting (axis 0) and seed (axis 1) in one compiled call."""
    keys = jax.random.split(jax.random.key(2026), seeds)

    def of_setting(setting: jax.Array):
        return jax.lax.map(lambda key: train(make(setting), steps, key, evaluated, watch), keys)

    # One after another: on a CPU a batched product of small matrices is slower than the same products in turn.
    return jax.jit(lambda settings: jax.lax.map(of_setting, settings))(jnp.asarray(settings))


def metrics(found: Any) -> dict[str, Any]:
    """At the end of the run."""
    return {"validation nats": found["nats"][..., -1], "of averaged parameters": found["averaged"][..., -1]}


def variant(setting: jax.Array) -> Any:
    """ae_adamw of `(rate, phase width, phase floor, phase target)`."""
    rate, width, floor, target = setting
    gains = ae.default_gains(("learning_rate",), phase_width=width, phase_floor=floor, phase_target=target)
    return ae.ae_adamw(rate, gains=gains)


def run(quick: bool = False) -> Finding:
    """Peers, the laws, and variants of the laws."""
    steps, seeds = (20, 2) if quick else (STEPS, SEEDS)
    rows, curves, best = [], {}, {}
    averaged = trained(lambda rate: ae.ae_schedule_free_adamw(rate), RATES, steps, seeds)
    for index, rate in enumerate(RATES):
        found = jax.tree.map(lambda leaf, chosen=index: leaf[chosen], averaged)
        rows.append(Row(f"ae_schedule_free_adamw, from {rate:g}", metrics(found)))
        curves[rows[-1].method] = found["nats"].mean(0)
    worst = float(averaged["nats"][..., -1].mean(1).max())
    for name in PEERS:
        peer = peers(steps)[name]
        found = trained(peer.make, peer.rates, steps, seeds, peer.evaluated)
        index = int(jnp.argmin(jnp.nan_to_num(found["nats"][..., -1], nan=jnp.inf).mean(1)))
        found = jax.tree.map(lambda leaf, chosen=index: leaf[chosen], found)
        rows.append(Row(f"{name}, best of {len(peer.rates)} rates: {peer.rates[index]:g}", metrics(found)))
        best[name], curves[name] = float(found["nats"][..., -1].mean()), found["nats"].mean(0)
    settings = [(rate, *phase) for phase in VARIANTS.values() for rate in RATES]
    ours = trained(variant, settings, steps, seeds)
    for index, (rate, *phase) in enumerate(settings):
        name = next(name for name, numbers in VARIANTS.items() if numbers == tuple(phase))
        found = jax.tree.map(lambda leaf, chosen=index: leaf[chosen], ours)
        rows.append(Row(f"{name}, from {rate:g}", metrics(found)))
    both = trained(
        lambda rate: ae.ae_adamw(rate, coefficients=("learning_rate", "b2")),
        [1e-3],
        steps,
        seeds,
        watch=lambda state: {"b2": ae.coefficients(state)["b2"]},
    )
    both = jax.tree.map(lambda leaf: leaf[0], both)
    b2 = {
        f"b2 at step {(index + 1) * min(EVERY, steps)}": both["b2"][:, index] for index in {0, both["b2"].shape[1] - 1}
    }
    rows.append(Row("ae_adamw of rate and b2, from 0.001", metrics(both) | b2))
    plain = max(float(row.values["validation nats"].mean()) for row in rows if row.method.startswith("ae_adamw, from"))
    because = (
        f"worst of four initial rates {worst:.3f} nats, of ae_adamw {plain:.3f}; best cosine "
        f"{best['adamw, cosine']:.3f}, best fixed adamw {best['adamw']:.3f}, best schedule-free "
        f"{best['schedule-free adamw']:.3f}"
    )
    return Finding(verdict(worst <= best["adamw, cosine"] + 0.05), because, rows, curves, "validation nats")
