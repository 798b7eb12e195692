"""Named settings to start from."""

from etm_jax.config import CurriculumConfig, EvolutionaryTuringConfig, LifetimeConfig
from etm_jax.genomes import Bounds

DEFAULT = EvolutionaryTuringConfig()

CLASSIC = EvolutionaryTuringConfig(
    population_size=50,
    max_generations=100,
    task=("copy=0.5,max_length=10", "recall=0.3,bits=6,max_items=6"),
    bounds=Bounds(
        num_slots=(16, 256),
        slot_width=(8, 64),
        num_read_heads=(1, 4),
        num_write_heads=(1, 3),
        controller_size=(32, 256),
    ),
    lifetime=LifetimeConfig(steps=50, rematerialise=True),
    curriculum=CurriculumConfig(start=0.25),
)

QUICK = EvolutionaryTuringConfig(
    population_size=4,
    max_generations=4,
    task=("copy=0.5,max_length=3,bits=4", "recall=0.3,bits=4,item_length=1,max_items=2"),
    bounds=Bounds(
        num_slots=(8, 12),
        slot_width=(6, 8),
        num_read_heads=(1, 1),
        num_write_heads=(1, 1),
        controller_size=(12, 20),
    ),
    lifetime=LifetimeConfig(steps=60, batch_size=8),
    score_episodes=32,
)

PRESETS = {"default": DEFAULT, "classic": CLASSIC, "quick": QUICK}
