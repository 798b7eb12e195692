"""Slow memory networks in plain NumPy, float64, written from the equations of the papers.

They share no code with the library: loops over heads, slots and shifts, a real modulo, powers for the sharpening.
Weights are those of one network at exact sizes, named and laid out as in the library's parameter table.

Graves et al. 2014 (the Neural Turing Machine), Cho et al. 2014 (GRU, reset after the product), Elman 1990, Graves 2016
(adaptive computation time). What is longer has a file of its own.
"""

import numpy as np
import oracle_dnc
import oracle_hard_tape
import oracle_window

CONTROLLERS = ("lstm", "gru", "rnn", "feedforward", "window")
MEMORIES = ("none", "tape", "hard_tape", "ntm", "dnc")
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


class Gated:
    """A controller of gated sums."""

    def __init__(self, genes):
        self.update = {"lstm": lstm, "gru": gru, "rnn": rnn, "feedforward": feedforward}[genes["controller"]]
        self.hidden = self.cell = np.zeros(genes["controller_size"])

    def step(self, weights, x, reads):
        self.hidden, self.cell = self.update(weights["controller"], x, reads, self.hidden, self.cell)

    def state(self):
        return {"hidden": self.hidden, "cell": self.cell}

    def set(self, state):
        self.hidden, self.cell = state["hidden"], state["cell"]


class Window:
    """A window transformer; absent tokens are left out."""

    def __init__(self, genes):
        self.hidden = np.zeros(genes["controller_size"])
        self.tokens = np.zeros((genes["window_size"], genes["controller_size"]))
        self.seen = 0

    def step(self, weights, x, reads):
        w = weights["window"]
        embedded = x @ w["embedding"] + w["embedding_bias"]
        self.tokens = np.concatenate([embedded[None], self.tokens[:-1]])
        self.seen = min(self.seen + 1, len(self.tokens))
        tokens = [self.tokens[age] + w["position"][age] for age in range(self.seen)]
        tokens += [read @ w["read_kernel"] + w["read_position"][head] for head, read in enumerate(reads)]
        newest = oracle_window.encoder(w, tokens)[0]
        self.hidden = np.tanh(newest @ w["state_kernel"] + self.hidden @ w["recurrent_kernel"] + w["state_bias"])

    def state(self):
        return {"hidden": self.hidden, "tokens": self.tokens, "seen": self.seen}

    def set(self, state):
        self.hidden, self.tokens, self.seen = state["hidden"], state["tokens"], state["seen"]


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


class DNC:
    """The memory of a Differentiable Neural Computer."""

    def __init__(self, num_slots, width, num_reads, num_writes):
        self.memory = np.full((num_slots, width), 1e-6)
        self.inner = oracle_dnc.start(num_slots, num_reads, num_writes)
        self.reads = np.zeros((num_reads, width))

    @property
    def weightings(self):
        return [*self.inner["read"], *self.inner["write"]]

    def step(self, weights, hidden):
        fields = emitted(weights, hidden, ("heads", "write", "dnc"))
        self.memory, self.reads, self.inner = oracle_dnc.step(fields, self.memory, self.inner)

    def state(self):
        return {"memory": self.memory, "reads": self.reads, **self.inner}

    def set(self, state):
        self.memory, self.reads = state["memory"], state["reads"]
        self.inner = {name: state[name] for name in self.inner}


