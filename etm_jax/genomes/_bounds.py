"""The search space: how small and how large each part of a network may be."""

from dataclasses import dataclass, fields

CONTENT = "content"
CONTENT_AND_LOCATION = "content_and_location"
ADDRESSING = (CONTENT, CONTENT_AND_LOCATION)  # a genome holds the index


@dataclass(frozen=True)
class Bounds:
    """Inclusive `(low, high)` ranges of the architecture genes. The upper ends are the padded sizes.

    Static and hashable: a compiled program belongs to one `Bounds`.

    Attributes:
        num_slots: memory slots.
        slot_width: numbers in a slot.
        num_read_heads: heads that read.
        num_write_heads: heads that write.
        controller_size: hidden units of the LSTM controller.
        shift_range: largest distance S that a head can move in a step; shifts are -S..S.
        addressing: the kinds of addressing that may occur, of `"content"` and `"content_and_location"`.

    Raises:
        ValueError: a range is not `1 <= low <= high`, the memory is too short for the shifts, or an addressing
            is unknown.

    Example:
        >>> from etm_jax.genomes import Bounds
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
    addressing: tuple[str, ...] = ADDRESSING

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name == "addressing":
                continue
            value = getattr(self, field.name)
            if len(value) != 2 or not all(isinstance(end, int) for end in value) or not 1 <= value[0] <= value[1]:
                raise ValueError(
                    f"{field.name} must be two whole numbers with 1 <= low <= high, got {value!r}; give (low, high)"
                )
        needed = 2 * self.shift_range[1] + 1
        if self.num_slots[0] < needed:
            raise ValueError(
                f"num_slots must satisfy 2*shift_range+1 <= low <= high, got {self.num_slots} with shift_range up to "
                f"{self.shift_range[1]}; raise the lower bound to {needed}"
            )
        unknown = [kind for kind in self.addressing if kind not in ADDRESSING]
        if unknown or not self.addressing or len(set(self.addressing)) != len(self.addressing):
            raise ValueError(f"addressing must list one or both of {ADDRESSING}, got {self.addressing!r}")

    def axis_sizes(self, input_size: int, output_size: int) -> dict[str, int]:
        """Padded size of every axis that a cell's parameter table names."""
        location = 2 + 2 * self.shift_range[1] + 1 if CONTENT_AND_LOCATION in self.addressing else 0
        return {
            "input": input_size,
            "output": output_size,
            "gate": 4,
            "unit": self.controller_size[1],
            "slot": self.num_slots[1],
            "width": self.slot_width[1],
            "read": self.num_read_heads[1],
            "write": self.num_write_heads[1],
            "head": self.num_read_heads[1] + self.num_write_heads[1],
            "location": location,
        }
