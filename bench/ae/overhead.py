"""K17: what do the laws cost in memory and in time?"""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

from bench._timing import Case, compiled_case, time_rounds
from bench.ae._finding import Finding, Row, verdict
from bench.ae._regression import mlp, mlp_init
from etm_jax import ae
from etm_jax.evolve import suite_of
from etm_jax.networks import random_genome
from etm_jax.networks.learning import Lifetime, learn, learnable
from etm_jax.presets import NARROW

CRITERION = (
    "ae_adamw: optimiser state <= 2.0 times the parameters' bytes + 1 kB; CPU seconds of a whole training step at "
    "batch 64 <= 1.25 times those of adamw; of a lifetime of a network of the default preset under "
    "ae_schedule_free_adamw <= 1.05 times those under adam"
)
SIZES = (256, 512, 512, 256, 10)  # 0.53 million parameters
BATCH, STEPS, ROUNDS = 64, 10, 30
STATE_EXCESS, TIME_LIMIT, LIFETIME_LIMIT = 1000, 1.25, 1.05
LIFETIME_STEPS, LIFETIME_ROUNDS = 20, 15
LIFETIMES = ("adam", "ae_adam", "ae_schedule_free_adamw")
METHODS = {
    "adamw": lambda: optax.adamw(1e-3),
    "mechanize(adamw)": lambda: contrib.mechanize(optax.adamw(1e-3)),
    "prodigy": lambda: contrib.prodigy(1.0),
    "adaptive_evolution(adamw), last update stored": lambda: ae.adaptive_evolution(optax.adamw)(1e-3),
    "ae_schedule_free_adamw": lambda: ae.ae_schedule_free_adamw(1e-3),
    "schedule-free adamw": lambda: contrib.schedule_free_adamw(1e-3),
    "ae_adamw": lambda: ae.ae_adamw(1e-3),
}


class Measured(NamedTuple):
    """One optimiser's training steps, timed; and bytes of its state and of the parameters."""

    case: Case
    state_bytes: int
    param_bytes: int


def training(name: str, tx: optax.GradientTransformation, steps: int) -> Measured:
    """A case of whole training steps, one call each, with the parameters and the state donated."""
    key_params, key_inputs, key_labels = jax.random.split(jax.random.key(2026), 3)
    params = mlp_init(key_params, SIZES)
    inputs = jax.random.normal(key_inputs, (BATCH, SIZES[0]))
    labels = jax.random.randint(key_labels, (BATCH,), 0, SIZES[-1])
    tx = optax.with_extra_args_support(tx)

    def loss(params: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(mlp(params, inputs), labels).mean()

    def step(params: Any, state: Any):
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = tx.update(gradient, state, params, value=value)
        return optax.apply_updates(params, updates), state

    # Copies, because a new state may hold one array twice, which cannot be donated.
    carried = [jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), (params, tx.init(params)))]
    sizes = [sum(leaf.nbytes for leaf in jax.tree.leaves(part)) for part in carried[0]]
    start = time.process_time()
    program = jax.jit(step, donate_argnums=(0, 1)).lower(*carried[0]).compile()
    seconds = time.process_time() - start

    def run() -> None:
        for _ in range(steps):
            carried[0] = program(*carried[0])
        jax.block_until_ready(carried[0])

    return Measured(Case("training steps", name, run, compile_s=seconds), sizes[1], sizes[0])


def lifetime(optimiser: str, steps: int) -> Case:
    """A case of the gradient steps of one network of the default preset."""
    suite = learnable(suite_of(NARROW))
    bounds = NARROW.model.bounds
    config = replace(NARROW.model.lifetime, optimiser=optimiser)
    network = Lifetime(bounds, suite, config)
    genome = random_genome(jax.random.key(2026), bounds, suite.input_size, suite.output_size)
    difficulty = jnp.ones(len(suite.names))
    return compiled_case(
        "lifetime",
        optimiser,
        lambda key, genome: learn(network, key, genome, difficulty, 1.0, steps),
        jax.random.key(0),
        genome,
    )


def lifetime_rows(steps: int, rounds: int) -> tuple[list[Row], float]:
    """Lifetimes under each optimiser, and the ratio of the default one to adam."""
    cases = [lifetime(optimiser, steps) for optimiser in LIFETIMES]
    time_rounds(cases, rounds)
    baseline = np.asarray(cases[0].cpu_s)
    rows = [
        Row(
            f"lifetime of an MemoryNetwork, {case.name}",
            {
                "CPU ms a step": 1e3 * np.asarray(case.cpu_s) / steps,
                "over adam": np.asarray(case.cpu_s) / baseline,
                "compile CPU s": case.compile_s,
            },
        )
        for case in cases
    ]
    return rows, float(np.median(rows[-1].values["over adam"]))


def run(quick: bool = False) -> Finding:
    """Rounds of ten steps of every method in turn; ratios are of one round, intervals over rounds."""
    steps, rounds = (2, 3) if quick else (STEPS, ROUNDS)
    measured = {name: training(name, make(), steps) for name, make in METHODS.items()}
    time_rounds([one.case for one in measured.values()], rounds)
    baseline = np.asarray(measured["adamw"].case.cpu_s)
    rows = []
    for name, one in measured.items():
        seconds = np.asarray(one.case.cpu_s)
        values = {
            "state over parameters": one.state_bytes / one.param_bytes,
            "bytes over twice the parameters": one.state_bytes - 2 * one.param_bytes,
            "CPU ms a step": 1e3 * seconds / steps,
            "over adamw": seconds / baseline,
            "compile CPU s": one.case.compile_s,
        }
        rows.append(Row(name, values))
    ours = rows[-1].values
    lifetimes, lived = lifetime_rows(*((2, 3) if quick else (LIFETIME_STEPS, LIFETIME_ROUNDS)))
    rows += lifetimes
    excess, ratio = ours["bytes over twice the parameters"], float(np.median(ours["over adamw"]))
    because = (
        f"state {ours['state over parameters']:.3f} times the parameters ({excess} bytes over twice them); a training "
        f"step takes {ratio:.2f} times the CPU seconds of adamw (median of {rounds} rounds); a "
        f"lifetime under ae_schedule_free_adamw {lived:.2f} times that under adam"
    )
    holds = excess <= STATE_EXCESS and ratio <= TIME_LIMIT and lived <= LIFETIME_LIMIT
    return Finding(verdict(holds), because, rows)
