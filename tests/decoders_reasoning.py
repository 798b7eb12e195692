"""What is due in an episode of the reasoning tasks, read off its inputs by plain NumPy and Python.

A decoder takes a task and the inputs of one episode, and gives its length and its answers by step.
"""

import numpy as np

from etm_tasks._inference import relations

# Each gate as a formula in its two bits; the generator has a table.
GATES = [
    lambda p, q: not (p or q),
    lambda p, q: q and not p,
    lambda p, q: p and not q,
    lambda p, q: p != q,
    lambda p, q: not (p and q),
    lambda p, q: p and q,
    lambda p, q: p == q,
    lambda p, q: q or not p,
    lambda p, q: p or not q,
    lambda p, q: p or q,
]
SYMBOLS = "0123456789+= _"


def decode_parity(task, inputs):
    """The number of ones decides; minus ones only distract."""
    (vector,) = inputs
    assert set(vector) <= {-1, 0, 1}
    return int(np.abs(vector).sum()), {0: np.array([np.sum(vector == 1) % 2])}


def decode_logic(task, inputs):
    """Gates one after the other, each on the two newest bits; the answer takes the place of the next first bit."""
    rows = read_gates(task, inputs)
    answers, answer = {}, None
    for step, (first, second, kinds) in enumerate(rows):
        if answer is not None:
            assert first == 0
        before, last = (first if answer is None else answer), second
        for kind in kinds:
            before, last = last, bool(GATES[kind](last, before))
        answer = last
        answers[step] = np.array([answer])
    return len(rows), answers


def read_gates(task, inputs):
    """For each step its two bits and the kinds of its gates; gates fill their channels from the left."""
    rows = []
    for row in inputs:
        gates = row[2:].reshape(task.max_gates, 10)
        count = int(gates.sum())
        if count == 0:
            assert not inputs[len(rows) :].any()
            break
        assert (gates[:count].sum(axis=1) == 1).all()
        rows.append((bool(row[0]), bool(row[1]), gates[:count].argmax(axis=1)))
    return rows


def decode_addition(task, inputs):
    """Running sums as decimal numbers."""
    numbers = []
    for row in inputs:
        digits = row.reshape(task.digits, 10)
        count = int(digits.sum())
        if count == 0:
            assert not inputs[len(numbers) :].any()
            break
        assert (digits[:count].sum(axis=1) == 1).all()
        numbers.append(int("".join(map(str, digits[:count].argmax(axis=1)))))
    sums = [[int(digit) for digit in str(total)] for total in np.cumsum(numbers)]
    padded = [digits + [10] * (task.sum_digits - len(digits)) for digits in sums]
    return len(numbers), {step: one_hot(padded[step], 11) for step in range(1, len(numbers))}


def decode_add_numbers(task, inputs):
    """The string up to the equals sign asks; after it stand end signs, or the answer so far."""
    text = "".join(SYMBOLS[row.argmax()] for row in inputs if row.any())
    assert inputs[: len(text)].sum() == inputs.sum() == len(text)
    question, after = text.split("=")
    numbers = [int(digits[::-1]) for digits in question.split("+")]
    lengths = [len(digits) for digits in question.split("+")]
    assert [len(str(number)) for number in numbers] == lengths  # no leading zeros
    answer = str(sum(numbers))[::-1] + "_"
    assert after == ("_" + answer[:-1] if task.teacher_forcing else "_" * len(answer))
    start = len(question) + 1
    return max(lengths), {start + place: one_hot([SYMBOLS.index(each)], 14) for place, each in enumerate(answer)}


def one_hot(symbols, num_symbols):
    return np.eye(num_symbols)[symbols].reshape(-1)


def read_graph(inputs, planning_steps=0):
    """Edges as {(source, edge label): destination}, the triples of the query, and the first step of the answer."""
    phase, answer = inputs[:, 90], inputs[:, 91]
    due = np.flatnonzero(answer)
    query_start, *_ = np.flatnonzero(phase)
    rows = [read_triple(row) for row in inputs[: due[0], :90]]
    told = rows[:query_start]
    edges = {(source, edge): destination for source, edge, destination in told}
    assert len(edges) == len(told)  # the labels of a node's edges differ
    assert all(source != destination for source, _, destination in told)
    assert {destination for *_, destination in told} <= {source for source, *_ in told}
    assert not inputs[due[0] :, :90].any()  # nothing may give the answer away
    assert list(due) == list(range(due[0], due[-1] + 1))
    blank = (None, None, None)
    query = [row for row in rows[query_start:] if row != blank]
    assert rows[query_start:] == query + [blank] * (len(rows) - query_start - len(query))
    planning_start = query_start + len(query)
    assert due[0] == planning_start + planning_steps
    np.testing.assert_array_equal(np.flatnonzero(phase), sorted({query_start, planning_start, due[0]}))
    return edges, query, due[0]


def read_triple(channels):
    """Three labels of three digits each; None for one that is not there."""
    labels = []
    for digits in channels.reshape(3, 3, 10):
        assert set(digits.sum(axis=1)) in ({0}, {1})
        labels.append(int("".join(map(str, digits.argmax(axis=1)))) if digits.any() else None)
    return tuple(labels)


def due_triples(start, triples):
    """Targets of some steps, each the nine digits of a triple."""
    digits = [[int(digit) for label in triple for digit in f"{label:03}"] for triple in triples]
    return {start + step: one_hot(nine, 10) for step, nine in enumerate(digits)}


def decode_traversal(task, inputs):
    """The edges named, one after the other."""
    edges, query, start = read_graph(inputs)
    (node, _, _), path = query[0], []
    assert all(source is None for source, *_ in query[1:])
    for _, edge, blank in query:
        assert blank is None
        path.append((node, edge, edges[node, edge]))
        node = edges[node, edge]
    return len(path), due_triples(start, [*path, (999, 999, 999)])


def decode_shortest_path(task, inputs):
    """Breadth first from the destination against the edges; then always the smallest label that comes nearer."""
    edges, ((node, blank, destination),), start = read_graph(inputs, task.planning_steps)
    assert blank is None
    distance, frontier = {destination: 0}, {destination}
    while frontier:
        steps = max(distance.values()) + 1
        frontier = {a for (a, _), b in edges.items() if b in frontier and a not in distance}
        distance |= dict.fromkeys(frontier, steps)
    path = []
    while node != destination:
        nearer = [edge for (a, edge), b in edges.items() if a == node and distance.get(b, len(edges)) < distance[node]]
        path.append((node, min(nearer), edges[node, min(nearer)]))
        node = path[-1][2]
    return len(path), due_triples(start, [*path, (999, 999, 999)])


def decode_inference(task, inputs):
    """The relation's edges, one after the other."""
    edges, ((node, relation, blank),), start = read_graph(inputs, task.planning_steps)
    assert blank is None
    length, number = divmod(relation, 100)
    sequence = [int(edge) for edge in relations()[length - 2, number] if edge >= 0]
    assert len(sequence) == length
    end = node
    for edge in sequence:
        end = edges[end, edge]
    return length, due_triples(start, [(node, relation, end)])
