"""A slow memory of a Differentiable Neural Computer in plain NumPy, float64, from Graves et al. 2016, Methods.

It shares no code with the library: exact sizes, a memory of rows, a real sort, loops over slots. With several write
heads, each has links and a precedence, and they allocate one after the other.
"""

import numpy as np

EPSILON = 1e-6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def oneplus(x):
    return 1 + np.log(1 + np.exp(x))


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def content(memory, key, strength):
    """C(M, k, beta), with the cosine's epsilon as everywhere in the library."""
    norm = np.sqrt(key @ key + EPSILON)
    cosines = [row @ key / (norm * np.sqrt(row @ row + EPSILON)) for row in memory]
    return softmax(strength * np.array(cosines))


def allocation(usage):
    order = np.argsort(usage, kind="stable")  # phi
    weighting, product = np.zeros(len(usage)), 1.0
    for slot in order:
        weighting[slot] = (1 - usage[slot]) * product
        product *= usage[slot]
    return weighting


def largest(weighting, count):
    """All but the `count` largest set to 0."""
    kept = np.argsort(-weighting, kind="stable")[:count]
    sparse = np.zeros_like(weighting)
    sparse[kept] = weighting[kept]
    return sparse


def start(num_slots, num_reads, num_writes):
    """Weightings of the read heads and of the write heads, usage, precedences, links."""
    return {
        "read": np.zeros((num_reads, num_slots)),
        "write": np.zeros((num_writes, num_slots)),
        "usage": np.zeros(num_slots),
        "precedence": np.zeros((num_writes, num_slots)),
        "link": np.zeros((num_writes, num_slots, num_slots)),
    }


def step(fields, memory, before, count=0):
    """Memory [slot width], the reads [read width] and the state after a step; `count` makes the links sparse."""
    num_slots, num_reads, num_writes = len(memory), len(before["read"]), len(before["write"])
    usage = np.zeros(num_slots)
    for slot in range(num_slots):
        untouched, retention = 1.0, 1.0
        for head in range(num_writes):
            untouched *= 1 - before["write"][head, slot]
        for head in range(num_reads):
            retention *= 1 - sigmoid(fields["free"][head]) * before["read"][head, slot]
        old, fresh = before["usage"][slot], 1 - untouched
        usage[slot] = (old + fresh - old * fresh) * retention

    write, expected = np.zeros((num_writes, num_slots)), usage.copy()
    for head in range(num_writes):
        key, strength = fields["key"][num_reads + head], oneplus(fields["strength"][num_reads + head])
        g_a, g_w = sigmoid(fields["allocation"][head]), sigmoid(fields["write_gate"][head])
        free = allocation(expected)
        write[head] = g_w * (g_a * free + (1 - g_a) * content(memory, key, strength))
        expected += (1 - expected) * g_a * g_w * free

    kept, added = np.ones_like(memory), np.zeros_like(memory)
    for head in range(num_writes):
        kept *= 1 - np.outer(write[head], sigmoid(fields["erase"][head]))
        added += np.outer(write[head], fields["add"][head])
    memory = memory * kept + added

    link, precedence = np.zeros_like(before["link"]), np.zeros_like(before["precedence"])
    for head in range(num_writes):
        w, p = write[head], before["precedence"][head]
        if count:
            w, p = largest(w, count), largest(p, count)
        for i in range(num_slots):
            for j in range(num_slots):
                if i != j:
                    link[head, i, j] = (1 - w[i] - w[j]) * before["link"][head, i, j] + w[i] * p[j]
        precedence[head] = (1 - write[head].sum()) * before["precedence"][head] + write[head]

    read = np.zeros_like(before["read"])
    for head in range(num_reads):
        modes = softmax(np.concatenate([[fields["content_mode"][head]], fields["link_mode"][head].ravel()]))
        read[head] = modes[0] * content(memory, fields["key"][head], oneplus(fields["strength"][head]))
        for writer in range(num_writes):
            back, on = modes[1 + 2 * writer], modes[2 + 2 * writer]
            read[head] += back * link[writer].T @ before["read"][head] + on * link[writer] @ before["read"][head]
    state = {"read": read, "write": write, "usage": usage, "precedence": precedence, "link": link}
    return memory, read @ memory, state


def run(fields, memory, count=0):
    """What `step` returns, for every step of fields with a leading time axis."""
    state = start(len(memory), fields["free"].shape[1], fields["write_gate"].shape[1])
    history = []
    for time in range(len(fields["free"])):
        memory, reads, state = step({name: rows[time] for name, rows in fields.items()}, memory, state, count)
        history.append((memory, reads, state))
    return history
