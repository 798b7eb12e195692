"""Toy car: drive around a track, seen through distance sensors."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from etm_jax._typing import pytree
from etm_jax.environment import scaled_reward
from etm_tasks._track import Track, borders, centreline, clearance, seen_along, track_from

TIME_STEP, TOP_SPEED, WHEELBASE = 0.1, 20.0, 2.5  # s, m/s, m
ACCELERATION, BRAKING, DRAG, GRIP = 4.0, 8.0, 0.1, 4.0  # m/s^2, m/s^2, 1/s, m/s^2 across
LARGEST_TURN = 0.5  # rad, of the front wheels
BEAMS, REACH, ITERATIONS = 9, 40.0, 12  # beams over the half circle ahead, their reach in m, sphere-tracing steps
CRASH = 0.1  # penalty for leaving the track, in laps
LAPS = 2.0  # laps of a solved episode


@pytree
class CarState:
    """Track, pose and speed of the car, and its sensor readings."""

    track: Track
    position: Float[Array, "*lead 2"]  # m
    heading: Float[Array, "*lead"]  # rad
    speed: Float[Array, "*lead"]  # m/s
    beams: Float[Array, "*lead beam"]  # m
    time: Int[Array, "*lead"]


@dataclass(frozen=True)
class Car:
    """Drive as many laps as possible around a track, for 600 steps of 0.1 s.

    After the toy car of the paper on emergent models; tracks, physics and sensors are ours. Each episode has a new
    random track; at difficulty 0 a circle. The two logits, clipped to [-1, 1], steer (left is positive) and accelerate
    or brake. The tyres hold 4 m/s^2 sideways, so a fast car must brake before a bend. The observation is the distance
    to the walls along nine beams over the half circle ahead, up to 40 m, as the square root of the share of 40 m scaled
    to [-1, 1]; then the beams of the previous step; then the speed, -1 at rest and 1 at 20 m/s.

    The reward is the angle driven around the origin, in laps, and -0.1 for leaving the track, which ends the episode.
    Two laps solve it. Performance is 0 for random actions and 1 for four laps, more than we have ever seen.

    Attributes:
        previous: 1 = the beams of the previous step are inputs, 0 = they are not.
        speed: 1 = the speed is an input, 0 = it is not.
        every: beams are shown at every so many steps and are 0 at the others.

    Raises:
        ValueError: `previous` or `speed` is not 0 or 1, or `every` is below 1.

    Example:
        >>> import jax, etm_tasks
        >>> car = etm_tasks.make("car", previous=0)
        >>> state, observation = car.reset(jax.random.key(0))
        >>> observation.shape, float(observation[-1])
        ((10,), -1.0)
    """

    actions = ("steering", "throttle")
    continuous = True
    solved = 0.99
    output_size, num_steps = 2, 600
    chance_reward, best_reward = -0.007, 4.0

    previous: int = 1
    speed: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("previous", "speed"):
            if getattr(self, name) not in (0, 1):
                raise ValueError(f"car needs {name} 0 or 1, got {getattr(self, name)}")
        if self.every < 1:
            raise ValueError(f"car needs every >= 1, got {self.every}")

    @property
    def name(self) -> str:
        """`car`."""
        return "car"

    @property
    def observed(self) -> tuple[str, ...]:
        """Beams from right to left, those of the previous step, the speed."""
        angles = [f"{180 * index / (BEAMS - 1) - 90:+.0f}°" for index in range(BEAMS)]
        return (*angles, *[f"before {angle}" for angle in angles] * self.previous, *["speed"] * self.speed)

    @property
    def input_size(self) -> int:
        """Length of `observed`."""
        return len(self.observed)

    def reset(
        self, key: PRNGKeyArray, difficulty: Float[Array, ""] | float = 1.0
    ) -> tuple[CarState, Float[Array, " input"]]:
        """At rest in the middle of a new track, facing along it; difficulty scales its bends."""
        draws = jax.random.uniform(key, (9,))
        track, around = track_from(draws[:8].reshape(2, 4), difficulty), 2 * jnp.pi * draws[8]
        direction = jnp.stack([jnp.cos(around), jnp.sin(around)])
        radius, slope = centreline(track, *direction)
        position, heading = radius * direction, around + jnp.arctan2(radius, slope)
        beams = _beams(track, position, heading)
        start = CarState(
            track=track, position=position, heading=heading, speed=jnp.zeros(()), beams=beams, time=jnp.array(0)
        )
        return start, self._seen(start, beams)

    def step(
        self, key: PRNGKeyArray, state: CarState, action: Float[Array, " output"]
    ) -> tuple[CarState, Float[Array, " input"], Float[Array, ""], Bool[Array, ""]]:
        """Drive for 0.1 s; deterministic."""
        del key
        steering, throttle = jnp.clip(action, -1, 1)
        pull = jnp.where(throttle > 0, ACCELERATION, BRAKING) * throttle - DRAG * state.speed
        speed = jnp.clip(state.speed + TIME_STEP * pull, 0, TOP_SPEED)
        # Grip limits the sideways acceleration, speed times turning rate; the floor avoids dividing by 0.
        turning, grip = speed / WHEELBASE * jnp.tan(LARGEST_TURN * steering), GRIP / jnp.maximum(speed, 1)
        heading = state.heading + TIME_STEP * jnp.clip(turning, -grip, grip)
        position = state.position + TIME_STEP * speed * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
        (x, y), (x_before, y_before) = position, state.position
        # The angle between two positions, from their cross and dot product, needs no unwrapping.
        around = jnp.arctan2(x_before * y - y_before * x, x_before * x + y_before * y)
        crashed = clearance(state.track, *position) <= 0
        after = CarState(
            track=state.track,
            position=position,
            heading=heading,
            speed=speed,
            beams=_beams(state.track, position, heading),
            time=state.time + 1,
        )
        reward = jnp.where(crashed, -CRASH, around / (2 * jnp.pi))
        return after, self._seen(after, state.beams), reward, crashed

    def performance(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Mean laps, scaled so that random actions score 0 and four laps 1."""
        return scaled_reward(total_reward, self.chance_reward, self.best_reward)

    def accuracy(self, total_reward: Float[Array, " batch"]) -> Float[Array, ""]:
        """Share of episodes with at least two laps."""
        return jnp.mean(total_reward >= LAPS)

    def outline(self, state: CarState) -> tuple[Float[Array, "point 2"], ...]:
        """Lines to draw in a picture of the episode, in m: the walls."""
        return borders(state.track)

    def place(self, state: CarState) -> Float[Array, "2"]:
        """Position of the car in that picture, in m."""
        return state.position

    def _seen(self, state: CarState, before: Float[Array, " beam"]) -> Float[Array, " input"]:
        parts = [state.beams, before] if self.previous else [state.beams]
        beams = jnp.where(state.time % self.every == 0, 2 * jnp.sqrt(jnp.concatenate(parts) / REACH) - 1, 0)
        return jnp.append(beams, 2 * state.speed / TOP_SPEED - 1) if self.speed else beams


def _beams(track: Track, position: Float[Array, "2"], heading: Float[Array, ""]) -> Float[Array, " beam"]:
    return seen_along(track, position, heading + jnp.linspace(-jnp.pi / 2, jnp.pi / 2, BEAMS), REACH, ITERATIONS)
