"""What a run evolves, on what, and where: everything about it that is static."""

from dataclasses import dataclass, field

import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from etm_jax.config import EvolutionaryTuringConfig, SelectionConfig
from etm_jax.environment import Suite
from etm_jax.evolution._devices import default_lanes, device_mesh
from etm_jax.evolution._lifetime import MakeOptimiser, make_optimiser
from etm_jax.evolution._suites import learnable
from etm_jax.genomes import Bounds
from etm_jax.selection import SELECTORS, Selector


@dataclass(frozen=True)
class Problem:
    """What a run evolves and on what; static, so one compiled generation belongs to one problem.

    Attributes:
        config: every setting.
        suite: the tasks, or the environments.
        selector: who survives and who becomes a parent.
        make_optimiser: from an individual's learning genes to an optax chain; it starts anew in every lifetime.
        mesh: the devices that the population is spread over.
        tiers: the padded shapes that networks compute in, cheapest first; the last one holds everybody.
    """

    config: EvolutionaryTuringConfig
    suite: Suite
    selector: Selector
    make_optimiser: MakeOptimiser
    mesh: Mesh = field(repr=False)
    tiers: tuple[Bounds, ...]

    @property
    def lanes(self) -> int:
        """Individuals that one vmap holds on a device."""
        return self.config.lanes or default_lanes()

    @property
    def birth_lanes(self) -> int:
        """Children that are borne at once; over several devices all, since parents cross devices together."""
        return self.lanes if self.mesh.size == 1 else 0

    @property
    def dtype(self) -> DTypeLike | None:
        """Precision of the factors of matrix products; None for the weights' own."""
        return jnp.bfloat16 if self.config.precision == "bfloat16" else None


def make_problem(
    config: EvolutionaryTuringConfig,
    suite: Suite,
    *,
    selector: Selector | None = None,
    optimiser: optax.GradientTransformation | None = None,
) -> Problem:
    """A problem from its settings; a selector or an optax chain given here replaces the settings' own.

    Raises:
        ValueError: individuals are to learn by gradients in environments, which have none.
    """
    if config.lifetime.inheritance != "darwinian":
        learnable(suite)
    return Problem(
        config=config,
        suite=suite,
        selector=selector or make_selector(config.selection),
        make_optimiser=(lambda learning: optimiser) if optimiser else make_optimiser(config.lifetime),
        mesh=device_mesh(config.population_size, config.devices, config.islands.count),
        tiers=(config.bounds,),
    )


def make_selector(settings: SelectionConfig) -> Selector:
    """The selector that the settings name."""
    own = {"tournament": {"size": settings.tournament_size}, "truncation": {"share": settings.truncation_share}}
    return SELECTORS[settings.method](num_elites=settings.num_elites, **own[settings.method])
