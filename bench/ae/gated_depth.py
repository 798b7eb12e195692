"""H14: do the laws find how far the gates of a deep network should open?

The theory names an AEONet without saying what it is. Here it is `x + gate_i f_i(x)`, eight blocks, on the regression of
A1. The gates are coefficients: progress opens them, instability closes them. All see the same loss, so all move alike.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.ae._finding import Finding, Row, shown, verdict
from bench.ae._regression import INPUTS, LABEL_NOISE, TEACHER, TEACHER_SCALE, TEST_POINTS, mlp, mlp_init
from etm_jax import ae

CRITERION = (
    "gates that start at 0.5 move by more than 0.1 on average, and the final risk is at most 1.05 times that of the "
    "best constant gate of 0.25, 0.5 and 1"
)
BLOCKS, WIDTH, BATCH, STEPS, SEEDS, LAST, EVERY = 8, 16, 16, 1500, 5, 4, 50
START, CONSTANT = 0.5, (0.25, 0.5, 1.0)
NAMES = tuple(f"gate_{block}" for block in range(BLOCKS))
RANGES = {name: ae.Coefficient("logit", 0.02, 0.98) for name in NAMES}
# The stability feature is negative while the loss is unstable, so a positive entry closes a gate then.
DRIVE = {name: {"progress": 0.5, "stability": 1.0} for name in NAMES}


def gated_adamw(learning_rate, gate_0, gate_1, gate_2, gate_3, gate_4, gate_5, gate_6, gate_7):
    """AdamW; the gates act in the loss."""
    del gate_0, gate_1, gate_2, gate_3, gate_4, gate_5, gate_6, gate_7
    return optax.chain(ae.scale_by_varying_adam(), optax.add_decayed_weights(1e-4), optax.scale(-learning_rate))


def adaptive(start: Any) -> optax.GradientTransformationExtraArgs:
    """Learning rate and gates under the laws."""
    names = ("learning_rate", *NAMES)
    return ae.adaptive_evolution(gated_adamw, names, ranges=RANGES, drive=DRIVE)(1e-2, *[start] * BLOCKS)


def init(key: jax.Array):
    key_in, key_out, *keys = jax.random.split(key, BLOCKS + 2)
    return {
        "in": mlp_init(key_in, (INPUTS, WIDTH)),
        "blocks": [mlp_init(key_block, (WIDTH, WIDTH, WIDTH)) for key_block in keys],
        "out": mlp_init(key_out, (WIDTH, 1)),
    }


def predict(params, gates: jax.Array, inputs: jax.Array) -> jax.Array:
    state = mlp(params["in"], inputs)
    for gate, block in zip(gates, params["blocks"], strict=True):
        state = state + gate * mlp(block, jnp.tanh(state))
    return mlp(params["out"], state)


def train(tx: Any, gates_of: Callable[[Any], jax.Array], steps: int, key: jax.Array):
    """Risk free of label noise, and the mean gate, every few steps."""
    key_init, key_run, key_teacher, key_test = jax.random.split(key, 4)
    params, teacher = init(key_init), mlp_init(key_teacher, TEACHER, TEACHER_SCALE)
    points = jax.random.normal(key_test, (TEST_POINTS, INPUTS))

    def risk(params, gates: jax.Array) -> jax.Array:
        return jnp.mean((predict(params, gates, points) - mlp(teacher, points)) ** 2)

    def step(carry: tuple[Any, Any], index: jax.Array):
        params, state = carry
        key_inputs, key_noise = jax.random.split(jax.random.fold_in(key_run, index))
        inputs = jax.random.normal(key_inputs, (BATCH, INPUTS))
        targets = mlp(teacher, inputs) + LABEL_NOISE * jax.random.normal(key_noise, (BATCH, 1))

        def loss(params):
            return jnp.mean((predict(params, gates_of(state), inputs) - targets) ** 2)

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = tx.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    def stretch(carry: tuple[Any, Any], indices: jax.Array):
        (params, state), _ = jax.lax.scan(step, carry, indices)
        gates = gates_of(state)
        return (params, state), (risk(params, gates), gates.mean())

    every = min(EVERY, steps)
    return jax.lax.scan(stretch, (params, tx.init(params)), jnp.arange(steps).reshape(-1, every))[1]


def over_gates(make: Any, gates_of: Any, gates: tuple[float, ...], steps: int, seeds: int):
    """`[gates, seeds, steps / EVERY]` of risk and of the mean gate."""
    keys = jax.random.split(jax.random.key(2026), seeds)

    def one(gate: jax.Array, key: jax.Array):
        return train(make(gate), lambda state: gates_of(state, gate), steps, key)

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(jnp.asarray(gates), keys)


def moving(state: Any, gate: jax.Array) -> jax.Array:
    """Gates of the laws."""
    del gate
    found = ae.coefficients(state)
    return jnp.stack([found[name] for name in NAMES])


def standing(state: Any, gate: jax.Array) -> jax.Array:
    """Gates that stay."""
    del state
    return jnp.full(BLOCKS, gate)


def run(quick: bool = False) -> Finding:
    """Constant gates, and gates under the laws; the learning rate is under the laws in both."""
    steps, seeds = (40, 2) if quick else (STEPS, SEEDS)
    rows, curves, finals = [], {}, []
    risks, _ = over_gates(lambda gate: ae.ae_adamw(1e-2), standing, CONSTANT, steps, seeds)
    for gate, risk in zip(CONSTANT, risks, strict=True):
        rows.append(Row(f"constant gates of {gate:g}", {"final risk": risk[:, -LAST:].mean(1)}))
        curves[rows[-1].method] = risk.mean(0)
        finals.append(float(risk[:, -LAST:].mean()))
    starts = (START, 0.25, 0.9)
    risks, gates = over_gates(adaptive, moving, starts, steps, seeds)
    for start, risk, gate in zip(starts, risks, gates, strict=True):
        found = {"final risk": risk[:, -LAST:].mean(1), "mean gate at the end": gate[:, -1]}
        rows.append(Row(f"gates under the laws, from {start:g}", found))
        curves[rows[-1].method] = risk.mean(0)
    moved, ratio = float(jnp.abs(gates[0, :, -1] - START).mean()), float(risks[0, :, -LAST:].mean()) / min(finals)
    because = (
        f"gates from 0.5 end at {shown(gates[0, :, -1])}, moved by {moved:.2f}; final risk over that of the best "
        f"constant gate {ratio:.2f}"
    )
    return Finding(verdict(moved > 0.1 and ratio <= 1.05), because, rows, curves, "risk")
