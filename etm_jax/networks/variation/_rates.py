"""How often and how far variation changes an offspring."""

from flax import struct

from etm_jax._typing import pytree


@pytree
class VariationRates:
    """Rates of mutation, and how two networks cross; plain numbers, or traced ones.

    Attributes:
        gene_rate: probability that a gene mutates.
        local_share: probability that a mutated gene takes a small step; otherwise it is redrawn from its range. The
            controller size always takes a Gaussian step.
        controller_sigma: standard deviation of that step, in units.
        noise_rate: probability that an offspring's weights get noise.
        noise_scale: standard deviation of the noise, as a share of the root mean square of each weight array, or of 0.1
            if that is more.
        learning_sigma: standard deviation of a step of the logarithms of the learning genes, at every birth.
        diversity_floor: when the diversity of architectures falls below this, genes mutate more often, up to five
            times at no diversity at all.
        align: True = hidden units of two parents are matched by their weights before these mix; see `align_units`.
    """

    gene_rate: float = 0.15
    local_share: float = 0.5
    controller_sigma: float = 16.0
    noise_rate: float = 0.3
    noise_scale: float = 0.02
    learning_sigma: float = 0.1
    diversity_floor: float = 0.1
    align: bool = struct.field(pytree_node=False, default=False)
