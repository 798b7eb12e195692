"""What is due in an episode of the sequence tasks, read off its inputs as a person would, in plain NumPy.

A decoder takes a task and the inputs of one episode, and gives its length and its answers by step.
"""

import numpy as np


def decode_copy(task, inputs):
    """The vectors before the delimiter are due after it."""
    (delimiter,) = np.flatnonzero(inputs[:, task.bits])
    shown = inputs[:delimiter, : task.bits]
    assert not inputs[:delimiter, task.bits].any()
    assert not inputs[delimiter, : task.bits].any()
    assert not inputs[delimiter + 1 :].any()  # nothing may give the answer away
    return delimiter, {delimiter + 1 + position: vector for position, vector in enumerate(shown)}


def decode_recall(task, inputs):
    """Items stand between item delimiters; the one after the queried item is due after the second query delimiter."""
    bits, item_delimiter, query_delimiter = inputs[:, : task.bits], inputs[:, task.bits], inputs[:, task.bits + 1]
    opening, closing = np.flatnonzero(query_delimiter)
    starts = np.flatnonzero(item_delimiter)
    items = [bits[start + 1 : start + 1 + task.item_length] for start in starts]
    assert len(items) * (task.item_length + 1) == opening  # items fill the list
    assert closing == opening + 1 + task.item_length
    assert not bits[[*starts, opening, closing]].any()
    assert not inputs[closing + 1 :].any()
    query = bits[opening + 1 : closing]
    # the same item may be there twice: any of its successors could be meant
    answers = [items[index + 1] for index in range(len(items) - 1) if np.array_equal(items[index], query)]
    return len(items), [dict(enumerate(answer, closing + 1)) for answer in answers]


def decode_reverse_copy(task, inputs):
    """The vectors before the delimiter are due after it, last first."""
    length, answers = decode_copy(task, inputs)
    return length, dict(zip(answers, reversed(answers.values()), strict=True))


def decode_vocab_copy(task, inputs):
    """The symbols before the delimiter are due after it."""
    (delimiter,) = np.flatnonzero(inputs[:, task.symbols])
    shown = inputs[:delimiter, : task.symbols]
    np.testing.assert_array_equal(np.sort(shown)[:, -2:], np.tile([0, 1], (delimiter, 1)))  # one symbol a step
    assert not inputs[delimiter, : task.symbols].any()
    assert not inputs[delimiter + 1 :].any()
    return delimiter, dict(enumerate(shown, delimiter + 1))


def read_repeats(task, inputs):
    """The vectors before the delimiter, and how many repeats the step after it asks for."""
    width = task.input_size - 2
    (delimiter,) = np.flatnonzero(inputs[:, width])
    assert not inputs[delimiter:, :width].any()
    assert not inputs[: delimiter + 1, width + 1].any()
    assert not inputs[delimiter + 2 :].any()
    numbers = np.arange(1, task.max_repeats + 1)
    normalised = (numbers - numbers.mean()) / numbers.std()
    (repeats,) = numbers[np.isclose(normalised, inputs[delimiter + 1, width + 1], atol=1e-5)]
    return inputs[:delimiter, :width], repeats


def decode_repeat_copy(task, inputs):
    """After the number of repeats the vectors are due that often, then the marker on the last channel."""
    shown, repeats = read_repeats(task, inputs)
    answers = [np.append(vector, 0) for _ in range(repeats) for vector in shown]
    return len(shown), dict(enumerate([*answers, np.eye(task.bits + 1)[-1]], len(shown) + 2))


def decode_vocab_repeat_copy(task, inputs):
    """After the number of repeats the symbols are due that often, then the alphabet's last, which no string has."""
    shown, repeats = read_repeats(task, inputs)
    np.testing.assert_array_equal(shown.sum(axis=1), 1)
    assert not shown[:, -1].any()
    answers = [symbol for _ in range(repeats) for symbol in shown]
    return len(shown), dict(enumerate([*answers, np.eye(task.symbols)[-1]], len(shown) + 2))


def decode_priority_sort(task, inputs):
    """Of the vectors before the delimiter those of the highest priorities are due, highest first."""
    (delimiter,) = np.flatnonzero(inputs[:, task.bits + 1])
    assert not inputs[delimiter, : task.bits + 1].any()
    assert not inputs[delimiter + 1 :].any()
    vectors = sorted(inputs[:delimiter], key=lambda vector: -vector[task.bits])  # stable, as the task is
    assert all(-1 <= vector[task.bits] < 1 for vector in vectors)
    due = int(np.ceil(delimiter * task.answers / task.max_vectors))
    return delimiter, {delimiter + 1 + rank: vector[: task.bits] for rank, vector in enumerate(vectors[:due])}


def decode_n_grams(task, inputs):
    """Each step asks for the next bit, from the first context on; the last one is never shown, so either is right."""
    (bits,) = inputs.T
    steps = range(task.context - 1, len(bits))
    return len(bits) + 1, [dict(zip(steps, [*bits[task.context :, None], [last]], strict=True)) for last in (0, 1)]
