"""Named settings to start from.

Example:
    >>> import dataclasses
    >>> from etm_jax.presets import PRESETS
    >>> dataclasses.replace(PRESETS["quick"], seed=3).population_size
    4
"""

from dataclasses import replace

from etm_jax.automata._config import AutomataVariation, EM33Config, EM43Config
from etm_jax.config import EvolutionaryTuringConfig, FitnessConfig, SelectionConfig
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._variation import GraphRates
from etm_jax.models._registry import MODELS
from etm_jax.networks._config import NetworksConfig
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.learning._config import LifetimeConfig
from etm_jax.networks.variation._mutation import VariationRates
from etm_jax.selection import LexicaseSelection, SpeciesSelection, TournamentSelection, TruncationSelection
from etm_jax.task import CurriculumConfig

# --8<-- [start:presets]
# Kinds of memory and controller compete, in networks of very different size; a minute or two on two CPU cores. They
# learn from short sequences and are selected by long ones, too.
DEFAULT = EvolutionaryTuringConfig(
    population_size=10,
    max_generations=52,
    task=("copy=0.5,bits=8,max_length=8", "recall=0.3,bits=6,item_length=2,max_items=3"),
    efficiency_weight=0.01,  # decides among equals: with more, growth does not pay before it has been learned with
    score_episodes=128,
    # Half the weight is the trained length's: where a task is still being learned, nothing shows at longer ones.
    fitness=FitnessConfig(longer=("2=0.25", "5=0.25", "10=0.5"), longer_episodes=64),
    model=NetworksConfig(
        # There is room for ten times the length from the start. Else who first has more slots wins, whatever it can.
        bounds=Bounds(
            num_slots=(84, 128),
            slot_width=(12, 32),
            num_read_heads=(1, 2),
            num_write_heads=(1, 2),
            controller_size=(32, 64),
            addressing=("content_and_location",),  # copy keeps an order, which content alone cannot
            controllers=("feedforward", "rnn", "gru", "lstm"),
            memories=("ntm", "tape", "none"),
        ),
        # Small founders cost little, and cannot learn by heart what a memory is for. Mutations make them grow, but half
        # of all children keep the architecture and learn on.
        variation=VariationRates(founders="small", gene_rate=0.4, change_rate=0.5, controller_sigma=32.0),
        lifetime=LifetimeConfig(steps=350, resting=2, optimiser="adam", learning_rate=6e-3),
    ),
    # One network in three that can recall learns it, most within five lifetimes, so new ones are tried twice. Plateaus
    # of other tasks are longer: all learn for long, then the best of each kind survives, and all but the two fittest
    # learn on.
    selection=SelectionConfig(
        SpeciesSelection(radius=0.05, num_elites=6, size=3),
        descriptors=("memory", "controller"),
        warmup_generations=16,
        renew_every=5,
    ),
)

# One kind of network, of sizes that differ twofold in cost, so that XLA computes them quickly; they learn by the laws.
NARROW = EvolutionaryTuringConfig(
    population_size=12,
    max_generations=24,
    task=("copy=0.5,bits=8,max_length=8", "recall=0.3,bits=6,item_length=2,max_items=3"),
    score_episodes=128,
    model=NetworksConfig(
        bounds=Bounds(
            num_slots=(24, 32),
            slot_width=(12, 16),
            num_read_heads=(1, 1),
            num_write_heads=(1, 2),
            controller_size=(32, 64),
            addressing=("content_and_location",),  # copy keeps an order, which content alone cannot
        ),
        lifetime=LifetimeConfig(steps=350, batch_size=8),
    ),
    # After one lifetime networks differ in cost, not yet in what they can do: selection would keep the cheapest.
    selection=SelectionConfig(warmup_generations=6),
)

# The search space and population of the original Evolutionary Turing Machine; hours on two CPU cores.
CLASSIC = EvolutionaryTuringConfig(
    population_size=50,
    max_generations=100,
    task=("copy=0.5,bits=8,max_length=10", "recall=0.3,bits=6,item_length=3,max_items=6"),
    model=NetworksConfig(
        bounds=Bounds(
            num_slots=(16, 256),
            slot_width=(8, 64),
            num_read_heads=(1, 4),
            num_write_heads=(1, 3),
            controller_size=(32, 256),
        ),
        lifetime=LifetimeConfig(steps=25),
    ),
    curriculum=CurriculumConfig(start=0.25),
)

