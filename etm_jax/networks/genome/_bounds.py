"""The search space: how small and how large each part of a network may be."""

from dataclasses import dataclass, fields

from etm_jax._require import require_count
from etm_jax.cells import CONTROLLERS, MEMORIES, Family, axis_sizes

CONTENT = "content"
CONTENT_AND_LOCATION = "content_and_location"
ADDRESSING = (CONTENT, CONTENT_AND_LOCATION)  # a genome holds the index
# The genes that choose a kind: the gene, the field of the bounds that lists what may occur, and all kinds.
CHOICES = {
    "addressing": ("addressing", ADDRESSING),
    "controller": ("controllers", CONTROLLERS),
    "memory": ("memories", MEMORIES),
}


@dataclass(frozen=True)
class Bounds:
    """Inclusive `(low, high)` ranges of the architecture genes. The upper ends are the padded sizes.

    Static and hashable: a compiled program belongs to one `Bounds`.

    Attributes:
        num_slots: memory slots.
        slot_width: numbers in a slot.
        num_read_heads: heads that read.
        num_write_heads: heads that write.
        controller_size: hidden units of the controller.
        shift_range: largest distance S that a head can move in a step; shifts are -S..S.
        ponder_steps: most steps over one input (adaptive computation time); 1 for none.
        window_size: inputs that a window controller sees.
        num_layers: encoder layers of a window controller.
        attention_heads: of each of these layers.
        attention_width: width of a key and a value of these heads; the same for every network.
        sparse_links: largest entries of a weighting that enter a DNC's temporal links; 0 for all.
        addressing: the kinds of addressing of a Neural Turing Machine that may occur, of `"content"` and
            `"content_and_location"`.
        controllers: the kinds of controllers that may occur, of `"lstm"`, `"gru"`, `"rnn"`, `"feedforward"` and
            `"window"`.
        memories: the kinds of memories that may occur, of `"none"`, `"tape"`, `"hard_tape"`, `"ntm"` and
            `"dnc"`.

    Raises:
        ValueError: a range is not `1 <= low <= high`, the memory is too short for the shifts, or a kind is unknown.

    Example:
        >>> from etm_jax.networks import Bounds
        >>> Bounds(num_slots=(8, 16)).num_slots
        (8, 16)
        >>> Bounds(num_slots=(2, 16))
        Traceback (most recent call last):
        ValueError: num_slots must satisfy 2*shift_range+1 <= low <= high, got (2, 16) with shift_range up to 1; raise the lower bound to 3
    """  # noqa: E501

    num_slots: tuple[int, int] = (16, 256)
    slot_width: tuple[int, int] = (8, 64)
    num_read_heads: tuple[int, int] = (1, 4)
    num_write_heads: tuple[int, int] = (1, 3)
    controller_size: tuple[int, int] = (32, 256)
    shift_range: tuple[int, int] = (1, 1)
    ponder_steps: tuple[int, int] = (1, 1)
    window_size: tuple[int, int] = (4, 4)
    num_layers: tuple[int, int] = (1, 1)
    attention_heads: tuple[int, int] = (4, 4)
    attention_width: int = 16
    sparse_links: int = 0
    addressing: tuple[str, ...] = ADDRESSING
    controllers: tuple[str, ...] = ("lstm",)
    memories: tuple[str, ...] = ("ntm",)

    def __post_init__(self) -> None:
        listed = {name: kinds for name, kinds in CHOICES.values()}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in listed:
                kinds = value if isinstance(value, tuple) else ()
                if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= set(listed[field.name]):
                    raise ValueError(f"{field.name} must list some of {listed[field.name]}, each once, got {value!r}")
            elif field.name in ("attention_width", "sparse_links"):
                require_count(field.name, value, 1 if field.name == "attention_width" else 0)
            elif not (_is_pair(value) and 1 <= value[0] <= value[1]):
                raise ValueError(
                    f"{field.name} must be two whole numbers with 1 <= low <= high, got {value!r}; give (low, high)"
                )
        needed = 2 * self.shift_range[1] + 1
        if self.num_slots[0] < needed:
            raise ValueError(
                f"num_slots must satisfy 2*shift_range+1 <= low <= high, got {self.num_slots} with shift_range up to "
                f"{self.shift_range[1]}; raise the lower bound to {needed}"
            )

    @property
    def family(self) -> Family:
        """What is static about the networks of these bounds."""
        return Family(
            controllers=self.controllers,
            memories=self.memories,
            ponder_steps=self.ponder_steps[1],
            attention_width=self.attention_width,
            sparse_links=self.sparse_links,
        )

    @property
    def gated(self) -> bool:
        """Whether some network's heads choose between content and location."""
        return "ntm" in self.memories and CONTENT_AND_LOCATION in self.addressing

    @property
    def located(self) -> bool:
        """Whether some network's heads can move from where they are."""
        return self.gated or "tape" in self.memories

    def axis_sizes(self, input_size: int, output_size: int) -> dict[str, int]:
        """Padded size of every axis that the cells' parameter table names."""
        return axis_sizes(
            self.family,
            num_inputs=input_size,
            num_outputs=output_size,
            num_slots=self.num_slots[1],
            slot_width=self.slot_width[1],
            num_read_heads=self.num_read_heads[1],
            num_write_heads=self.num_write_heads[1],
            controller_size=self.controller_size[1],
            shift_range=self.shift_range[1] if self.located else 0,
            gated=self.gated,
            window_size=self.window_size[1],
            num_layers=self.num_layers[1],
            attention_heads=self.attention_heads[1],
        )


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(end) is int for end in value)
