"""The search space: how small and how large each part of a network may be, and what follows from that."""

import functools
import itertools
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key, Mask
from etm_jax.cells import CONTROLLERS, MEMORIES, Active, CellSpec, MemoryNetwork, Sizes
from etm_jax.cells._cost import step_cost
from etm_jax.cells._registry import sharing
from etm_jax.cells._spec import NO_MEMORY
from etm_jax.cells._unroll import HowToUnroll
from etm_jax.cells._weights import active_by_axis, axis_sizes
from etm_jax.networks.genome._genes import (
    ADDRESSING,
    CHOICES,
    CONTENT_AND_LOCATION,
    RANGES,
    Architecture,
    Genome,
    multiply_adds,
)

GATED = sharing("gate")  # memories whose heads choose between content and location, if the addressing gene allows it
MOVING = tuple(kind for kind in sharing("location") if kind not in GATED)  # memories whose heads always move


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
        controllers: the kinds of controllers that may occur, of `etm_jax.cells.CONTROLLERS`.
        memories: the kinds of memories that may occur, of `etm_jax.cells.MEMORIES`.

    Raises:
        ValueError: a range is not `1 <= low <= high`, the memory is too short for the shifts, or a kind is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.networks import Bounds
        >>> space = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> genome = space.init(jax.random.key(0), 3, 2)
        >>> space.apply(genome, jnp.ones((7, 3))).shape
        (7, 2)
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
    def spec(self) -> CellSpec:
        """What is static about the networks of these bounds."""
        return CellSpec(
            controllers=self.controllers,
            memories=self.memories,
            ponder_steps=self.ponder_steps[1],
            attention_width=self.attention_width,
            sparse_links=self.sparse_links,
        )

    @property
    def gated(self) -> bool:
        """Whether some network's heads choose between content and location."""
        return self.spec.has(GATED) and CONTENT_AND_LOCATION in self.addressing

    @property
    def located(self) -> bool:
        """Whether some network's heads can move from where they are."""
        return self.gated or self.spec.has(MOVING)

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The numeric genes with their inclusive ranges."""
        return {name: getattr(self, name) for name in RANGES}

    @property
    def choices(self) -> dict[str, tuple[int, ...]]:
        """The genes that choose a kind, each with the indices of the kinds that may occur."""
        return {
            gene: tuple(kinds.index(kind) for kind in getattr(self, name)) for gene, (name, kinds) in CHOICES.items()
        }

    def axis_sizes(self, input_size: int, output_size: int) -> dict[str, int]:
        """Padded size of every axis that the cells' parameter table names."""
        return axis_sizes(
            self.spec,
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

    def active_axes(self, architecture: Architecture) -> Active:
        """Which entries of each padded axis exist in a network of this architecture."""
        spec, sizes = self.spec, self.axis_sizes(1, 1)
        memory = jnp.arange(len(MEMORIES)) == architecture.memory
        moves, has_gate, remembers = _one_of(memory, MOVING), _one_of(memory, GATED), ~_one_of(memory, (NO_MEMORY,))
        gating = has_gate & (architecture.addressing == ADDRESSING.index(CONTENT_AND_LOCATION))
        moves = gating | moves
        location = jnp.zeros((0,), bool)
        if self.located:
            widest = self.shift_range[1]
            reachable = jnp.abs(jnp.arange(-widest, widest + 1)) <= architecture.shift_range
            location = jnp.concatenate([jnp.ones(1, bool), reachable]) & moves
        return Active(
            unit=_first(architecture.controller_size, sizes["unit"]),
            slot=_first(architecture.num_slots, sizes["slot"]) & remembers,
            width=_first(architecture.slot_width, sizes["width"]) & remembers,
            read=_first(architecture.num_read_heads, sizes["read"]) & remembers,
            write=_first(architecture.num_write_heads, sizes["write"]) & remembers,
            location=location,
            gating=gating[None][: sizes["gating"]],
            controller=jnp.arange(len(CONTROLLERS)) == architecture.controller,
            memory=memory,
            ponder=_first(architecture.ponder_steps, spec.ponder_steps),
            window=_first(architecture.window_size, sizes["window"]),
            layer=_first(architecture.num_layers, sizes["layer"]),
            attention_head=_first(architecture.attention_heads, sizes["attention_head"]),
            spec=spec,
        )

    def kept(self, architecture: Architecture, input_size: int, output_size: int) -> dict[str, np.ndarray]:
        """The positions of each padded axis that exist in a network of this architecture."""
        masks = _exist(self, architecture, input_size, output_size)
        return {axis: np.flatnonzero(mask) for axis, mask in masks.items()}

    # The functions of these names. They know `Bounds`, so it imports them when called.

    def init(self, key: Key, input_size: int, output_size: int) -> Genome:
        """`random_genome`: genes drawn uniformly, weights by the fan-in of those genes. The key is consumed."""
        from etm_jax.networks.genome._genome import random_genome

        return random_genome(key, self, input_size, output_size)

    def apply(
        self, genome: Genome, inputs: Float[Array, "*batch time input"], **how: Unpack[HowToUnroll]
    ) -> Float[Array, "*batch time output"]:
        """`apply`: the logits of one network over a sequence, or over a batch of them."""
        from etm_jax.networks.genome._genome import apply

        return apply(genome, inputs, self, **how)

    def mask(self, genome: Genome) -> Mask:
        """`mask_of`: pytree of bool like `genome.params`; True = the weight exists."""
        from etm_jax.networks.genome._genome import mask_of

        return mask_of(genome, self)

    def compact(self, genome: Genome) -> MemoryNetwork:
        """`compact`: the network of a genome at exact sizes, with the same outputs."""
        from etm_jax.networks.genome._compact import compact

        return compact(genome, self)

    def pad(self, module: MemoryNetwork) -> Genome:
        """`pad`: the genome of a network, at the padded shape of the space."""
        from etm_jax.networks.genome._compact import pad

        return pad(module, self)

    # Architectures of the space

    def random_architecture(self, key: Key, *, small: bool = False) -> Architecture:
        """Draw every gene uniformly from its range or, if `small`, kinds alone: sizes are the least. The key is
        consumed."""
        position = jax.random.uniform(key, (len(RANGES) + len(CHOICES),))
        return self.architecture_at(position.at[: len(RANGES)].set(0) if small else position)

    def dealt_kinds(self, key: Key, count: int) -> dict[str, Int[Array, " individual"]]:
        """Genes that choose kinds, for so many individuals, by systematic sampling of all combinations.

        Each combination occurs as often as any other, or once more, and so nearly does each kind; few independent draws
        may lack one altogether. The order is random. The key is consumed.
        """
        key_start, key_order = jax.random.split(key)
        names = tuple(reversed(self.choices))  # memories first, whose shares are then the evenest: they differ most
        combinations = jnp.asarray(list(itertools.product(*(self.choices[name] for name in names))), jnp.int32)
        places = (
            jax.random.permutation(key_order, jnp.arange(count).astype(float)) + jax.random.uniform(key_start)
        ) / count
        dealt = jnp.minimum(jnp.floor(places * len(combinations)).astype(jnp.int32), len(combinations) - 1)
        return dict(zip(names, combinations[dealt].T, strict=True))

    def architecture_at(self, position: Float[Array, " gene"]) -> Architecture:
        """The architecture at a position in the unit cube, one coordinate in [0, 1) a gene in the order of `GENES`."""
        genes = {}
        for index, (name, (low, high)) in enumerate(self.ranges.items()):
            genes[name] = low + jnp.floor(position[index] * (high - low + 1)).astype(jnp.int32)
        for index, (name, kinds) in enumerate(self.choices.items(), len(RANGES)):
            allowed = jnp.asarray(kinds, jnp.int32)
            genes[name] = allowed[jnp.floor(position[index] * allowed.size).astype(jnp.int32)]
        return Architecture(**genes)

    def to_unit_cube(self, architecture: Architecture) -> Float[Array, " gene"]:
        """The genes of one architecture as a point of the unit cube, for optimisers of real numbers.

        A gene that is the i-th of its k values lies at `(i + 1/2) / k`, the middle of the interval that
        `from_unit_cube` maps to it, so that decoding an encoded architecture gives it back.

        Args:
            architecture: one, which lies within the bounds.

        Returns:
            A coordinate in (0, 1) for each gene, in the order of `GENES`.

        Example:
            >>> import jax
            >>> from etm_jax.networks import Bounds
            >>> space = Bounds(num_slots=(4, 8), controllers=("gru", "lstm"))
            >>> architecture = space.random_architecture(jax.random.key(0))
            >>> space.from_unit_cube(space.to_unit_cube(architecture)) == architecture
            True
        """
        places = [(getattr(architecture, name) - low, high - low + 1) for name, (low, high) in self.ranges.items()]
        for name, kinds in self.choices.items():
            places.append((jnp.argmax(jnp.asarray(kinds) == getattr(architecture, name)), len(kinds)))
        return jnp.stack([(place.astype(float) + 0.5) / count for place, count in places])

    def from_unit_cube(self, point: Float[Array, " gene"]) -> Architecture:
        """The architecture at a point of the unit cube: of a gene with k values the value numbered `floor(v k)`.

        Args:
            point: a coordinate in [0, 1] for each gene, in the order of `GENES`; 1 is the last value.
        """
        below_one = 1 - jnp.finfo(point.dtype).epsneg
        return self.architecture_at(jnp.minimum(point, below_one.astype(point.dtype)))

    def smallest(self) -> Architecture:
        """The cheapest architecture."""
        return self._corner(end=0)

    def largest(self) -> Architecture:
        """The costliest architecture."""
        return self._corner(end=1)

    def _corner(self, end: int) -> Architecture:
        genes = {name: jnp.asarray(interval[end]) for name, interval in self.ranges.items()}
        genes |= {name: jnp.asarray(sorted(kinds)[-end]) for name, kinds in self.choices.items()}
        return Architecture(**genes)

    def up_to(self, **highest: int) -> "Bounds":
        """The part of the space with these upper ends."""
        return replace(self, **{gene: (getattr(self, gene)[0], high) for gene, high in highest.items()})

    # What networks of the space cost, and how different the members of a population are

    def padded_multiply_adds(self, input_size: int, output_size: int) -> float:
        """Multiply-adds that one step takes at the padded sizes."""
        kinds = {name: self.spec.has((name,)) for name in (*CONTROLLERS, *MEMORIES)}
        return float(step_cost(self._sizes(1, input_size, output_size), kinds, self.gated))

    def least_multiply_adds(self, input_size: int, output_size: int) -> float:
        """Multiply-adds of a step of the cheapest architecture."""
        sizes, costs = self._sizes(0, input_size, output_size), []
        for controller, memory, addressing in itertools.product(self.controllers, self.memories, self.addressing):
            kinds = {name: name in (controller, memory) for name in (*CONTROLLERS, *MEMORIES)}
            costs.append(float(step_cost(sizes, kinds, addressing == CONTENT_AND_LOCATION)))
        return min(costs)

    def _sizes(self, end: int, input_size: int, output_size: int) -> Sizes:
        ends = {name: float(interval[end]) for name, interval in self.ranges.items()}
        return Sizes(**ends, attention_width=self.attention_width, num_inputs=input_size, num_outputs=output_size)

    def efficiency(self, architecture: Architecture, input_size: int, output_size: int) -> Float[Array, "*population"]:
        """How cheap a network is: 1 for the cheapest architecture of the bounds, 0 for the costliest.

        Falls linearly with the logarithm of `multiply_adds`; 1 where the bounds allow just one cost.
        """
        low = math.log(self.least_multiply_adds(input_size, output_size))
        high = math.log(self.padded_multiply_adds(input_size, output_size))
        cost = jnp.log(multiply_adds(architecture, input_size, output_size, self.attention_width))
        return jnp.clip((high - cost) / (high - low), 0.0, 1.0) if high > low else jnp.ones_like(cost)

    def padding_efficiency(self, population: Architecture, input_size: int, output_size: int) -> Float[Array, ""]:
        """Useful over executed multiply-adds when a population is evaluated at the padded sizes."""
        useful = multiply_adds(population, input_size, output_size, self.attention_width)
        return jnp.mean(useful) / self.padded_multiply_adds(input_size, output_size)

    def diversity(self, population: Architecture) -> Float[Array, ""]:
        """Mean distance between two members, per gene that can vary, as a share of the gene's range.

        0 when all members are alike; about 1/3 for a uniformly random population; 0 for a population of one.
        """
        columns = [(getattr(population, name) - low) / max(high - low, 1) for name, (low, high) in self.ranges.items()]
        for name, kinds in self.choices.items():
            place = jnp.searchsorted(jnp.asarray(sorted(kinds)), getattr(population, name))
            columns.append(place / max(len(kinds) - 1, 1))
        genes = jnp.stack(columns, axis=-1)
        varying = sum(high > low for low, high in self.ranges.values())
        varying += sum(len(kinds) > 1 for kinds in self.choices.values())
        distances = jnp.sum(jnp.abs(genes[:, None] - genes[None]), axis=-1)
        size = genes.shape[0]
        pairs = max(size * (size - 1), 1)
        return jnp.sum(distances) / (pairs * max(varying, 1))


def bounds_of(genes: dict[str, int | str], spec: CellSpec | None = None) -> Bounds:
    """The bounds that hold just this architecture, as `describe` gives it; `spec` has the sizes that no gene sets."""
    only: dict[str, Any] = {name: (int(genes[name]), int(genes[name])) for name in RANGES}
    only |= {name: (str(genes[gene]),) for gene, (name, _) in CHOICES.items()}
    if spec is not None:
        only |= {"attention_width": spec.attention_width, "sparse_links": spec.sparse_links}
    return Bounds(**only)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(end) is int for end in value)


def _first(count: Int[Array, ""], size: int) -> Bool[Array, " size"]:
    return jnp.arange(size) < count


def _one_of(memory: Bool[Array, " memory"], kinds: tuple[str, ...]) -> Bool[Array, ""]:
    """Whether a one-hot over `MEMORIES` is one of these kinds."""
    return functools.reduce(jnp.logical_or, [memory[list(MEMORIES).index(kind)] for kind in kinds])


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _exist(space: Bounds, architecture: Architecture, input_size: int, output_size: int) -> dict[str, Bool[Array, "_"]]:
    """Which entries of each padded axis exist. Jitted, since op by op this is some thirty compiles."""
    sizes = space.axis_sizes(input_size, output_size)
    return active_by_axis(space.active_axes(architecture), sizes["input"], sizes["output"])
