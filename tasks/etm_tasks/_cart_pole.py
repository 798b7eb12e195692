"""Cart-pole: balance a pole on a cart with a noisy force."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from etm_jax._typing import pytree
from etm_jax.environment import scaled_reward

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH = 9.8, 1.0, 0.1, 0.5  # m/s^2, kg, kg, m
TIME_STEP, LARGEST_FORCE, NOISE = 0.02, 10.0, 0.15  # s, N, N
RANGES = (2.4, 3.0, 0.2095, 3.5)  # m, m/s, rad (12 degrees), rad/s: observed as -1 to 1
START = 0.05  # initial values are uniform on -START..START


@pytree
class CartPoleState:
    """Position, speed, angle from upright and angular speed: m, m/s, rad, rad/s."""

    motion: Float[Array, "*lead 4"]


@dataclass(frozen=True)
class CartPole:
    """Balance a pole on a cart for `steps` steps with a noisy force.

    Barto, Sutton and Anderson 1983, with a continuous force: 10 N times the logit, clipped to [-1, 1], plus normal
    noise of 0.15 N. Position, speed, angle and angular speed are observed in units of 2.4 m, 3 m/s, 12 degrees and
    3.5 rad/s. An episode ends when the pole leans more than 12 degrees or the cart is more than 2.4 m from the middle.
    Each step pays 1, so the reward is the number of steps the pole stayed up. Difficulty has no effect.

    An episode that lasts to the horizon is solved.

    Attributes:
        steps: the horizon.

    Raises:
        ValueError: `steps` is below 50, a length that random actions reach.

    Example:
        >>> import jax, etm_tasks
        >>> pole = etm_tasks.make("cart_pole")
        >>> state, observation = pole.reset(jax.random.key(0))
        >>> observation.shape, pole.num_steps
        ((4,), 800)
    """

    observed = ("position", "speed", "angle", "angular speed")
    actions = ("force",)
    continuous = True
    solved = 0.99
    input_size, output_size = 4, 1
    chance_reward = 26.0  # mean over random actions, whose episodes rarely last 100 steps

    steps: int = 800

    def __post_init__(self) -> None:
        if self.steps < 50:
            raise ValueError(f"cart_pole needs steps >= 50, got {self.steps}")

    @property
    def name(self) -> str:
        """`cart_pole`."""
        return "cart_pole"

    @property
    def num_steps(self) -> int:
        """The horizon."""
        return self.steps

    @property
    def best_reward(self) -> float:
        """One per step."""
        return float(self.steps)

    def reset(
        self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float = 1.0
    ) -> tuple[CartPoleState, Float[Array, " input"]]:
        """Nearly at rest and nearly upright."""
        del difficulty
        return _seen(CartPoleState(jax.random.uniform(key, (4,), minval=-START, maxval=START)))

    def step(
        self, key: PRNGKeyArray, state: CartPoleState, action: Float[Array, " output"]
    ) -> tuple[CartPoleState, Float[Array, " input"], Float[Array, ""], Bool[Array, ""]]:
        """Push for 0.02 s: one Euler step."""
        wanted = LARGEST_FORCE * jnp.clip(action[0], -1, 1)
        force = jnp.clip(wanted + NOISE * jax.random.normal(key), -LARGEST_FORCE, LARGEST_FORCE)
        _, speed, angle, turning = state.motion
        sine, cosine, mass = jnp.sin(angle), jnp.cos(angle), CART_MASS + POLE_MASS
        push = (force + POLE_MASS * HALF_LENGTH * turning**2 * sine) / mass
        leverage = HALF_LENGTH * (4 / 3 - POLE_MASS * cosine**2 / mass)
        turning_rate = (GRAVITY * sine - cosine * push) / leverage
        speed_rate = push - POLE_MASS * HALF_LENGTH * turning_rate * cosine / mass
        rates = jnp.stack([speed, speed_rate, turning, turning_rate])
        state, seen = _seen(CartPoleState(state.motion + TIME_STEP * rates))
        fell = (jnp.abs(seen[0]) > 1) | (jnp.abs(seen[2]) > 1)
        return state, seen, jnp.ones(()), fell

    def performance(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Mean number of steps, scaled so that random actions score 0 and the horizon 1."""
        return scaled_reward(total_reward, self.chance_reward, self.best_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Share of episodes that lasted to the horizon."""
        return jnp.mean(total_reward >= self.best_reward)


def _seen(state: CartPoleState) -> tuple[CartPoleState, Float[Array, " input"]]:
    return state, state.motion / jnp.array(RANGES)
