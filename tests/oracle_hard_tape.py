"""A slow tape with hard heads in plain Python: a list of slots that really grows at both ends."""

import math


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


class Tape:
    """A list of slots; `lowest` is how many slots were put before the first one, negative."""

    def __init__(self, width, num_heads, capacity, blank=0.0, min_similarity=0.0):
        self.blank = [blank] * width
        self.slots = [list(self.blank)]
        self.heads = [0] * num_heads
        self.lowest = 0
        self.capacity, self.min_similarity = capacity, min_similarity

    def write(self, head, vector, gate):
        old = self.slots[self.heads[head]]
        self.slots[self.heads[head]] = [gate * new + (1 - gate) * was for new, was in zip(vector, old, strict=True)]

    def jump(self, head, vector):
        best, where = -math.inf, None
        for place, slot in enumerate(self.slots):
            similarity = 1 - sum(abs(a - b) for a, b in zip(vector, slot, strict=True)) / len(vector)
            if similarity > best:
                best, where = similarity, place
        self.heads[head] = where if best >= self.min_similarity else len(self.slots) - 1

    def move(self, head, distance):
        place, is_full = self.heads[head] + distance, len(self.slots) == self.capacity
        if place == len(self.slots) and is_full:
            place = 0
        elif place == len(self.slots):
            self.slots.append(list(self.blank))
        elif place < 0 and is_full:
            place = len(self.slots) - 1
        elif place < 0:
            self.slots.insert(0, list(self.blank))
            self.heads = [other + 1 for other in self.heads]
            self.lowest -= 1
            place = 0
        self.heads[head] = place

    def step(self, fields):
        """What each head reads; fields of one step, a row a head."""
        vectors = [[sigmoid(value) for value in row] for row in fields["add"]]
        for head, vector in enumerate(vectors):
            self.write(head, vector, sigmoid(fields["write_gate"][head]))
        for head, vector in enumerate(vectors):
            if sigmoid(fields["jump"][head]) >= 0.5:
                self.jump(head, vector)
        for head, row in enumerate(fields["shift"]):
            self.move(head, list(row).index(max(row)) - 1)
        return [list(self.slots[place]) for place in self.heads]
