"""A closed race track around the origin, and distances to its walls."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._typing import pytree

RADIUS, HALF_WIDTH = 35.0, 4.0  # m
HARMONICS = (2, 3, 4, 5)
LARGEST_WAVES = (0.22, 0.18, 0.12, 0.08)  # amplitude of each harmonic, as a share of the radius


@pytree
class Track:
    """A centreline r(phi) = 35 m (1 + sum_k a_k cos(k phi) - b_k sin(k phi)), for k from 2 to 5.

    The track is where |rho - r(phi)| cos(alpha) < 4 m, with alpha the angle between the centreline and the circle
    around the origin: to first order, all points within 4 m of the centreline. So a wall test costs a few products and
    needs no grid.

    Attributes:
        cosines: a_k.
        sines: b_k.
    """

    cosines: Float[Array, "*lead wave"]
    sines: Float[Array, "*lead wave"]


def track_from(uniform: Float[Array, "2 wave"], difficulty: Float[Array, ""] | float) -> Track:
    """A track from numbers in [0, 1): amplitudes, scaled by difficulty, and phases."""
    waves = (2 * uniform[0] - 1) * jnp.array(LARGEST_WAVES) * difficulty
    phases = 2 * jnp.pi * uniform[1]
    return Track(waves * jnp.cos(phases), waves * jnp.sin(phases))


def centreline(
    track: Track, x: Float[Array, "*points"], y: Float[Array, "*points"]
) -> tuple[Float[Array, "*points"], ...]:
    """r and dr/dphi in the directions of the unit vectors (x, y)."""
    # cos(k phi) and sin(k phi) are the parts of (x + iy)^k, so no trigonometric function is needed.
    cosine, sine = x, y
    radius, slope = jnp.ones_like(x), jnp.zeros_like(x)
    for index, harmonic in enumerate(HARMONICS):
        cosine, sine = cosine * x - sine * y, sine * x + cosine * y
        a, b = track.cosines[index], track.sines[index]
        radius = radius + a * cosine - b * sine
        slope = slope - harmonic * (a * sine + b * cosine)
    return RADIUS * radius, RADIUS * slope


def clearance(track: Track, x: Float[Array, "*points"], y: Float[Array, "*points"]) -> Float[Array, "*points"]:
    """Distance to the nearer wall in m, negative off the track."""
    distance = jnp.sqrt(jnp.maximum(x * x + y * y, 1e-6))
    radius, slope = centreline(track, x / distance, y / distance)
    return HALF_WIDTH - jnp.abs(distance - radius) * radius * jax.lax.rsqrt(radius * radius + slope * slope)


def seen_along(
    track: Track, position: Float[Array, "2"], angles: Float[Array, " beam"], reach: float, iterations: int
) -> Float[Array, " beam"]:
    """Distance to the wall in each direction, up to `reach`, by sphere tracing."""
    x, y = jnp.cos(angles), jnp.sin(angles)

    def onwards(_: Int[Array, ""], far: Float[Array, " beam"]) -> Float[Array, " beam"]:
        free = clearance(track, position[0] + far * x, position[1] + far * y)
        return jnp.minimum(far + jnp.maximum(free, 0), reach)

    return jax.lax.fori_loop(0, iterations, onwards, jnp.zeros(angles.shape))


def borders(track: Track, num_points: int = 256) -> tuple[Float[Array, "point 2"], Float[Array, "point 2"]]:
    """The inner and the outer wall as closed lines."""
    angles = jnp.linspace(0, 2 * jnp.pi, num_points)
    directions = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    radius, slope = centreline(track, *directions.T)
    away = HALF_WIDTH * jnp.sqrt(radius**2 + slope**2) / radius
    return (radius - away)[:, None] * directions, (radius + away)[:, None] * directions
