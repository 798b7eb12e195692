"""Cellular automata in plain NumPy, one cell and one step at a time, from their definitions."""

import numpy as np


def tape_of(programme, numbers, window):
    """Programme, two separators, and each number as one more blank cell than it says and a red marker."""
    tape = [*programme, 3, 3]
    markers = []
    for number in numbers:
        tape += [0] * (number + 1)
        markers.append(len(tape))
        tape.append(2)
    return np.array(tape + [0] * (window - len(tape)), np.int64), markers


def step_tape(rule, tape):
    after = np.zeros_like(tape)
    for cell in range(1, len(tape) - 1):
        after[cell] = rule[16 * tape[cell - 1] + 4 * tape[cell] + tape[cell + 1]]
    return after


def run_tape(rule, programme, numbers, window, max_steps):
    """Output, steps, halted and the last tape; the halting test follows each step."""
    tape, markers = tape_of(programme, numbers, window)
    origin = len(programme) + 3 if len(numbers) == 1 else markers[-1]
    for steps in range(1, max_steps + 1):
        tape = step_tape(rule, tape)
        live, blue = np.sum(tape > 0), np.sum(tape == 3)
        if live > 0 and blue / live >= 0.5:
            red = np.flatnonzero(tape == 2)
            return (red[-1] - origin if red.size else -10), steps, True, tape
    return -10, max_steps, False, tape


def run_ring(rule, cells, observed, bins, programme_cells, steps):
    """The ring after its steps, and the red cells left and right of each variable's input cells."""
    cells = list(cells)
    inputs = [
        [(variable * bins + each) * (1 + programme_cells) for each in range(bins)] for variable in range(len(observed))
    ]

    def clamp():
        for places, chosen in zip(inputs, observed, strict=True):
            for place in places:
                cells[place] = 0
            cells[places[chosen]] = 2

    clamp()
    for _ in range(steps):
        size = len(cells)
        cells = [int(rule[9 * cells[i - 1] + 3 * cells[i] + cells[(i + 1) % size]]) for i in range(size)]
        clamp()
    size = len(cells)
    left = [sum(cells[place - 1] == 2 for place in places) for places in inputs]
    right = [sum(cells[(place + 1) % size] == 2 for place in places) for places in inputs]
    return cells, left, right


def run_grid(kernel, grid, inputs, reward=None, rate=0.1, threshold=0.7, max_steps=100):
    """The last grid, the steps, and whether its halting cell is full."""
    grid = np.array(grid, np.float64)

    def clamp():
        grid[3, 0], grid[6, 0] = inputs
        if reward is not None:
            grid[15, 19] = reward

    clamp()
    for steps in range(1, max_steps + 1):
        before = grid.copy()
        for i in range(20):
            for j in range(20):
                total = 0.0
                for a in range(3):
                    for b in range(3):
                        total += kernel[a][b] * before[min(max(i + a - 1, 0), 19), min(max(j + b - 1, 0), 19)]
                grid[i, j] = before[i, j] + rate * total
        clamp()
        if grid[10, 19] >= threshold:
            return grid, steps, True
    return grid, max_steps, False
