"""Cart-pole and the toy car: their physics against an oracle, what is seen, how episodes end."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle_control
import pytest

import etm_tasks
from etm_tasks._track import LARGEST_WAVES, Track, borders, clearance


def test_a_pole_falls_as_the_equations_say():
    pole = etm_tasks.make("cart_pole")
    step = jax.jit(pole.step)
    state, _ = pole.reset(jax.random.key(0))
    expected = [float(number) for number in state.motion]
    for time, key in enumerate(jax.random.split(jax.random.key(1), 30)):
        action = math.sin(time) * 1.5  # beyond 1 at times
        force = 10 * min(max(action, -1), 1) + 0.15 * float(jax.random.normal(key))
        expected = oracle_control.push(expected, min(max(force, -10), 10))
        state, seen, reward, done = step(key, state, jnp.array([action]))
        np.testing.assert_allclose(state.motion, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(seen, np.array(expected) / [2.4, 3, 0.2095, 3.5], rtol=1e-4, atol=1e-5)
        assert float(reward) == 1 and bool(done) == (abs(expected[0]) > 2.4 or abs(expected[2]) > 0.2095)


def test_a_pole_that_leans_or_a_cart_far_out_ends_the_episode():
    pole = etm_tasks.make("cart_pole")
    start, _ = pole.reset(jax.random.key(0))
    for motion, over in (([2.41, 0, 0, 0], True), ([0, 0, -0.22, 0], True), ([2.3, 0, 0.2, 0], False)):
        state = type(start)(jnp.array(motion))
        assert bool(pole.step(jax.random.key(0), state, jnp.zeros(1))[3]) == over


def test_a_car_drives_as_the_oracle_does():
    car = etm_tasks.make("car")
    step = jax.jit(car.step)
    state, seen = jax.jit(car.reset)(jax.random.key(3))
    amplitudes = np.hypot(state.track.cosines, state.track.sines).tolist()
    phases = np.arctan2(state.track.sines, state.track.cosines).tolist()
    assert all(amplitude <= most for amplitude, most in zip(amplitudes, LARGEST_WAVES, strict=True))
    now = (*state.position.tolist(), float(state.heading), 0.0)
    before = oracle_control.beams(amplitudes, phases, *now[:3])
    for time in range(60):
        beams = oracle_control.beams(amplitudes, phases, *now[:3])
        shown = [2 * math.sqrt(far / 40) - 1 for far in (*beams, *before)]
        np.testing.assert_allclose(seen, [*shown, now[3] / 10 - 1], atol=2e-3)
        steering, throttle = 0.8 * math.sin(0.3 * time), 1.3 if time < 30 else -0.4
        now, laps = oracle_control.drive(now, steering, min(throttle, 1))
        before = beams
        state, seen, reward, done = step(jax.random.key(0), state, jnp.array([steering, throttle]))
        np.testing.assert_allclose(np.append(state.position, state.speed), [*now[:2], now[3]], atol=2e-3)
        assert bool(done) == (oracle_control.clearance(amplitudes, phases, *now[:2]) <= 0)
        assert float(reward) == pytest.approx(-0.1 if done else laps, abs=1e-5)
        if done:
            break
    assert time > 20


def test_walls_are_where_clearance_is_none_and_nearly_eight_metres_apart():
    waves = jnp.array(LARGEST_WAVES)
    track = Track(waves, -waves)
    inner, outer = borders(track)
    for line in (inner, outer):
        np.testing.assert_allclose(clearance(track, *line.T), 0, atol=1e-3)
    distances = jnp.linalg.norm(inner[:, None] - outer[None], axis=-1).min(axis=1)
    assert 6 < float(jnp.median(distances)) < 8.1


def test_at_difficulty_0_tracks_are_circles():
    state, _ = etm_tasks.make("car").reset(jax.random.key(0), 0.0)
    assert not np.any(state.track.cosines) and float(jnp.linalg.norm(state.position)) == pytest.approx(35)


@pytest.mark.parametrize(("options", "size"), [({}, 19), ({"previous": 0}, 10), ({"previous": 0, "speed": 0}, 9)])
def test_what_a_car_sees_is_what_its_options_say(options, size):
    car = etm_tasks.make("car", **options)
    assert car.input_size == len(car.observed) == size


def test_beams_may_be_shown_at_times_only():
    car = etm_tasks.make("car", every=4)
    state, seen = car.reset(jax.random.key(0))
    shown = [bool(np.any(seen[:18]))]
    for _ in range(8):
        state, seen, *_ = car.step(jax.random.key(0), state, jnp.array([0.0, 0.1]))
        shown.append(bool(np.any(seen[:18])))
        assert -1 < float(seen[18]) < 1
    assert shown == [time % 4 == 0 for time in range(9)]