class HardTape:
    """A tape with hard heads: as many as there are pairs of a read head and a write head."""

    def __init__(self, num_slots, width, num_reads, num_writes):
        self.num_heads = min(num_reads, num_writes)
        self.tape = oracle_hard_tape.Tape(width, self.num_heads, num_slots, blank=1e-6)
        self.reads = [np.zeros(width) for _ in range(num_reads)]
        self.num_slots, self.num_reads, self.num_writes = num_slots, num_reads, num_writes
        self.weightings = []

    def stands(self):
        places = [(place + self.tape.lowest) % self.num_slots for place in self.tape.heads]
        return [np.eye(self.num_slots)[place] for place in places]

    def step(self, weights, hidden):
        fields = emitted(weights, hidden, ("write", "hard_tape"))
        wrote = self.stands()
        found = self.tape.step({name: rows[: self.num_heads] for name, rows in fields.items()})
        nothing = np.zeros(len(self.reads[0]))
        self.reads = [np.array(read) for read in found] + [nothing] * (self.num_reads - self.num_heads)
        idle = [np.zeros(self.num_slots)]
        read, written = (
            rows + idle * (count - self.num_heads)
            for rows, count in ((self.stands(), self.num_reads), (wrote, self.num_writes))
        )
        self.weightings = read + written


def emitted(weights, hidden, blocks):
    """Every field of these blocks that a controller emits, clipped."""
    fields = {}
    for block in blocks:
        for name in weights.get(block, {}):
            if name.endswith("_kernel"):
                field = name.removesuffix("_kernel")
                product = np.tensordot(hidden, weights[block][name], axes=1)
                fields[field] = clipped(product + weights[block][f"{field}_bias"])
    return fields


def make_memory(genes):
    sizes = [genes[name] for name in ("num_slots", "slot_width", "num_read_heads", "num_write_heads")]
    if genes["memory"] == "none":
        return NoMemory()
    if genes["memory"] in ("dnc", "hard_tape"):
        return {"dnc": DNC, "hard_tape": HardTape}[genes["memory"]](*sizes)
    return PointerMemory(*sizes, by_content=genes["memory"] == "ntm")


def knows(genes):
    """Whether there is a plain version of both kinds, and of pondering with them: a hard tape is in one place only."""
    ponders = genes["ponder_steps"] > 1 and genes["memory"] == "hard_tape"
    return genes["controller"] in CONTROLLERS and genes["memory"] in MEMORIES and not ponders


def run(weights, inputs, genes):
    """Logits [time output], weightings [time head slot] of read then write heads, and the price of pondering [time]."""
    control, memory = (Window if genes["controller"] == "window" else Gated)(genes), make_memory(genes)
    output = weights["output"]
    logits, history, prices = [], [], []
    for x in inputs:
        price = 2.0
        if genes["ponder_steps"] > 1:
            price = ponder(weights, x, genes, control, memory)
        else:
            control.step(weights, x, memory.reads)
            memory.step(weights, control.hidden)
        logit = output["bias"] + control.hidden @ output["controller_kernel"]
        for head, read in enumerate(memory.reads):
            logit = logit + read @ output["read_kernel"][head]
        logits.append(logit)
        history.append(np.array(memory.weightings) if len(memory.weightings) else np.zeros((0, 0)))
        prices.append(price)
    return np.stack(logits), np.stack(history), np.array(prices)


def ponder(weights, x, genes, control, memory):
    """Adaptive computation time over one input: Graves 2016, eq. 4 to 13. Counts are those of the last step."""
    states, chances = [], []
    for step in range(genes["ponder_steps"]):
        control.step(weights, np.append(x, 1.0 if step == 0 else 0.0), memory.reads)
        memory.step(weights, control.hidden)
        halt = control.hidden @ weights["ponder"]["halt_kernel"][:, 0] + weights["ponder"]["halt_bias"][0]
        states.append((control.state(), memory.state()))
        chances.append(sigmoid(clipped(halt)))
        if sum(chances) >= 0.99:
            break
    remainder = 1 - sum(chances[:-1])
    shares = [*chances[:-1], remainder]
    for part, own in zip((control, memory), zip(*states, strict=True), strict=True):
        part.set({name: mean(shares, [state[name] for state in own]) for name in own[0]})
    return len(chances) + remainder


def mean(shares, values):
    if isinstance(values[-1], int):
        return values[-1]
    return sum(share * value for share, value in zip(shares, values, strict=True))
