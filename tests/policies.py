"""Policies written by hand for the environments, each a start carry and a recurrent step."""

import jax
import jax.numpy as jnp

FORWARD, LEFT, RIGHT = range(3)


def action(index):
    return jax.nn.one_hot(index, 3)


def follow_cue():
    """T-maze: remember the cue, go on, turn as it said."""

    def step(side, observation):
        cue_left, cue_right, _, junction = observation
        side = jnp.where(cue_left > 0, LEFT, jnp.where(cue_right > 0, RIGHT, side))
        return side, action(jnp.where(junction > 0, side, FORWARD))

    return jnp.array(FORWARD), step


def go_to(end, search):
    """Double T-maze: go to one end of four, 0 to 3 from left to right; if `search`, to the next one when it pays 1."""

    def step(carry, observation):
        goal, turns, begun = carry
        start, _, junction, reward = observation
        poor = (start > 0) & begun & (reward < 1) & search
        goal = jnp.where(poor, (goal + 1) % 4, goal)
        turns = jnp.where(start > 0, 0, turns)
        side = jnp.where(turns == 0, goal // 2, goal % 2)
        at_junction = junction > 0
        chosen = jnp.where(at_junction, LEFT + side, FORWARD)
        return (goal, turns + at_junction, begun | (start > 0)), action(chosen)

    return (jnp.array(end), jnp.array(0), jnp.array(False)), step


def same_turn(turn):
    """T-maze: go on and turn to one side, whatever the cue said."""
    return (), lambda carry, observation: (carry, action(jnp.where(observation[3] > 0, turn, FORWARD)))


def balance():
    """Cart-pole: push towards where the pole leans and where the cart is, and against neither's speed."""
    return (), lambda carry, observation: (carry, jnp.array([observation @ jnp.array([0.2, 0.3, 3.0, 1.5])]))


def drive():
    """Car: steer to the side that is more open, as fast as the view ahead allows to brake."""

    def step(carry, observation):
        beams, speed = 10 * (observation[:9] + 1) ** 2, 10 * (observation[18] + 1)
        steering = 3 * (jnp.sum(beams[5:8]) - jnp.sum(beams[1:4])) / jnp.sum(beams[1:8])
        wanted = 2.3 * jnp.sqrt(jnp.maximum(jnp.max(beams[3:6]) - 2, 1))
        return carry, jnp.stack([steering, wanted - speed])

    return (), step


def go_round():
    """Deceptive maze: right to the first wall's end, up, left to the second one's, up, then straight to the goal."""

    def step(carry, observation):
        x, y = 50 * (observation[:2] + 1)
        first = jnp.where(x < 83, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
        second = jnp.where(x > 17, jnp.array([-1.0, 0.0]), jnp.array([0.0, 1.0]))
        last = (jnp.array([85.0, 85.0]) - jnp.stack([x, y])) / 20
        return carry, jnp.where(y < 38, first, jnp.where(y < 68, second, last))

    return (), step


def random_actions(key, size):
    """Uniform on the actions. Its key is all it remembers, so episodes of one rollout draw the same."""

    def step(key, observation):
        del observation
        key, key_action = jax.random.split(key)
        return key, jax.random.normal(key_action, (size,))

    return key, step
