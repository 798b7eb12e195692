"""The kinds of controllers and memories, and what is static about the networks that share one padded shape."""

from dataclasses import dataclass

CONTROLLERS = ("lstm", "gru", "rnn", "feedforward", "window")
MEMORIES = ("none", "tape", "hard_tape", "ntm", "dnc")  # a genome holds the index

# A gated controller makes up to four numbers a unit from its inputs and from its units, the same places for every
# kind, so that one product serves a population of several. LSTM: input, forget, candidate, output. GRU: reset, update,
# and the candidate's two parts, which the reset gate comes between. RNN and feed-forward: the unit itself.
FROM_INPUTS = {"lstm": (0, 1, 2, 3), "gru": (0, 1, 2), "rnn": (0,), "feedforward": (0,)}
FROM_UNITS = {"lstm": (0, 1, 2, 3), "gru": (0, 1, 3), "rnn": (0,), "feedforward": ()}
WITH_KEYS = ("ntm", "dnc")  # memories whose heads look for content, and erase


@dataclass(frozen=True)
class Family:
    """What is static about networks of one padded shape: the kinds that may occur, and what no gene says.

    Attributes:
        controllers: of `CONTROLLERS`.
        memories: of `MEMORIES`.
        ponder_steps: most steps that a network ponders over one input; 1 for none.
        attention_width: width of a key and a value of a window controller's attention head.
        sparse_links: largest entries of a weighting that enter a DNC's temporal links; 0 for all.
    """

    controllers: tuple[str, ...] = ("lstm",)
    memories: tuple[str, ...] = ("ntm",)
    ponder_steps: int = 1
    attention_width: int = 16
    sparse_links: int = 0

    def has(self, kinds: tuple[str, ...]) -> bool:
        """Whether one of these kinds may occur."""
        return any(kind in self.controllers + self.memories for kind in kinds)

    @property
    def from_inputs(self) -> tuple[int, ...]:
        """Places of the gates that some controller makes from its inputs."""
        return self._places(FROM_INPUTS)

    @property
    def from_units(self) -> tuple[int, ...]:
        """Places of the gates that some controller makes from its units."""
        return self._places(FROM_UNITS)

    @property
    def gates(self) -> tuple[int, ...]:
        """Places of all gates, from 0 on."""
        return tuple(sorted({*self.from_inputs, *self.from_units}))

    @property
    def is_gated(self) -> bool:
        """Whether some controller is made of gated sums."""
        return bool(self.gates)

    @property
    def remembers(self) -> bool:
        """Whether some network has a memory."""
        return self.memories != ("none",)

    def _places(self, table: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(sorted({place for kind in self.controllers for place in table.get(kind, ())}))