QUICK = EvolutionaryTuringConfig(
    population_size=4,
    max_generations=4,
    task=("copy=0.5,bits=4,max_length=3", "recall=0.3,bits=4,item_length=1,max_items=2"),
    model=NetworksConfig(
        bounds=Bounds(
            num_slots=(8, 12),
            slot_width=(6, 8),
            num_read_heads=(1, 1),
            num_write_heads=(1, 1),
            controller_size=(12, 20),
        ),
        lifetime=LifetimeConfig(steps=200, batch_size=8),
    ),
)

# Automata that compute a function of numbers; minutes on a CPU core.
AUTOMATA = EvolutionaryTuringConfig(
    model=EM43Config(),
    population_size=2000,
    max_generations=300,
    task=("doubling",),
    efficiency_weight=1e-4,  # decides among equals: the programme with more blank cells
    checkpoint_every=25,
    generations_per_chunk=5,
    crossover_rate=1.0,
    immigrant_rate=0.05,
    selection=SelectionConfig(LexicaseSelection(num_elites=20)),  # keeps members that are right about any number
)

# Rings of automata that balance a pole; minutes on a CPU core.
RINGS = replace(
    AUTOMATA,
    model=EM33Config(variation=AutomataVariation(rule_rate=0.02, programme_rate=0.02)),
    population_size=512,
    max_generations=50,
    task=("cart_pole",),
    score_episodes=5,  # with fewer the luckiest win, not the steadiest
    checkpoint_every=5,
    generations_per_chunk=1,
    selection=SelectionConfig(TournamentSelection(size=4, num_elites=20)),
    crossover_rate=0.5,
    immigrant_rate=0.0,
)

# Small networks with memory that act, and evolve without a gradient; minutes on a CPU core.
ACTING = EvolutionaryTuringConfig(
    population_size=128,
    max_generations=40,
    task=("car",),
    efficiency_weight=1e-4,
    score_episodes=4,
    checkpoint_every=5,
    model=NetworksConfig(
        bounds=Bounds(
            num_slots=(4, 8),
            slot_width=(4, 6),
            num_read_heads=(1, 1),
            num_write_heads=(1, 1),
            controller_size=(6, 12),
            controllers=("feedforward", "lstm"),
        ),
        variation=VariationRates(noise_rate=0.9, noise_scale=0.2, controller_sigma=2.0),
        lifetime=LifetimeConfig(inheritance="darwinian"),
    ),
    selection=SelectionConfig(TruncationSelection(share=0.1, num_elites=12)),
)

# Graphs with a tape that remember a cue and act on it; a minute on a CPU core.
GRAPHS = replace(
    ACTING,
    model=GraphConfig(
        connected=False,
        recurrent=True,
        activations=("tanh",),
        slots=12,
        # Tournaments have no species that protect new structure, so it comes often, and what does not help goes again.
        variation=GraphRates(
            add_connection_rate=0.5, remove_connection_rate=0.1, add_node_rate=0.1, activation_rate=0.1
        ),
    ),
    population_size=300,
    max_generations=60,
    task=("t_maze=1,length=10",),
    efficiency_weight=0.0,  # what does nothing yet is what later steps build on
    score_episodes=16,
    selection=SelectionConfig(
        TournamentSelection(num_elites=10),
        objectives=("performance", "connections"),
        descriptors=("connections", "nodes"),
    ),
    crossover_rate=0.5,
)
# --8<-- [end:presets]

PRESETS = {
    "default": DEFAULT,
    "narrow": NARROW,
    "classic": CLASSIC,
    "quick": QUICK,
    "acting": ACTING,
    "em43": AUTOMATA,
    "em33": RINGS,
    "graph": GRAPHS,
}


def preset_of(kind: str) -> EvolutionaryTuringConfig:
    """The settings that a kind of model starts from where no preset is named: its own preset, or the defaults."""
    if kind == NetworksConfig.kind:
        return DEFAULT
    return PRESETS[kind] if kind in PRESETS else EvolutionaryTuringConfig(model=MODELS[kind].Config())
