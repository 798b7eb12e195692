"""A slow Neural Turing Machine in plain NumPy, float64, written from the equations of Graves et al. 2014.

It shares no code with the library: loops over heads, slots and shifts, a real modulo, powers for the sharpening.
Weights are those of one network at exact sizes, named and laid out as in the library's parameter table.
"""

import numpy as np

LIMIT = 20.0
EPSILON = 1e-6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def clipped(x):
    return np.clip(x, -LIMIT, LIMIT)


def cosine(left, right):
    return left @ right / (np.sqrt(left @ left + EPSILON) * np.sqrt(right @ right + EPSILON))  # eq. 6


def lstm(weights, x, reads, hidden, cell):
    """One step of the controller; gates in the order input, forget, candidate, output."""
    gates = []
    for gate in range(4):
        total = (
            weights["bias"][gate] + x @ weights["input_kernel"][:, gate] + hidden @ weights["recurrent_kernel"][:, gate]
        )
        for head, read in enumerate(reads):
            total = total + read @ weights["read_kernel"][head, :, gate]
        gates.append(total)
    cell = sigmoid(gates[1]) * cell + sigmoid(gates[0]) * np.tanh(gates[2])
    return sigmoid(gates[3]) * np.tanh(cell), cell


def address(heads, head, hidden, memory, previous):
    """The new weighting of one head."""
    num_slots = len(memory)
    key = clipped(hidden @ heads["key_kernel"][:, head] + heads["key_bias"][head])
    strength = softplus(clipped(hidden @ heads["strength_kernel"][:, head] + heads["strength_bias"][head]))
    content = softmax(np.array([strength * cosine(key, memory[slot]) for slot in range(num_slots)]))  # eq. 5
    if heads["location_bias"].shape[-1] == 0:
        return content
    fields = clipped(hidden @ heads["location_kernel"][:, head] + heads["location_bias"][head])
    gate, sharpening, shift = sigmoid(fields[0]), 1 + softplus(fields[1]), softmax(fields[2:])
    farthest = len(shift) // 2
    gated = gate * content + (1 - gate) * previous  # eq. 7
    shifted = np.zeros(num_slots)
    for slot in range(num_slots):
        for distance in range(-farthest, farthest + 1):
            shifted[slot] += shift[farthest + distance] * gated[(slot - distance) % num_slots]  # eq. 8
    powers = shifted**sharpening
    return powers / powers.sum()  # eq. 9


def run(weights, inputs, num_slots):
    """Logits [time output], and the weightings [time head slot] of the read heads and then the write heads."""
    num_reads, width = weights["controller"]["read_kernel"].shape[:2]
    num_writes = weights["write"]["erase_bias"].shape[0]
    hidden = cell = np.zeros(weights["controller"]["bias"].shape[1])
    reads = [np.zeros(width) for _ in range(num_reads)]
    memory = np.full((num_slots, width), 1e-6)
    weightings = [np.eye(num_slots)[0] for _ in range(num_reads + num_writes)]
    logits, history = [], []
    for x in inputs:
        hidden, cell = lstm(weights["controller"], x, reads, hidden, cell)
        weightings = [
            address(weights["heads"], head, hidden, memory, previous) for head, previous in enumerate(weightings)
        ]
        write, output = weights["write"], weights["output"]
        kept, added = np.ones_like(memory), np.zeros_like(memory)
        for head in range(num_writes):
            erase = sigmoid(clipped(hidden @ write["erase_kernel"][:, head] + write["erase_bias"][head]))
            add = clipped(hidden @ write["add_kernel"][:, head] + write["add_bias"][head])
            kept *= 1 - np.outer(weightings[num_reads + head], erase)  # eq. 3
            added += np.outer(weightings[num_reads + head], add)  # eq. 4
        memory = memory * kept + added
        reads = [weightings[head] @ memory for head in range(num_reads)]  # eq. 2
        logit = output["bias"] + hidden @ output["controller_kernel"]
        for head, read in enumerate(reads):
            logit = logit + read @ output["read_kernel"][head]
        logits.append(logit)
        history.append(np.stack(weightings))
    return np.stack(logits), np.stack(history)
