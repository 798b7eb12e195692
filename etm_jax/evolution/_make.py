"""From settings to a problem."""

import optax

from etm_jax.config import EvolutionaryTuringConfig, SelectionConfig
from etm_jax.environment import Suite
from etm_jax.evolution._devices import device_mesh
from etm_jax.evolution._lifetime import make_optimiser
from etm_jax.evolution._networks import Networks
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._suites import learnable
from etm_jax.selection import SELECTORS, Selector


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
        family=Networks(config.bounds, suite.input_size, suite.output_size),
        selector=selector or make_selector(config.selection),
        make_optimiser=(lambda learning: optimiser) if optimiser else make_optimiser(config.lifetime),
        mesh=device_mesh(config.population_size, config.devices, config.islands.count),
        tiers=(config.bounds,),
    )


def make_selector(settings: SelectionConfig) -> Selector:
    """The selector that the settings name."""
    own = {"tournament": {"size": settings.tournament_size}, "truncation": {"share": settings.truncation_share}}
    return SELECTORS[settings.method](num_elites=settings.num_elites, **own[settings.method])
