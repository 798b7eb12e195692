"""B6: does reinforcement learning go on when the rewards change their scale?

REINFORCE on a cart with a pole. In the middle of learning each step's reward of 1 becomes another number. Advantages
are not normalised, which would hide it. A later change finds nothing left to learn.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.ae._finding import Finding, Row, verdict
from bench.ae._regression import mlp, mlp_init
from etm_jax import ae

CRITERION = (
    "ae_sgdm with the norm gauge: after rewards change by x0.1, x10 or +5 in mid-learning, on average at most 1.2 "
    "times the updates to a mean length of 150 of 200 steps that it takes with rewards unchanged; null if that is "
    "never reached with rewards unchanged"
)
UPDATES, CHANGE, SEEDS, EPISODES, HORIZON, LEVEL = 80, 6, 8, 16, 200, 150
DISCOUNT, POLICY = 0.99, (4, 32, 2)
CHANGES = {"unchanged": (1.0, 0.0), "x0.1": (0.1, 0.0), "x10": (10.0, 0.0), "+5": (1.0, 5.0)}
GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TRACK, TILT = 2.4, 0.2095


def push(state: jax.Array, right: jax.Array) -> jax.Array:
    """One step of the cart, after Barto, Sutton & Anderson 1983; `[..., 4]`: place, speed, angle, spin."""
    _, speed, angle, spin = jnp.moveaxis(state, -1, 0)
    sine, cosine, mass = jnp.sin(angle), jnp.cos(angle), CART + POLE
    drive = (FORCE * (2 * right - 1) + POLE * HALF_LENGTH * spin**2 * sine) / mass
    turn = (GRAVITY * sine - cosine * drive) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / mass))
    thrust = drive - POLE * HALF_LENGTH * turn * cosine / mass
    return state + SECONDS * jnp.stack([speed, thrust, spin, turn], -1)


def play(params, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """States, actions, and True while the pole stands: `[HORIZON, EPISODES, ...]`."""
    key_start, key_actions = jax.random.split(key)
    start = jax.random.uniform(key_start, (EPISODES, 4), minval=-0.05, maxval=0.05)

    def step(carry: tuple[jax.Array, jax.Array], key: jax.Array):
        state, stands = carry
        action = jax.random.categorical(key, mlp(params, state))
        after = push(state, action)
        still = stands & (jnp.abs(after[:, 0]) < TRACK) & (jnp.abs(after[:, 2]) < TILT)
        return (jnp.where(still[:, None], after, state), still), (state, action, stands)

    return jax.lax.scan(step, (start, jnp.ones(EPISODES, bool)), jax.random.split(key_actions, HORIZON))[1]


def surrogate(params, game: Any, rewards: jax.Array, temperature: jax.Array) -> jax.Array:
    """Its gradient is that of minus the mean return and the entropy bonus."""
    states, actions, stands = game
    lag = jnp.arange(HORIZON)[None] - jnp.arange(HORIZON)[:, None]
    to_go = jnp.where(lag >= 0, DISCOUNT ** jnp.maximum(lag, 0), 0.0) @ rewards
    baseline = jnp.sum(to_go * stands, 1, keepdims=True) / jnp.maximum(jnp.sum(stands, 1, keepdims=True), 1)
    logs = jax.nn.log_softmax(mlp(params, states))
    chosen = jnp.take_along_axis(logs, actions[..., None], -1)[..., 0]
    entropy = -jnp.sum(jnp.exp(logs) * logs, -1)
    return -jnp.sum(stands * (chosen * (to_go - baseline) + temperature * entropy)) / jnp.sum(stands)


def lengths(tx: Any, change: jax.Array, updates: int, start: int, key: jax.Array) -> jax.Array:
    """Mean length of episodes at each update, `[updates]`."""
    tx = optax.with_extra_args_support(tx)
    key_init, key_run = jax.random.split(key)
    params = mlp_init(key_init, POLICY)

    def temperature(state: Any) -> Any:
        # Of ae_rl only the entropy acts: with one step for each batch the KL to the policy that played it has no slope.
        adaptive = any(isinstance(leaf, ae.AEState) for leaf in jax.tree.leaves(state, is_leaf=_is_ae))
        return ae.coefficients(state).get("entropy_temperature", 0.0) if adaptive else 0.0

    def step(carry: tuple[Any, Any], index: jax.Array):
        params, state = carry
        game = play(params, jax.random.fold_in(key_run, index))
        scale, shift = jnp.where(index >= start, change, jnp.asarray([1.0, 0.0]))
        rewards = game[2] * (scale + shift)
        loss, gradient = jax.value_and_grad(surrogate)(params, game, rewards, temperature(state))
        updates, state = tx.update(gradient, state, params, value=loss, reward=rewards.sum(0).mean())
        return (optax.apply_updates(params, updates), state), game[2].sum(0).mean()

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(updates))[1]


def _is_ae(node: Any) -> bool:
    return isinstance(node, ae.AEState)


def learn(make: Any, rates: tuple[float, ...], updates: int, start: int, seeds: int) -> np.ndarray:
    """`[rates, changes, seeds, updates]`; the seeds of all changes are the same."""
    keys = jax.random.split(jax.random.key(2026), seeds)

    def one(rate: jax.Array, change: jax.Array, key: jax.Array) -> jax.Array:
        return lengths(make(rate), change, updates, start, key)

    every = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    return np.asarray(jax.jit(every)(jnp.asarray(rates), jnp.asarray(list(CHANGES.values())), keys))


def recovery(runs: np.ndarray, start: int) -> np.ndarray:
    """Updates after the change until the mean of five lengths is at the level; all that are left if it never is."""
    after = np.apply_along_axis(lambda run: np.convolve(run, np.ones(5) / 5, "valid"), -1, runs[..., start:])
    there = after >= LEVEL
    return np.where(there.any(-1), there.argmax(-1), there.shape[-1])


def run(quick: bool = False) -> Finding:
    """Each method under each change of the rewards."""
    updates, start, seeds = (12, 4, 2) if quick else (UPDATES, CHANGE, SEEDS)
    methods = {
        "adam": (optax.adam, (1e-3, 3e-3, 1e-2, 3e-2)),
        "sgd": (lambda rate: optax.sgd(rate, momentum=0.9), (1e-3, 1e-2, 3e-2, 1e-1)),
        "ae_sgdm, norm": (lambda rate: ae.ae_sgdm(rate, gauge="norm"), (1e-2,)),
        "ae_rl": (lambda rate: ae.ae_rl(rate), (1e-2,)),
    }
    rows, curves, ratios, found_of = [], {}, {}, {}
    for name, (make, rates) in methods.items():
        runs = learn(make, rates, updates, start, seeds)
        best = int(np.argmax(runs[:, 0].mean((-2, -1))))  # the change is not known beforehand
        taken = recovery(runs[best], start)
        label = f"{name}, best of {len(rates)} rates: {rates[best]:g}" if len(rates) > 1 else name
        for change, lengths_of, steps in zip(CHANGES, runs[best], taken, strict=True):
            found = {"updates to 150": steps, "mean length after": lengths_of[:, start:].mean(1)}
            rows.append(Row(f"{label}; {change}", found | {"least length after": lengths_of[:, start:].min(1)}))
            if not name.startswith("ae_rl"):
                curves[f"{name}; {change}"] = lengths_of.mean(0)
        ratios[name], found_of[name] = taken[1:].mean(1) / max(taken[0].mean(), 1.0), taken
    ours, limit = found_of["ae_sgdm, norm"], updates - start - 4
    because = "updates to recover, worst change over unchanged: " + ", ".join(
        f"{name} {values.max():.2f}" for name, values in ratios.items()
    )
    outcome = verdict(bool(ratios["ae_sgdm, norm"].max() <= 1.2)) if 1 <= ours[0].mean() < limit else "null"
    return Finding(outcome, because, rows, curves, "mean length")
