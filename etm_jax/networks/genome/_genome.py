"""What a genome computes: its weights under the masks of its genes, over sequences or step by step."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Unpack

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from etm_jax._typing import Key, Mask, Params
from etm_jax.cells import Active, Carry, Unrolled, cell_unroll
from etm_jax.cells._cell import cell_step, drive_of, join_weights, read_out
from etm_jax.cells._registry import initial_carry
from etm_jax.cells._unroll import HowToUnroll
from etm_jax.cells._weights import axes_of, initial_params, keep_active, weight_mask
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Architecture, Genome, random_learning
from etm_jax.networks.native import LiveWeights, as_served, live_unroll, native_unroll, where_served, why_not


def random_genome(
    key: Key,
    bounds: Bounds,
    input_size: int,
    output_size: int,
    architecture: Architecture | None = None,
    *,
    small: bool = False,
) -> Genome:
    """Draw genes uniformly from the bounds, and weights by the fan-in of those genes.

    Args:
        key: consumed.
        bounds: the search space.
        input_size: channels in.
        output_size: channels out.
        architecture: genes to take in place of random ones.
        small: draw kinds only, and let every size be the least.

    Returns:
        One genome; `vmap` over keys for a population.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> import jax
        >>> from etm_jax.networks import Bounds, random_genome
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> draw = jax.jit(jax.vmap(lambda key: random_genome(key, bounds, 3, 2)))
        >>> population = draw(jax.random.split(jax.random.key(0), 5))
        >>> population.architecture.num_slots.shape
        (5,)
    """
    if input_size < 1 or output_size < 1:
        raise ValueError(f"input_size and output_size must be at least 1, got {input_size} and {output_size}")
    key_genes, key_weights, key_learning = jax.random.split(key, 3)
    if architecture is None:
        architecture = bounds.random_architecture(key_genes, small=small)
    sizes, active = bounds.axis_sizes(input_size, output_size), bounds.active_axes(architecture)
    params = initial_params(key_weights, active, sizes["input"], output_size, jnp.result_type(float))
    return Genome(architecture=architecture, params=params, learning=random_learning(key_learning))


def random_genomes(
    key: Key, count: int, bounds: Bounds, input_size: int, output_size: int, *, small: bool = False
) -> Genome:
    """A population of random genomes that has every kind in an equal share; see `Bounds.dealt_kinds`.

    Where the bounds allow one kind of each sort they are those of `random_genome` with the keys that `key` splits into.

    Args:
        key: consumed.
        count: of individuals.
        bounds: the search space.
        input_size: channels in.
        output_size: channels out.
        small: as in `random_genome`.
    """
    keys = jax.random.split(key, count + 1)

    def draw(key: Key, kinds: dict[str, Int[Array, ""]]) -> Genome:
        genes = bounds.random_architecture(jax.random.split(key, 3)[0], small=small)
        return random_genome(key, bounds, input_size, output_size, replace(genes, **kinds))

    return jax.vmap(draw)(keys[:count], bounds.dealt_kinds(keys[count], count))


def mask_of(genome: Genome, bounds: Bounds) -> Mask:
    """Pytree of bool like `genome.params`; True = the weight exists."""
    active = bounds.active_axes(genome.architecture)
    return weight_mask(active, axes_of(genome.params, active))


def apply(
    genome: Genome,
    inputs: Float[Array, "*batch time input"],
    bounds: Bounds,
    *,
    native: bool = False,
    **how: Unpack[HowToUnroll],
) -> Float[Array, "*batch time output"]:
    """Run one network over one sequence, or over each of a batch, from its initial state.

    Args:
        genome: one individual; `vmap` over genomes.
        inputs: one row a step; a batch axis in front costs less in the gradient than `vmap` over inputs.
        bounds: the search space the genome belongs to.
        native: run it by the native kernel where that serves the space (`etm_jax.networks.native.why_not`), else by
            XLA. Runs and trainings use it on CPUs unless told otherwise; here it must be asked for, since it has
            gradients but neither forward-mode nor second derivatives, and its `vmap` is a loop. Where it knows some
            of the space's kinds only, gradients must not be under a `vmap` over genomes; `lax.map` is as fast.
        **how: `rematerialise`, `micro_batch` and `dtype` of `etm_jax.cells.cell_unroll`; the kernel reads only the
            first.

    Returns:
        Logits, one row a step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.networks import Bounds, apply, random_genome
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> genome = random_genome(jax.random.key(0), bounds, 3, 2)
        >>> jax.jit(lambda genome, inputs: apply(genome, inputs, bounds))(genome, jnp.ones((7, 3))).shape
        (7, 2)
    """
    return unroll(genome, inputs, bounds, native=native, **how).outputs


def unroll(
    genome: Genome,
    inputs: Float[Array, "*batch time input"],
    bounds: Bounds,
    *,
    native: bool = False,
    **how: Unpack[HowToUnroll],
) -> Unrolled:
    """`apply`, with the weightings of every head and the price of pondering at every step."""
    rematerialise = how.get("rematerialise", False)
    if isinstance(genome.params, LiveWeights):
        return live_unroll(genome.architecture, genome.params, inputs, rematerialise=rematerialise)
    bias = genome.params["output"]["bias"]

    def by_kernel() -> Unrolled:
        sizes = bounds.axis_sizes(inputs.shape[-1], bias.shape[-1])
        architecture = as_served(genome.architecture, bounds.spec)
        return native_unroll(architecture, genome.params, inputs, bounds.spec, sizes, rematerialise=rematerialise)

    def by_xla() -> Unrolled:
        params, active = existing_weights(genome, bounds.active_axes(genome.architecture))
        return cell_unroll(params, active, inputs, **how)

    if not native or why_not(bounds.spec, bias.dtype, how.get("dtype")):
        return by_xla()
    return where_served(genome.architecture, bounds.spec, by_kernel, by_xla)


def existing_weights(genome: Genome, active: Active) -> tuple[Params, Active]:
    """What the cells take: the weights that exist, 0 elsewhere, and the masks that say which these are."""
    return keep_active(genome.params, weight_mask(active, axes_of(genome.params, active))), active


def stepper(
    genome: Genome, bounds: Bounds, dtype: DTypeLike | None = None
) -> tuple[Carry, Callable[[Carry, Array], tuple[Carry, Array]]]:
    """One network as its initial state and a step, for inputs that depend on what it did before.

    Args:
        genome: one individual.
        bounds: the search space the genome belongs to.
        dtype: precision of the factors of matrix products; None for the weights' own.

    Returns:
        The carry before the first step, and `step(carry, inputs) -> (carry, logits)`. Steps along a sequence give the
        logits of `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.networks import Bounds, random_genome, stepper
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> carry, step = stepper(random_genome(jax.random.key(0), bounds, 3, 2), bounds)
        >>> carry, logits = step(carry, jnp.ones(3))
        >>> logits.shape
        (2,)
    """
    params, active = existing_weights(genome, bounds.active_axes(genome.architecture))
    weights = join_weights(params, active, dtype)

    def step(carry: Carry, inputs: Float[Array, " input"]) -> tuple[Carry, Float[Array, " output"]]:
        carry, left = cell_step(weights, active, carry, drive_of(params, active, inputs))
        return carry, read_out(params, left.hidden, left.reads)

    return initial_carry(active, params["output"]["bias"].dtype), step


@functools.partial(jax.jit, static_argnums=1)
def num_parameters(genome: Genome, bounds: Bounds) -> Int[Array, ""]:
    """How many weights of a genome exist. Jitted, since op by op this is some eighty compiles."""
    return jnp.sum(jnp.stack([jnp.sum(mask) for mask in jax.tree.leaves(mask_of(genome, bounds))]))
