"""What is special to the reasoning tasks; what they share with all tasks is in test_tasks_registry.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoders_reasoning import decode_add_numbers, decode_inference, read_gates, read_graph

import etm_tasks
from etm_jax.task import Episode
from etm_tasks._addition import carried, reversed_to, written_length
from etm_tasks._draws import one_of, uniforms, whole
from etm_tasks._graphs import draw_edge_labels, draw_graph, triples_of
from etm_tasks._inference import relations
from etm_tasks._logic import GATES, results
from etm_tasks._triples import one_hot


@functools.cache
def sampler(task):
    return jax.jit(task.sample, static_argnums=1)


def sample(task, batch_size=64, difficulty=1.0):
    """Inputs, targets and valid steps as NumPy arrays."""
    episode = sampler(task)(jax.random.key(0), batch_size, difficulty)
    return [np.asarray(leaf) for leaf in (episode.inputs, episode.targets, episode.step_valid)]


# draws


def test_one_draw_is_cut_into_independent_uniform_arrays():
    scalar, row, table = uniforms(jax.random.key(0), (), (300,), (20, 30))
    assert (scalar.shape, row.shape, table.shape) == ((), (300,), (20, 30))
    every = np.concatenate([np.ravel(part) for part in (scalar, row, table)])
    assert len(np.unique(every)) == len(every)
    assert every.min() >= 0 and every.max() < 1
    assert 0.45 < every.mean() < 0.55


def test_whole_numbers_include_both_bounds_and_never_pass_them():
    draws = jnp.array([0.0, 0.24, 0.26, 0.99, np.nextafter(np.float32(1), np.float32(0))])
    np.testing.assert_array_equal(whole(draws, 3, 6), [3, 3, 4, 6, 6])


def test_one_of_takes_the_allowed_only():
    draws = jnp.array([0.9, 0.0, 0.5, 0.2])
    assert int(one_of(draws, jnp.array([False, True, False, True]))) == 3
    assert int(one_of(draws, jnp.array([False, True, False, False]))) == 1


# digits


def test_carries_run_through_all_places():
    np.testing.assert_array_equal(carried(jnp.array([[10, 9, 9, 0], [18, 18, 0, 0]])), [[0, 0, 0, 1], [8, 9, 1, 0]])


def test_zero_is_written_with_one_digit_and_leading_zeros_are_not():
    digits = jnp.array([[0, 0, 0], [0, 2, 0], [5, 0, 1]])
    np.testing.assert_array_equal(written_length(digits), [1, 2, 3])
    np.testing.assert_array_equal(reversed_to(digits, jnp.array([1, 2, 3]))[1, :2], [2, 0])


# parity


def test_the_error_is_told_by_the_number_of_positions_that_are_not_zero():
    task = etm_tasks.make("parity", bits=3)
    inputs = jnp.array([[1, 0, 0], [0, -1, 0], [1, -1, 0], [1, 1, -1], [1, 0, 1.0]])[:, None]
    targets = jnp.array([1, 0, 1, 0, 0.0])[:, None, None]
    episode = Episode(inputs=inputs, targets=targets, step_valid=jnp.ones((5, 1), bool))
    outputs = jnp.array([4, 4, 4, -4, jnp.nan])[:, None, None]
    error, episodes = task.error_by_bits(outputs, episode)
    np.testing.assert_allclose(error, [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(episodes, [0, 2, 2, 1])


def test_every_position_and_both_signs_occur():
    inputs, _, _ = sample(etm_tasks.make("parity", bits=5))
    assert (inputs == 1).any(axis=(0, 1)).all()
    assert (inputs == -1).any(axis=(0, 1)).all()


# logic


def test_easier_parity_is_that_of_a_shorter_vector():
    inputs, _, _ = sample(etm_tasks.make("parity", bits=9), difficulty=0.5)
    used = np.abs(np.asarray(inputs)[:, 0]).max(axis=0)
    np.testing.assert_array_equal(used, [1, 1, 1, 1, 1, 0, 0, 0, 0])


def test_gates_are_those_of_the_paper():
    rows = ["FFFT", "FFTF", "FTFF", "FTTF", "FTTT", "TFFF", "TFFT", "TFTT", "TTFT", "TTTF"]
    assert list(GATES) == ["NOR", "Xq", "ABJ", "XOR", "NAND", "AND", "XNOR", "if/then", "then/if", "OR"]
    for kind, row in enumerate(rows):
        for (last, before), expected in zip([(1, 1), (1, 0), (0, 1), (0, 0)], row, strict=True):
            answer = results(jnp.array([[before, last]]), jnp.array([[kind]]), jnp.array([[True]]))
            assert int(answer[0]) == (expected == "T")


def test_gates_of_a_step_grow_with_difficulty():
    task = etm_tasks.make("logic", max_length=4, max_gates=3)

    def numbers(difficulty):
        inputs, _, _ = sample(task, difficulty=difficulty)
        return {len(kinds) for row in inputs for *_, kinds in read_gates(task, row)}

    assert numbers(0.0) == {1}
    assert numbers(0.5) == {1, 2}
    assert numbers(1.0) == {1, 2, 3}


def test_every_gate_occurs():
    task = etm_tasks.make("logic", max_length=4, max_gates=3)
    inputs, _, _ = sample(task)
    assert {kind for row in inputs for *_, kinds in read_gates(task, row) for kind in kinds} == set(range(10))


# addition


def test_digits_of_a_number_grow_with_difficulty():
    task = etm_tasks.make("addition", digits=3, max_length=4, sum_digits=5)

    def widths(difficulty):
        inputs, _, _ = sample(task, difficulty=difficulty)
        return set(inputs.sum(axis=-1).flat) - {0}

    assert widths(0.0) == {1}
    assert widths(1.0) == {1, 2, 3}


def test_a_sum_without_room_is_refused_before_it_is_drawn():
    assert etm_tasks.make("addition").longer(2).num_steps == 10
    with pytest.raises(ValueError, match="addition needs sum_digits >= 7 for 15 numbers of 5 digits, got 6"):
        etm_tasks.make("addition").longer(3)


# add_numbers


def test_the_second_number_grows_with_difficulty():
    task = etm_tasks.make("add_numbers", max_digits=5)
    for difficulty, most in ((0.0, 1), (0.5, 3), (1.0, 5)):
        inputs, _, _ = sample(task, difficulty=difficulty)
        symbols = np.argmax(inputs, axis=-1)
        plus, equals = (np.argmax(symbols == task.alphabet.index(sign), axis=1) for sign in "+=")
        assert set(plus) == {1, 2, 3, 4, 5}
        assert set(equals - plus - 1) == set(range(1, most + 1))


def test_teacher_forcing_shows_the_answer_so_far():
    task = etm_tasks.make("add_numbers", max_digits=4, teacher_forcing=1)
    inputs, targets, valid = sample(task)
    for row, target, due in zip(inputs, targets, valid, strict=True):
        _, answer = decode_add_numbers(task, row)  # reads what is shown
        np.testing.assert_array_equal(target[due], list(answer.values()))


def test_the_two_numbers_have_lengths_of_their_own():
    task = etm_tasks.make("add_numbers", max_digits=3)

    def pairs(task):
        texts = ["".join("0123456789+= _"[row.argmax()] for row in inputs) for inputs in sample(task, 256)[0]]
        return {tuple(len(digits) for digits in text.split("=")[0].split("+")) for text in texts}

    assert pairs(task) == {(a, b) for a in (1, 2, 3) for b in (1, 2, 3)}
    assert pairs(task.longer(2)) == {(6, 6)}


def test_symbol_accuracy_counts_symbols():
    task = etm_tasks.make("add_numbers", max_digits=3)
    episode = sampler(task)(jax.random.key(0), 64, 1.0)
    step = int(np.flatnonzero(episode.step_valid[5])[0])
    outputs = (20 * episode.targets - 10).at[5, step].multiply(-1)
    np.testing.assert_allclose(task.symbol_accuracy(outputs, episode), 1 - 1 / episode.step_valid.sum(), rtol=1e-6)


# graphs


@pytest.fixture(scope="module")
def graphs():
    """Keys, and graphs of up to 12 nodes with up to 5 edges each."""
    keys = jax.random.split(jax.random.key(0), 64)
    return keys, jax.jit(jax.vmap(lambda key: draw_graph(key, 3, 12, 5, 1.0)))(keys)


def test_edges_lead_to_the_nearest_of_the_nodes_that_exist(graphs):
    keys, drawn = graphs
    for index in range(8):
        graph = jax.tree.map(lambda leaf, index=index: np.asarray(leaf[index]), drawn)
        points = np.asarray(uniforms(keys[index], (), (12, 2), (12, 1), (1000,))[1])[: graph.num_nodes]
        for node in range(graph.num_nodes):
            nearest = np.argsort(np.linalg.norm(points - points[node], axis=1))[1:]
            degree = graph.edge_exists[node].sum()
            np.testing.assert_array_equal(graph.neighbour[node, :degree], nearest[:degree])


def test_nodes_have_2_to_the_greatest_number_of_edges_and_labels_of_their_own(graphs):
    _, graph = graphs
    degrees = np.asarray(graph.edge_exists.sum(axis=2))
    exists = np.arange(12)[None] < np.asarray(graph.num_nodes)[:, None]
    assert set(np.asarray(graph.num_nodes)) == set(range(3, 13))
    assert set(degrees[exists]) == {2, 3, 4, 5}
    assert not degrees[~exists].any()
    assert all(len(set(labels)) == 12 for labels in np.asarray(graph.node_label))
    assert graph.node_label.min() >= 0 and graph.node_label.max() <= 999


def test_edge_labels_come_from_as_many_numbers_as_there_are_nodes(graphs):
    keys, graph = graphs
    labels = np.asarray(jax.vmap(draw_edge_labels)(keys, graph))
    for rows, exists, num_nodes in zip(labels, np.asarray(graph.edge_exists), np.asarray(graph.num_nodes), strict=True):
        assert len(set(rows[exists])) <= num_nodes
        assert all(len(set(row[there])) == there.sum() for row, there in zip(rows, exists, strict=True))


def test_all_edges_are_told_in_random_order(graphs):
    keys, graph = graphs
    labels = jnp.broadcast_to(jnp.arange(5), graph.neighbour.shape)
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
    triples, count = jax.vmap(triples_of)(keys, graph, labels)
    for index in range(8):
        exists = np.asarray(graph.edge_exists[index])
        node_label = np.asarray(graph.node_label[index])
        expected = [
            (node_label[node], edge, node_label[graph.neighbour[index, node, edge]])
            for node, edge in np.argwhere(exists)
        ]
        told = [tuple(row) for row in np.asarray(triples[index, : int(count[index])])]
        assert sorted(told) == sorted(expected)
        assert told != expected


def test_the_easiest_graphs_are_those_of_the_first_lesson():
    task = etm_tasks.make("traversal", max_nodes=20, max_out_degree=6, max_path=3)
    inputs, _, _ = sample(task, difficulty=0.0)
    read = [read_graph(row) for row in inputs]
    nodes = [len({source for source, _ in edges}) for edges, *_ in read]
    assert max(nodes) == 10 and min(nodes) == 3
    assert max(sum(source == each for each, _ in edges) for edges, *_ in read for source, _ in edges) == 4
    assert {len(query) for _, query, _ in read} == {1}


def test_a_label_is_three_digits_the_most_significant_first():
    np.testing.assert_array_equal(np.flatnonzero(one_hot(jnp.array(407))), [4, 10, 27])


def test_a_graph_without_so_long_a_path_gives_its_longest():
    task = etm_tasks.make("shortest_path", max_nodes=3, max_out_degree=2, min_path=2, max_path=2)  # all are neighbours
    assert set(sample(task)[2].sum(axis=1)) == {2}  # one edge, and the end


# inference


def test_relations_are_a_constant():
    table = relations()
    assert table.shape == (4, 100, 5)
    assert len(set(map(tuple, table.reshape(400, 5)))) == 400
    for length, rows in zip((2, 3, 4, 5), table, strict=True):
        assert set(rows[:, :length].flat) == set(range(10))
        assert set(rows[:, length:].flat) <= {-1}
    np.testing.assert_array_equal(table[0, 0], [7, 4, -1, -1, -1])
    np.testing.assert_array_equal(table[3, 99], [0, 6, 4, 3, 8])


def test_every_relation_is_asked_for_and_can_be_followed_in_the_smallest_graphs():
    task = etm_tasks.make("inference", min_nodes=3, max_nodes=4, max_out_degree=2, planning_steps=0)
    inputs, targets, valid = sample(task, 1024)
    asked = set()
    for row, target, due in zip(inputs, targets, valid, strict=True):
        _, answer = decode_inference(task, row)  # a missing edge raises
        np.testing.assert_array_equal(target[due], list(answer.values()))
        asked.add(read_graph(row)[1][0][1])
    assert asked <= set(range(200, 600))
    assert len(asked) > 340  # of 400; 370 are expected
