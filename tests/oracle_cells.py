"""Slow memory networks in plain NumPy, float64, written from the equations of the papers.

They share no code with the library: loops over heads, slots and shifts, a real modulo, powers for the sharpening.
Weights are those of one network at exact sizes, named and laid out as in the library's parameter table.

Graves et al. 2014 (the Neural Turing Machine), Cho et al. 2014 (GRU, reset after the product), Elman 1990, Graves 2016
(adaptive computation time).
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


def arriving(weights, place, gate, x, reads, hidden):
    """What arrives at a gate from the inputs (place `input`), or from the units (place `unit`)."""
    if place == "unit":
        return hidden @ weights["recurrent_kernel"][:, gate]
    total = x @ weights["input_kernel"][:, gate]
    for head, read in enumerate(reads):
        total = total + read @ weights["read_kernel"][head, :, gate]
    return total


def lstm(weights, x, reads, hidden, cell):
    """Gates in the order input, forget, candidate, output."""
    gates = [
        weights["bias"][gate]
        + arriving(weights, "input", gate, x, reads, hidden)
        + arriving(weights, "unit", gate, x, reads, hidden)
        for gate in range(4)
    ]
    cell = sigmoid(gates[1]) * cell + sigmoid(gates[0]) * np.tanh(gates[2])
    return sigmoid(gates[3]) * np.tanh(cell), cell


def gru(weights, x, reads, hidden, cell):
    """Reset, update, candidate; of the units the third place is what the reset gate multiplies."""
    from_inputs = [arriving(weights, "input", gate, x, reads, hidden) for gate in range(3)]
    from_units = [arriving(weights, "unit", gate, x, reads, hidden) for gate in range(3)]
    bias = weights["bias"]
    reset = sigmoid(bias[0] + from_inputs[0] + from_units[0])
    update = sigmoid(bias[1] + from_inputs[1] + from_units[1])
    candidate = np.tanh(bias[2] + from_inputs[2] + reset * (bias[3] + from_units[2]))
    return update * hidden + (1 - update) * candidate, cell


def rnn(weights, x, reads, hidden, cell):
    total = weights["bias"][0] + arriving(weights, "input", 0, x, reads, hidden)
    return np.tanh(total + arriving(weights, "unit", 0, x, reads, hidden)), cell


def feedforward(weights, x, reads, hidden, cell):
    return np.tanh(weights["bias"][0] + arriving(weights, "input", 0, x, reads, hidden)), cell


CONTROLLERS = {"lstm": lstm, "gru": gru, "rnn": rnn, "feedforward": feedforward}


def address(heads, head, hidden, memory, previous):
    """The new weighting of one head."""
    num_slots = len(memory)
    key = clipped(hidden @ heads["key_kernel"][:, head] + heads["key_bias"][head])
    strength = softplus(clipped(hidden @ heads["strength_kernel"][:, head] + heads["strength_bias"][head]))
    content = softmax(np.array([strength * cosine(key, memory[slot]) for slot in range(num_slots)]))  # eq. 5
    if heads["location_bias"].shape[-1] == 0:
        return content
    gate = sigmoid(clipped(hidden @ heads["gate_kernel"][:, head, 0] + heads["gate_bias"][head, 0]))
    return move(heads, head, hidden, gate * content + (1 - gate) * previous)  # eq. 7


def move(heads, head, hidden, weighting):
    """Shift and sharpen the weighting of one head."""
    num_slots = len(weighting)
    fields = clipped(hidden @ heads["location_kernel"][:, head] + heads["location_bias"][head])
    sharpening, shift = 1 + softplus(fields[0]), softmax(fields[1:])
    farthest = len(shift) // 2
    shifted = np.zeros(num_slots)
    for slot in range(num_slots):
        for distance in range(-farthest, farthest + 1):
            shifted[slot] += shift[farthest + distance] * weighting[(slot - distance) % num_slots]  # eq. 8
    powers = shifted**sharpening
    return powers / powers.sum()  # eq. 9


class PointerMemory:
    """The memory of a Neural Turing Machine or, without keys, of a tape with soft pointers."""

    def __init__(self, num_slots, width, num_reads, num_writes, by_content):
        self.memory = np.full((num_slots, width), 1e-6)
        self.weightings = [np.eye(num_slots)[0] for _ in range(num_reads + num_writes)]
        self.num_reads, self.num_writes, self.by_content = num_reads, num_writes, by_content
        self.reads = [np.zeros(width) for _ in range(num_reads)]

    def step(self, weights, hidden):
        heads, write = weights["heads"], weights["write"]
        self.weightings = [
            address(heads, head, hidden, self.memory, previous)
            if self.by_content
            else move(heads, head, hidden, previous)
            for head, previous in enumerate(self.weightings)
        ]
        kept, added = np.ones_like(self.memory), np.zeros_like(self.memory)
        for head in range(self.num_writes):
            weighting = self.weightings[self.num_reads + head]
            if self.by_content:
                erase = sigmoid(clipped(hidden @ write["erase_kernel"][:, head] + write["erase_bias"][head]))
                kept *= 1 - np.outer(weighting, erase)  # eq. 3
            added += np.outer(weighting, clipped(hidden @ write["add_kernel"][:, head] + write["add_bias"][head]))
        self.memory = self.memory * kept + added  # eq. 4
        self.reads = [self.weightings[head] @ self.memory for head in range(self.num_reads)]  # eq. 2

    def state(self):
        return {"memory": self.memory, "weightings": np.array(self.weightings), "reads": np.array(self.reads)}

    def set(self, state):
        self.memory, self.weightings, self.reads = state["memory"], list(state["weightings"]), list(state["reads"])


class NoMemory:
    """Nothing to write to or to read from."""

    def __init__(self):
        self.weightings, self.reads = [], []

    def step(self, weights, hidden):
        pass

    def state(self):
        return {}

    def set(self, state):
        pass


def make_memory(genes):
    sizes = [genes[name] for name in ("num_slots", "slot_width", "num_read_heads", "num_write_heads")]
    if genes["memory"] == "none":
        return NoMemory()
    return PointerMemory(*sizes, by_content=genes["memory"] == "ntm")


def run(weights, inputs, genes):
    """Logits [time output], weightings [time head slot] of read then write heads, and the price of pondering [time]."""
    control, memory = CONTROLLERS[genes["controller"]], make_memory(genes)
    hidden = cell = np.zeros(genes["controller_size"])
    output = weights["output"]
    logits, history, prices = [], [], []
    for x in inputs:
        if genes["ponder_steps"] == 1:
            hidden, cell = control(weights["controller"], x, memory.reads, hidden, cell)
            memory.step(weights, hidden)
            price = 2.0
        else:
            hidden, cell, price = ponder(weights, x, genes, control, memory, hidden, cell)
        logit = output["bias"] + hidden @ output["controller_kernel"]
        for head, read in enumerate(memory.reads):
            logit = logit + read @ output["read_kernel"][head]
        logits.append(logit)
        history.append(np.array(memory.weightings) if memory.weightings else np.zeros((0, 0)))
        prices.append(price)
    return np.stack(logits), np.stack(history), np.array(prices)


def ponder(weights, x, genes, control, memory, hidden, cell):
    """Adaptive computation time over one input: Graves 2016, eq. 4 to 13."""
    states, chances = [], []
    for step in range(genes["ponder_steps"]):
        flagged = np.append(x, 1.0 if step == 0 else 0.0)
        hidden, cell = control(weights["controller"], flagged, memory.reads, hidden, cell)
        memory.step(weights, hidden)
        halt = hidden @ weights["ponder"]["halt_kernel"][:, 0] + weights["ponder"]["halt_bias"][0]
        states.append({"hidden": hidden, "cell": cell, **memory.state()})
        chances.append(sigmoid(clipped(halt)))
        if sum(chances) >= 0.99:
            break
    remainder = 1 - sum(chances[:-1])
    shares = [*chances[:-1], remainder]
    mean = {name: sum(share * state[name] for share, state in zip(shares, states, strict=True)) for name in states[0]}
    memory.set(mean)
    return mean["hidden"], mean["cell"], len(chances) + remainder
