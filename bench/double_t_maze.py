"""Does an evolution strategy teach a network to search again when the reward has moved?

`python -m bench.double_t_maze --out FILE.json` tunes the weights of one LSTM by evosax's OpenAI-ES on total reward,
with actions drawn at a temperature and shown to it, and judges it by its preferred actions on fresh episodes. `--quick`
checks that it works. Results: bench/README.md.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._measure import markdown, save
from etm_jax.environment import WithLastAction, rollout
from etm_jax.networks import random_genome, stepper
from etm_jax.parallel import use_compile_cache
from etm_jax.training import NetworkConfig, StrategyConfig, make_strategy

LOOK_EVERY, LOOK_AT = 100, 200  # generations between looks at the mean network, episodes of a look
LOOKS_TO_SOLVE = 2  # in a row


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        first_seed: of the runs.
        seeds: how many.
        strategy: evosax's name.
        population_size: candidates of a generation.
        generations: after which a search that has not solved it starts again.
        searches: of a run at most, until one solves it.
        episodes: that each candidate is scored on in a generation, the same for all.
        sigma: standard deviation of the candidates' weights.
        learning_rate: of AdamW on the strategy's mean.
        weight_decay: of the same.
        temperature: of the actions while searching; 0: the preferred ones.
        last_action: whether the network sees what it did last.
        controller_size: units of the LSTM.
        length: steps of a corridor.
        tested: fresh episodes of the test.
        threads: cores to use.
        quick: one seed, a few candidates and generations.
        out: JSON file for the figures.
    """

    first_seed: int = 0
    seeds: int = 5
    strategy: str = "Open_ES"
    population_size: int = 256
    generations: int = 2000
    searches: int = 10
    episodes: int = 16
    sigma: float = 0.2
    learning_rate: float = 0.03
    weight_decay: float = 0.1
    temperature: float = 0.5
    last_action: bool = True
    controller_size: int = 16
    length: int = 1
    tested: int = 2000
    threads: int = 1
    quick: bool = False
    out: Path | None = None


class Search:
    """A strategy on one network that acts in the double T-maze; all seeds share its compiled programs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        maze = etm_tasks.make("double_t_maze", length=settings.length)
        self.maze = WithLastAction(maze) if settings.last_action else maze
        network = NetworkConfig(cell="none", controller="lstm", controller_size=settings.controller_size)
        self.bounds = network.bounds
        self.genome = self.first(jax.random.key(0))
        config = StrategyConfig(
            settings.strategy,
            settings.population_size,
            settings.sigma,
            settings.learning_rate,
            settings.weight_decay if settings.learning_rate else 0.0,
        )
        self.strategy = make_strategy(config, self.genome, self.bounds)
        self.compiled = jax.jit(self.generation)
        self.rewards = jax.jit(
            lambda mean, key, count: self.lived(self.strategy.placed(mean), key, count, 0.0), static_argnums=2
        )

    def first(self, key: jax.Array) -> Any:
        """The first network of a search."""
        return random_genome(key, self.bounds, self.maze.input_size, self.maze.output_size)

    def lived(self, params: Any, key: jax.Array, count: int, temperature: float) -> jax.Array:
        """Total rewards of some episodes under these weights."""
        start, step = stepper(replace(self.genome, params=params), self.bounds)
        return rollout(self.maze, key, start, step, count, temperature=temperature).total_reward

    def generation(self, state: Any, key: jax.Array) -> Any:
        """The next state."""
        key_ask, key_live, key_tell = jax.random.split(key, 3)
        params, settings = self.strategy.default_params, self.settings

        def score(weights: Any) -> jax.Array:
            return jnp.mean(self.lived(weights, key_live, settings.episodes, settings.temperature))

        candidates, state = self.strategy.ask(key_ask, state, params)
        rewards = jax.lax.map(score, candidates, batch_size=8)  # few at a time, which stay in the cache
        return self.strategy.tell(key_tell, candidates, -rewards, state, params)[0]

    def solve(self, seed: int) -> dict[str, Any]:
        """Searches until all episodes of two looks in a row are solved; the test of the last one's mean network."""
        maze, settings, start = self.maze, self.settings, time.process_time()
        key_look, key_test = (jax.random.fold_in(jax.random.key(seed), 2**31 - number) for number in (1, 2))
        for generation in range(settings.generations * settings.searches):
            key = jax.random.fold_in(jax.random.key(seed), generation)
            if generation % settings.generations == 0:
                fresh = jax.random.fold_in(key, 1)
                weights = self.first(fresh).params
                state, good = self.strategy.init(fresh, weights, self.strategy.default_params), 0
            state = self.compiled(state, key)
            if generation % LOOK_EVERY == LOOK_EVERY - 1:
                found = self.rewards(state.mean, jax.random.fold_in(key_look, generation), LOOK_AT)
                good = good + 1 if maze.accuracy(found) == 1 else 0
                if good == LOOKS_TO_SOLVE:
                    break
        cpu_s = time.process_time() - start
        found = self.rewards(state.mean, key_test, settings.tested)
        return {
            "seed": seed,
            "searches": generation // settings.generations + 1,
            "generations": generation + 1,
            "cpu_s": cpu_s,
            "performance": float(maze.performance(found)),
            "solved": float(maze.accuracy(found)),
        }


def main(settings: Settings) -> None:
    """Search, test, print, save."""
    pin(settings.threads)
    use_compile_cache("auto")
    if settings.quick:
        settings = replace(settings, seeds=1, population_size=8, generations=2, searches=2, episodes=2, tested=20)
    where, runs = context(), []
    search = Search(settings)
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        runs.append(search.solve(seed))
        print(runs[-1], flush=True)
        save(settings, context=where, weights=search.strategy.num_dims, runs=runs)
    print(markdown(tuple(runs[0]), [tuple(f"{value:.4g}" for value in run.values()) for run in runs]))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
