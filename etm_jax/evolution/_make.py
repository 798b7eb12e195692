"""From settings to a problem."""

import optax

from etm_jax.automata._number_automata import number_automata
from etm_jax.automata._ring_automata import ring_automata
from etm_jax.config import EvolutionaryTuringConfig, SelectionConfig
from etm_jax.environment import AnySuite
from etm_jax.evolution._measure import check_measures
from etm_jax.evolution._problem import Problem
from etm_jax.graphs._model import graphs
from etm_jax.networks._model import Networks
from etm_jax.networks._seeded import seeded_networks
from etm_jax.networks.learning._optimisers import make_optimiser
from etm_jax.networks.learning._score import for_networks, learnable
from etm_jax.parallel._devices import device_mesh
from etm_jax.selection import ARCHIVES, SELECTORS, Archive, Selector


def make_problem(
    config: EvolutionaryTuringConfig,
    suite: AnySuite,
    *,
    family: Family | None = None,
    selector: Selector | None = None,
    optimiser: optax.GradientTransformation | None = None,
) -> Problem:
    """A problem from its settings; a family, a selector or an optax chain given here replaces the settings' own.

    Raises:
        ValueError: the model does not evolve on such a suite; individuals are to learn by gradients where there are
            none; or an objective or a descriptor is unknown.
    """
    problem = Problem(
        config=config,
        suite=suite,
        family=family or make_family(config, suite),
        selector=selector or make_selector(config.selection),
        archive=make_archive(config),
        make_optimiser=(lambda learning: optimiser) if optimiser else make_optimiser(config.lifetime),
        mesh=device_mesh(config.population_size, config.devices, config.islands.count),
        buckets=(config.bounds,),
        flat=optimiser is None,  # somebody's own chain may look at shapes
    )
    check_measures(problem)
    return problem


def make_family(config: EvolutionaryTuringConfig, suite: AnySuite) -> Family:
    """The kind of genomes that the settings name, for a suite.

    Raises:
        ValueError: as `make_problem`.
    """
    inheritance = config.lifetime.inheritance
    if config.model == "networks":
        played = for_networks(suite)
        if inheritance != "darwinian":
            learnable(played)
        networks = Networks(config.bounds, played.input_size, played.output_size)
        return networks if config.population_storage == "genomes" else seeded_networks(config, networks)
    if config.population_storage != "genomes":
        storage = config.population_storage
        raise ValueError(f"the model {config.model} has no seeds, so population_storage must be genomes, got {storage}")
    if inheritance != "darwinian":
        raise ValueError(
            f"the model {config.model} learns nothing, so lifetime.inheritance must be darwinian, got {inheritance}"
        )
    if config.size_buckets > 1:
        raise ValueError(
            f"the model {config.model} computes in one shape, so buckets must be 1, got {config.size_buckets}"
        )
    if config.model == "graph":
        return graphs(config.graph, suite)
    return (number_automata if config.model == "em43" else ring_automata)(config.emergent, suite)


def make_selector(settings: SelectionConfig) -> Selector:
    """The selector that the settings name."""
    own = {
        "tournament": {"size": settings.tournament_size},
        "truncation": {"share": settings.truncation_share},
        "lexicase": {"size": settings.lexicase_size},
        "uniform": {},
        "species": {"radius": settings.species_radius},
        "aging": {"size": settings.tournament_size, "turnover": settings.turnover},
        "nsga2": {"turnover": settings.turnover},
        "niches": {"alpha": settings.niches_alpha, "turnover": settings.turnover},
    }
    elites = {} if "turnover" in own[settings.method] else {"num_elites": settings.num_elites}
    return SELECTORS[settings.method](**elites, **own[settings.method])


def make_archive(config: EvolutionaryTuringConfig) -> Archive | None:
    """The archive that the settings name, or that their selection asks for."""
    settings, kind = config.archive, config.archive.kind
    if kind == "auto":
        kind = "front" if config.selection.method == "nsga2" else "none"
    own = {
        "front": {"size": settings.size},
        "map-elites": {"num_descriptors": len(config.selection.descriptors), "bins": settings.bins},
        "novelty": {
            "size": settings.size,
            "neighbours": settings.neighbours,
            "admitted": settings.admitted,
            "weight": settings.novelty_weight,
        },
    }
    return None if kind == "none" else ARCHIVES[kind](**own[kind])
