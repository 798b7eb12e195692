"""Graphs as patterns over space, and graphs with a tape; each beside loops of Python."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle_hard_tape import Tape
from test_graph import FUNCTIONS, INPUTS, OUTPUTS, function

from bench import evolved_ntm
from etm_jax.graphs._forward import graph_stepper, unroll_graph
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._pattern import paint, pattern_weights, substrate_weights
from etm_jax.graphs._policy import GraphTape, with_tape

WIDTH = 3


def drawing(num_inputs, num_outputs, seed=0):
    """A graph without hidden nodes whose outputs have different functions, its weights, and the functions."""
    seen, ends = num_inputs + 1, num_inputs + 1 + num_outputs
    graph = minimal_graph(jax.random.key(seed), num_inputs, num_outputs, ends, seen * num_outputs)
    kinds = np.arange(ends) % len(FUNCTIONS)
    return (
        graph.replace(activations=jnp.asarray(kinds)),
        np.asarray(graph.weights).reshape(num_outputs, seen),
        kinds[seen:],
    )


def told(weights, kinds, row):
    seen = [*row, 1.0]
    return [function(kind, float(own @ seen)) for own, kind in zip(weights, kinds, strict=True)]


def test_a_picture_is_the_graphs_output_at_every_pixel():
    graph, weights, kinds = drawing(3, 3)
    picture = jax.jit(lambda graph: paint(graph, 4, 5, FUNCTIONS, num_channels=3))(graph)
    assert picture.shape == (4, 5, 3)
    for row, down in enumerate(np.linspace(-1, 1, 4)):
        for column, across in enumerate(np.linspace(-1, 1, 5)):
            expected = told(weights, kinds, [across, down, math.hypot(across, down)])
            np.testing.assert_allclose(picture[row, column], expected, rtol=1e-4, atol=1e-5)


def test_weights_are_the_graphs_output_at_every_pair_of_places():
    graph, weights, kinds = drawing(5, 2, seed=1)
    draws = np.random.default_rng(0)
    sources, targets = (jnp.asarray(draws.uniform(-1, 1, (count, 2)), jnp.float32) for count in (4, 3))
    settings = {"num_patterns": 2, "reach": 0.7, "least": 0.3, "greatest": 4.0}
    found = jax.jit(
        lambda graph: pattern_weights(graph, jnp.asarray(sources), jnp.asarray(targets), FUNCTIONS, **settings)
    )(graph)
    expected = np.zeros((2, 3, 4))
    for at, target in enumerate(targets):
        for of, source in enumerate(sources):
            near = math.exp(-((math.dist(source, target) / 0.7) ** 2))
            for pattern, value in enumerate(told(weights, kinds, [*source, *target, near])):
                size = min(max((abs(value) - 0.3) / 0.7, 0.0), 1.0)
                expected[pattern, at, of] = math.copysign(4.0 * size, value)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert 0 < np.sum(expected == 0) < expected.size


def test_each_pair_of_groups_has_a_pattern_of_its_own():
    sources = np.linspace(-1, 1, 3)[:, None], np.zeros((1, 1))
    targets = np.zeros((1, 1)), np.array([[0.5], [-1.0]])
    graph, _, _ = drawing(3, 4, seed=2)
    settings = {"reach": 0.7, "least": 0.3, "greatest": 4.0}
    found = jax.jit(lambda graph: substrate_weights(graph, sources, targets, FUNCTIONS, **settings))(graph)
    places = jnp.asarray(np.concatenate(sources), jnp.float32), jnp.asarray(np.concatenate(targets), jnp.float32)
    patterns = pattern_weights(graph, *places, FUNCTIONS, num_patterns=4, **settings)
    expected = np.block(
        [
            [patterns[0][:1, :3], patterns[2][:1, 3:]],
            [patterns[1][1:, :3], patterns[3][1:, 3:]],
        ]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="of one dimension"):
        substrate_weights(graph, sources, [np.zeros((1, 2))], FUNCTIONS)
    with pytest.raises(ValueError, match="must be groups of places"):
        substrate_weights(graph, [], targets, FUNCTIONS)


def copier():
    """Seven connections of a graph that draw a copier: what the bench searches for."""
    outputs = evolved_ntm.SOURCES * evolved_ntm.TARGETS
    bits, delimiter, read, bias = 0, 2, 3, 4
    answers, write, gate, jump, on = 0, 1, 2, 3, 6
    near, constant, full, half = 2, 3, 3.0, 0.693  # the last is drawn as half of the greatest weight
    rows = [
        (near, bits, write, full),
        (constant, bias, write, -half),
        (near, read, answers, full),
        (constant, bias, gate, full),
        (constant, delimiter, jump, full),
        (constant, bias, jump, -half),
        (constant, bias, on, full),
    ]
    graph = minimal_graph(jax.random.key(0), 3, outputs, 4 + outputs, len(rows), connected=False)
    assert not graph.is_connection.any() and graph.num_nodes == 4 + outputs
    return graph.replace(
        sources=jnp.array([row[0] for row in rows]),
        targets=jnp.array([4 + row[1] * evolved_ntm.TARGETS + row[2] for row in rows]),
        weights=jnp.array([row[3] for row in rows]),
        enabled=jnp.ones(len(rows), bool),
        is_connection=jnp.ones(len(rows), bool),
    )


@pytest.mark.parametrize(("bits", "length"), [(8, 30), (40, 12)])
def test_a_drawn_copier_copies_what_is_longer_and_wider(bits, length):
    weights = evolved_ntm.controller_of(copier(), bits)
    episode = evolved_ntm.copies(jax.random.key(3), 20, length, length, bits)
    assert evolved_ntm.scores(weights, episode, length + 4)["right"].all()
    nothing = evolved_ntm.scores(jnp.zeros_like(weights), episode, length + 4)
    assert not nothing["right"].any() and jnp.allclose(nothing["near"], 0.5)


@pytest.mark.parametrize("min_similarity", [0.0, 0.8])
def test_a_machine_is_its_controller_and_a_tape_that_really_grows(min_similarity):
    """A linear controller, so that the loop needs nothing of the library."""
    tape = GraphTape(num_slots=5, slot_width=WIDTH, min_similarity=min_similarity)
    draws = np.random.default_rng(2)
    weights = draws.normal(size=(2 + tape.num_outputs, INPUTS + WIDTH))
    inputs = draws.normal(size=(20, INPUTS))
    with jax.enable_x64(True):
        start, step = with_tape((), lambda carry, seen: (carry, jnp.asarray(weights) @ seen), tape)
        found = jax.jit(lambda inputs: jax.lax.scan(step, start, inputs)[1])(jnp.asarray(inputs))
    plain, read = Tape(WIDTH, 1, 5, min_similarity=min_similarity), [0.0] * WIDTH
    for row, answers in zip(inputs, found, strict=True):
        outputs = weights @ np.concatenate([row, read])
        np.testing.assert_allclose(answers, outputs[:2], rtol=1e-9, atol=1e-11)
        add, gate, jump, moves = outputs[2 : 2 + WIDTH], outputs[-5], outputs[-4], outputs[-3:]
        (read,) = plain.step({"add": [add], "write_gate": [gate], "jump": [jump], "shift": [moves]})
    assert len(plain.slots) == 5


def test_a_copier_made_by_hand_copies_what_is_ten_times_as_long():
    """Write and move on; at the delimiter write the mark of the start, jump to it; then read and move on."""
    bits, width = 2, 3
    tape = GraphTape(num_slots=64, slot_width=width)
    shown, start, delimiter, seen, bias = 0, bits, bits + 1, bits + 2, bits + 2 + width
    weights = np.zeros((bits + tape.num_outputs, bias + 1))
    for bit in range(bits):
        weights[bit, [seen + bit, bias]] = 16, -8
        weights[bits + bit, [shown + bit, bias]] = 16, -8
    weights[bits + bits, [start, delimiter, bias]] = 16, 16, -8
    weights[bits + width, bias] = 8  # the gate
    weights[bits + width + 1, [delimiter, bias]] = 16, -8  # the jump
    weights[-1, bias] = 1  # on

    def controller(carry, row):
        return carry, jnp.asarray(weights) @ jnp.append(row, 1.0)

    first, step = with_tape((), controller, tape)
    vectors = np.random.default_rng(0).integers(0, 2, (50, bits))
    inputs = np.zeros((1 + 50 + 1 + 50, bits + 2))
    inputs[0, start], inputs[51, delimiter] = 1, 1
    inputs[1:51, :bits] = vectors
    answers = jax.lax.scan(step, first, jnp.asarray(inputs))[1]
    np.testing.assert_array_equal(answers[52:] > 0, vectors > 0)


def test_a_graph_is_a_controller_like_any_other():
    tape = GraphTape(num_slots=4, slot_width=1)
    graph = minimal_graph(jax.random.key(0), INPUTS + 1, OUTPUTS + tape.num_outputs, 16, 64)
    inputs = jax.random.normal(jax.random.key(1), (6, INPUTS))

    def outputs(graph):
        start, step = with_tape(*graph_stepper(graph, INPUTS + 1, OUTPUTS + tape.num_outputs), tape)
        return jax.lax.scan(step, start, inputs)[1]

    found = jax.jit(outputs)(graph)
    alone = unroll_graph(graph, jnp.pad(inputs[:1], ((0, 0), (0, 1))), OUTPUTS)
    np.testing.assert_allclose(found[0], alone[0], rtol=1e-6)
    assert found.shape == (6, OUTPUTS) and bool(jnp.all(jnp.isfinite(found)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_slots": 0}, "num_slots must be a whole number of at least 1, got 0"),
        ({"slot_width": 0}, "slot_width must be a whole number of at least 1, got 0"),
        ({"min_similarity": 1.5}, "min_similarity must be .* got 1.5"),
    ],
)
def test_tapes_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GraphTape(**{"num_slots": 4, "slot_width": 2} | changes)
