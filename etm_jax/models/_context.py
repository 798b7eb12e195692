"""What an evaluation needs to know of the run, beside the model and its suite."""

from dataclasses import dataclass, field

from jax.sharding import Mesh


@dataclass(frozen=True)
class Context:
    """How a run, or one of its islands, evaluates.

    Attributes:
        population_size: individuals.
        score_episodes: fresh episodes of each task that an individual is scored on.
        max_generations: of the whole run; schedules end there.
        batch_size: individuals in one vmap on a device; 0 for what suits the model.
        behaves: whether results say what individuals did.
        longer: multiples of the tasks' greatest lengths at which performance counts in the fitness, ascending.
        longer_episodes: fresh episodes of each task at each of these, `score_episodes` at twice the length.
        by_episode: whether each scoring episode is a case, not each task.
        mesh: the devices that the population is spread over.
    """

    population_size: int
    score_episodes: int
    max_generations: int
    batch_size: int
    behaves: bool
    longer: tuple[int, ...]
    longer_episodes: int
    by_episode: bool
    mesh: Mesh = field(repr=False)
