"""Cart-pole and the toy car in plain Python, from their definitions, one step at a time."""

import math


def push(motion, force):
    """Position, speed, angle, angular speed after 0.02 s of a force in N; Barto, Sutton and Anderson 1983."""
    x, v, angle, turning = motion
    total, lever = 1.1, 0.05
    temporary = (force + lever * turning**2 * math.sin(angle)) / total
    angular = (9.8 * math.sin(angle) - math.cos(angle) * temporary) / (
        0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / total)
    )
    linear = temporary - lever * angular * math.cos(angle) / total
    return [x + 0.02 * v, v + 0.02 * linear, angle + 0.02 * turning, turning + 0.02 * angular]


def centre(amplitudes, phases, phi):
    """r and dr/dphi of the centreline."""
    radius, slope = 1.0, 0.0
    for harmonic, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True), 2):
        radius += amplitude * math.cos(harmonic * phi + phase)
        slope -= harmonic * amplitude * math.sin(harmonic * phi + phase)
    return 35 * radius, 35 * slope


def clearance(amplitudes, phases, x, y):
    """Distance to the nearer wall."""
    radius, slope = centre(amplitudes, phases, math.atan2(y, x))
    return 4 - abs(math.hypot(x, y) - radius) * math.cos(math.atan2(slope, radius))


def beams(amplitudes, phases, x, y, heading):
    """Nine distances over the half circle ahead, from right to left."""
    found = []
    for index in range(9):
        angle, far = heading + math.pi * (index / 8 - 0.5), 0.0
        for _ in range(12):
            free = clearance(amplitudes, phases, x + far * math.cos(angle), y + far * math.sin(angle))
            far = min(far + max(free, 0), 40)
        found.append(far)
    return found


def drive(car, steering, throttle):
    """x, y, heading and speed after 0.1 s, and the laps driven."""
    x, y, heading, speed = car
    speed += 0.1 * ((4 if throttle > 0 else 8) * throttle - 0.1 * speed)
    speed = min(max(speed, 0), 20)
    grip = 4 / max(speed, 1)
    heading += 0.1 * min(max(speed / 2.5 * math.tan(0.5 * steering), -grip), grip)
    x_after, y_after = x + 0.1 * speed * math.cos(heading), y + 0.1 * speed * math.sin(heading)
    around = math.atan2(y_after, x_after) - math.atan2(y, x)
    around = (around + math.pi) % (2 * math.pi) - math.pi
    return (x_after, y_after, heading, speed), around / (2 * math.pi)
