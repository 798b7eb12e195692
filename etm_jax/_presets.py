"""Named settings to start from, and which model reads which."""

import typing
from dataclasses import fields, is_dataclass, replace
from typing import Any

from etm_jax.automata._config import EmergentConfig
from etm_jax.config import EvolutionaryTuringConfig, Model, SelectionConfig
from etm_jax.graphs._config import GraphConfig
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.learning._config import LifetimeConfig
from etm_jax.networks.variation._rates import VariationRates
from etm_jax.task import CurriculumConfig

# Small networks that learn to copy and to recall within minutes on two CPU cores, and still differ twofold in cost.
DEFAULT = EvolutionaryTuringConfig(
    population_size=12,
    max_generations=14,
    task=("copy=0.5,bits=8,max_length=8", "recall=0.3,bits=6,item_length=2,max_items=3"),
    score_episodes=128,
    bounds=Bounds(
        num_slots=(24, 32),
        slot_width=(12, 16),
        num_read_heads=(1, 1),
        num_write_heads=(1, 2),
        controller_size=(32, 64),
        addressing=("content_and_location",),  # copy keeps an order, which content alone cannot
    ),
    # After one lifetime networks differ in cost, not yet in what they can do: selection would keep the cheapest.
    selection=SelectionConfig(warmup_generations=6),
    lifetime=LifetimeConfig(steps=350, batch_size=8),
)

# The search space and population of the original Evolutionary Turing Machine; hours on two CPU cores.
CLASSIC = EvolutionaryTuringConfig(
    population_size=50,
    max_generations=100,
    task=("copy=0.5,bits=8,max_length=10", "recall=0.3,bits=6,item_length=3,max_items=6"),
    bounds=Bounds(
        num_slots=(16, 256),
        slot_width=(8, 64),
        num_read_heads=(1, 4),
        num_write_heads=(1, 3),
        controller_size=(32, 256),
    ),
    lifetime=LifetimeConfig(steps=25),
    curriculum=CurriculumConfig(start=0.25),
)

QUICK = EvolutionaryTuringConfig(
    population_size=4,
    max_generations=4,
    task=("copy=0.5,bits=4,max_length=3", "recall=0.3,bits=4,item_length=1,max_items=2"),
    bounds=Bounds(
        num_slots=(8, 12),
        slot_width=(6, 8),
        num_read_heads=(1, 1),
        num_write_heads=(1, 1),
        controller_size=(12, 20),
    ),
    lifetime=LifetimeConfig(steps=200, batch_size=8),
)

# Automata that compute a function of numbers; minutes on a CPU core.
AUTOMATA = EvolutionaryTuringConfig(
    model="em43",
    population_size=2000,
    max_generations=300,
    task=("doubling",),
    efficiency_weight=1e-4,  # decides among equals: the programme with more blank cells
    checkpoint_every=25,
    generations_per_chunk=5,
    variation=VariationRates(crossover_rate=1.0, immigrant_rate=0.05),
    selection=SelectionConfig(method="lexicase", num_elites=20),  # keeps whoever is right about any number
    lifetime=LifetimeConfig(inheritance="darwinian"),
)

# Rings of automata that balance a pole; minutes on a CPU core.
RINGS = replace(
    AUTOMATA,
    model="em33",
    population_size=512,
    max_generations=50,
    task=("cart_pole",),
    score_episodes=5,  # with fewer the luckiest win, not the steadiest
    checkpoint_every=5,
    generations_per_chunk=1,
    selection=SelectionConfig(method="tournament", tournament_size=4, num_elites=20),
    variation=VariationRates(crossover_rate=0.5, immigrant_rate=0.0),
    emergent=EmergentConfig(rule_rate=0.02, programme_rate=0.02),
)

