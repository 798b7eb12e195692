"""A genome: genes for the size and kind of each part of a network, the weights these need, and how they are learnt."""

from dataclasses import field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._typing import Key, Params, Scalar, pytree
from etm_jax.cells import CONTROLLERS, MEMORIES, Sizes
from etm_jax.cells._cost import step_cost

CONTENT = "content"
CONTENT_AND_LOCATION = "content_and_location"
ADDRESSING = (CONTENT, CONTENT_AND_LOCATION)  # a genome holds the index
# The genes that choose a kind: the gene, the field of the bounds that lists what may occur, and all kinds.
CHOICES = {
    "addressing": ("addressing", ADDRESSING),
    "controller": ("controllers", tuple(CONTROLLERS)),
    "memory": ("memories", tuple(MEMORIES)),
}
RANGES = (
    "num_slots",
    "slot_width",
    "num_read_heads",
    "num_write_heads",
    "controller_size",
    "shift_range",
    "ponder_steps",
    "window_size",
    "num_layers",
    "attention_heads",
)
GENES = (*RANGES, *CHOICES)

LEARNING_GENES = ("learning_rate", "meta_step", "step_limit")
FACTORS = (1 / 16, 16.0)  # how far a gene may go from the settings
FOUNDERS_SIGMA = 0.2  # spread of the logarithms in the first population


@pytree
class Architecture:
    """The sizes of one network, or of a population with a leading axis on every field.

    `addressing`, `controller` and `memory` are indices into `ADDRESSING`, `CONTROLLERS` and `MEMORIES`; the other
    fields count what their names say.
    """

    num_slots: Int[Array, "*population"]
    slot_width: Int[Array, "*population"]
    num_read_heads: Int[Array, "*population"]
    num_write_heads: Int[Array, "*population"]
    controller_size: Int[Array, "*population"]
    shift_range: Int[Array, "*population"]
    ponder_steps: Int[Array, "*population"]
    window_size: Int[Array, "*population"]
    num_layers: Int[Array, "*population"]
    attention_heads: Int[Array, "*population"]
    addressing: Int[Array, "*population"]
    controller: Int[Array, "*population"]
    memory: Int[Array, "*population"]


@pytree
class Learning:
    """Factors of one network's learning, 1 = as set; a population has a leading axis on every field.

    Attributes:
        learning_rate: on the rate that a lifetime starts at.
        meta_step: on how fast the AE laws move a coefficient (AE-3); optimisers without laws ignore it.
        step_limit: on the effective step that the AE laws allow (AE-8); optimisers without laws ignore it.
    """

    learning_rate: Float[Array, "*population"]
    meta_step: Float[Array, "*population"]
    step_limit: Float[Array, "*population"]


def neutral() -> Learning:
    """Learning as the settings say."""
    return Learning(*[jnp.ones(())] * len(LEARNING_GENES))


@pytree
class Genome:
    """One individual, or a population with a leading axis on every array.

    Attributes:
        architecture: the genes.
        params: weights at the padded shape of the bounds; entries that the genes do not activate mean nothing.
        learning: how it learns; a single genome learns as the settings say unless told otherwise.
    """

    architecture: Architecture
    params: Params
    learning: Learning = field(default_factory=neutral)


def describe(architecture: Architecture) -> dict[str, int | str]:
    """One architecture as plain numbers and words, for JSON and for people."""
    genes: dict[str, int | str] = {name: int(getattr(architecture, name)) for name in RANGES}
    return genes | {name: kinds[int(getattr(architecture, name))] for name, (_, kinds) in CHOICES.items()}


def architecture_from(genes: dict[str, int | str]) -> Architecture:
    """The inverse of `describe`.

    Raises:
        ValueError: a gene is missing or unknown, or a kind is unknown.
    """
    if set(genes) != set(GENES):
        raise ValueError(f"an architecture needs exactly the genes {GENES}, got {genes}")
    for name, (_, kinds) in CHOICES.items():
        if genes[name] not in kinds:
            raise ValueError(f"{name} must be one of {kinds}, got {genes[name]!r}")
    numbers = {name: jnp.asarray(int(genes[name])) for name in RANGES}
    kinds = {name: jnp.asarray(kinds.index(str(genes[name]))) for name, (_, kinds) in CHOICES.items()}
    return Architecture(**numbers, **kinds)


def multiply_adds(
    architecture: Architecture, input_size: int, output_size: int, attention_width: int = 16
) -> Float[Array, "*population"]:
    """Multiply-adds that one step of a network needs at its real sizes.

    Of a Neural Turing Machine with an LSTM, the sum of the controller `4H(D + RW + H)`, the interface
    `H(heads(W + 1 + fields) + 2 writes W)`, addressing `heads N (W + shifts + 4) + N W`, writing `3 writes N W`,
    reading `R N W` and the output `O(H + RW)`; fields and shifts are 0 with content addressing only. Other kinds lack
    what they do not have. Times the most ponder steps, but for the output.

    Args:
        architecture: genes, of one network or of a population.
        input_size: channels in, D.
        output_size: channels out, O.
        attention_width: of a window controller's heads, as in the bounds.
    """
    numbers = {name: getattr(architecture, name).astype(float) for name in RANGES}
    sizes = Sizes(**numbers, attention_width=attention_width, num_inputs=input_size, num_outputs=output_size)
    kinds = {name: architecture.controller == index for index, name in enumerate(CONTROLLERS)}
    kinds |= {name: architecture.memory == index for index, name in enumerate(MEMORIES)}
    return step_cost(sizes, kinds, architecture.addressing == ADDRESSING.index(CONTENT_AND_LOCATION))


def random_learning(key: Key) -> Learning:
    """Log-normal factors about 1. The key is consumed."""
    return mutate_learning(key, neutral(), FOUNDERS_SIGMA)


def mutate_learning(key: Key, learning: Learning, sigma: Scalar | float) -> Learning:
    """Multiply every factor by `exp(sigma N(0, 1))`, within `FACTORS`. The key is consumed."""
    steps = sigma * jax.random.normal(key, (len(LEARNING_GENES),))
    moved = [getattr(learning, name) * jnp.exp(steps[index]) for index, name in enumerate(LEARNING_GENES)]
    return Learning(*[jnp.clip(factor, *FACTORS) for factor in moved])
