"""A model that compiles in a second: points of the plane, scored by a formula."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import etm_tasks
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import make_problem
from etm_jax.models import Evaluation, Result
from etm_jax.task import TaskSuite

SUITE = TaskSuite((etm_tasks.make("copy", bits=2, max_length=2),), (1.0,))


@dataclass(frozen=True)
class Points:
    """Performance is 1 - x; y is the cost, and the two add up to at least 1 on the front."""

    inheritance = "lamarckian"
    large_genomes = False
    rebucket_every = 0
    computed_by = ""
    xla_computes = True
    behaviours = ()
    training = (0, 0)

    def random(self, key):
        return jax.random.uniform(key, (2,))

    def offspring(self, key, first, second, mates, diversity):
        return jnp.clip(jnp.where(mates, (first + second) / 2, first) + 0.05 * jax.random.normal(key, (2,)), 0, 1)

    def diversity(self, genomes):
        return jnp.mean(jnp.std(genomes, axis=0))

    def efficiency(self, genomes):
        return jnp.zeros(genomes.shape[0])

    def costs(self, genomes):
        return {"cost": genomes[:, 1]}

    def traits(self, genomes):
        return {"x": genomes[:, 0], "y": genomes[:, 1]}

    def budgets(self, fitness, known, selected):
        return None

    def learn(self, context, key, genomes, difficulty, generation, steps):
        """A point below the quarter circle around (1, 1) is brought there: no point does better in both."""
        away = genomes - 1
        length = jnp.linalg.norm(away, axis=1, keepdims=True)
        return jnp.where(length > 1, 1 + away / length, genomes)

    def evaluate(self, context, key, genomes, champion, difficulty):
        performance = 1 - genomes[:, :1]
        finite = jnp.isfinite(performance[:, 0]) & (genomes[:, 0] < 0.99)
        return Evaluation(
            Result(performance, performance, -performance[:, 0], finite), performance[:, 0], jnp.array(0.0)
        )

    def padding_efficiency(self, context, genomes):
        return jnp.array(1.0)

    def export(self, genome):
        return genome

    def save(self, exported, folder):
        folder.mkdir(parents=True)
        (folder / "point.txt").write_text(str(exported.tolist()))

    def report(self, genome, seed):
        return {}

    def genes(self, genomes):
        return {"tenths": jnp.floor(genomes[:, 0] * 10).astype(int)}

    def learning(self, genomes):
        return {}

    def multiply_adds(self, genomes):
        return 1 + genomes[:, 1]


def toy_problem(**changes):
    """A problem of points with some settings changed."""
    settings = {"population_size": 16, "max_generations": 12, "generations_per_chunk": 4, "devices": 1}
    config = EvolutionaryTuringConfig(**{**settings, **changes})
    return make_problem(config, SUITE, model=Points())