# Small networks with memory that act, and evolve without a gradient; minutes on a CPU core.
ACTING = EvolutionaryTuringConfig(
    population_size=128,
    max_generations=40,
    task=("car",),
    efficiency_weight=1e-4,
    score_episodes=4,
    checkpoint_every=5,
    bounds=Bounds(
        num_slots=(4, 8),
        slot_width=(4, 6),
        num_read_heads=(1, 1),
        num_write_heads=(1, 1),
        controller_size=(6, 12),
        controllers=("feedforward", "lstm"),
    ),
    variation=VariationRates(noise_rate=0.9, noise_scale=0.2, controller_sigma=2.0),
    selection=SelectionConfig(method="truncation", truncation_share=0.1, num_elites=12),
    lifetime=LifetimeConfig(inheritance="darwinian"),
)

# Graphs with a tape that remember a cue and act on it; a minute on a CPU core.
GRAPHS = replace(
    ACTING,
    model="graph",
    population_size=300,
    max_generations=60,
    task=("t_maze=1,length=10",),
    efficiency_weight=0.0,  # what does nothing yet is what later steps build on
    score_episodes=16,
    selection=SelectionConfig(
        num_elites=10, objectives=("performance", "connections"), descriptors=("connections", "nodes")
    ),
    variation=VariationRates(crossover_rate=0.5),
    graph=GraphConfig(connected=False, slots=12),
)

PRESETS = {
    "default": DEFAULT,
    "classic": CLASSIC,
    "quick": QUICK,
    "acting": ACTING,
    "em43": AUTOMATA,
    "em33": RINGS,
    "graph": GRAPHS,
}
PRESET_OF = {
    "networks": "default",
    "em43": "em43",
    "em33": "em33",
    "graph": "graph",
}  # of a model, where no preset is named

NETWORKS: tuple[Model, ...] = ("networks",)
EVERY: tuple[Model, ...] = typing.get_args(Model)
# Which models read a group of settings or a setting, where not all do; a setting's own entry counts before its group's.
READERS: dict[str, tuple[Model, ...]] = {
    "input_dim": NETWORKS,
    "output_dim": NETWORKS,
    "score_episodes": ("networks", "em33", "graph"),
    "rebucket_every": NETWORKS,
    "precision": NETWORKS,
    "seed_capacity": NETWORKS,
    "bounds": NETWORKS,
    "variation": NETWORKS,
    "variation.crossover_rate": EVERY,
    "variation.immigrant_rate": EVERY,
    "lifetime": NETWORKS,
    "lifetime.inheritance": EVERY,
    "curriculum": ("networks", "em33", "graph"),
    "emergent.programme_length": ("em43",),
    "emergent.window": ("em43",),
    "emergent.max_steps": ("em43",),
    "emergent.bins": ("em33",),
    "emergent.programme_cells": ("em33",),
    "emergent.steps": ("em33",),
    "emergent": ("em43", "em33"),
    "graph": ("graph",),
}


def check_read(settings: EvolutionaryTuringConfig, base: EvolutionaryTuringConfig) -> None:
    """Refuse settings of another model: those that the settings' own does not read, and that somebody has changed.

    Args:
        settings: to check.
        base: what they were changed from. Defaults, and what the model's own preset says, are let through, too.

    Raises:
        ValueError: there is such a setting.
    """
    model = settings.model
    unchanged = [_named(one) for one in (EvolutionaryTuringConfig(), PRESETS[PRESET_OF[model]], base)]
    for name, value in _named(settings).items():
        readers = READERS.get(name, READERS.get(name.partition(".")[0], EVERY))
        if model not in readers and all(value != before[name] for before in unchanged):
            flag = name.replace("_", "-")
            raise ValueError(
                f"--{flag} is read by --model {' and '.join(readers)}, not by {model}; leave {value!r} out"
            )


def _named(settings: EvolutionaryTuringConfig) -> dict[str, Any]:
    """Every setting by its name, with that of its group in front."""
    named = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            named |= {f"{item.name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)}
        else:
            named[item.name] = value
    return named
