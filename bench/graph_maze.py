"""Does NEAT find a graph that remembers a cue, by a tape that it writes and reads or by its own loops?

`python -m bench.graph_maze --out FILE.json` evolves graphs in a T-maze without gradients: the controller of a tape with
one hard head, as in evolved Neural Turing Machines (Greve, Jacobsen and Risi 2016), beside recurrent graphs without a
tape and graphs without either. `--quick` checks that it works. Results: bench/README.md.
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
from etm_jax.environment import rollout
from etm_jax.graphs import NEAT, Graph, GraphPolicy, GraphTape, NEATState, minimal_graph
from etm_jax.parallel import use_compile_cache

FUNCTIONS = ("tanh",)
MEMORIES = "tape", "loops", "none"
VALIDATION = 200  # episodes


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        memories: what graphs remember by, each a row for every seed: tape, loops, none.
        first_seed: of the runs.
        seeds: how many.
        population_size: graphs.
        generations: of a run at most.
        episodes: that each graph is scored on in a generation, the same for all.
        length: steps of the corridor.
        slot_width: numbers in a slot of the tape.
        tested: fresh episodes of the test.
        threads: cores to use.
        quick: one seed, a few graphs and generations.
        out: JSON file for the figures.
    """

    memories: tuple[str, ...] = MEMORIES
    first_seed: int = 0
    seeds: int = 5
    population_size: int = 300
    generations: int = 100
    episodes: int = 16
    length: int = 10
    slot_width: int = 2
    tested: int = 1000
    threads: int = 1
    quick: bool = False
    out: Path | None = None


class Search:
    """NEAT on policies of one kind; a generation is one compiled program for each length of the tables."""

    def __init__(self, memory: str, settings: Settings) -> None:
        self.settings, self.memory = settings, memory
        self.maze = etm_tasks.make("t_maze", length=settings.length)
        tape = GraphTape(settings.length + 2, settings.slot_width) if memory == "tape" else None
        self.acts = GraphPolicy(self.maze.input_size, self.maze.output_size, FUNCTIONS, tape)
        self.strategy = NEAT(
            settings.population_size,
            self.first_graph(jax.random.key(0)),
            recurrent=memory == "loops",
            activations=FUNCTIONS,
        )
        self.rates = replace(self.strategy.default_params, add_connection_rate=0.5)
        self.compiled = jax.jit(self.generation)
        self.scored = jax.jit(self.fitness)
        self.rewards = jax.jit(self.lived, static_argnums=2)

    def first_graph(self, key: jax.Array) -> Graph:
        """Without any connection, so that evolution chooses what to look at."""
        return minimal_graph(key, self.acts.num_inputs, self.acts.num_outputs, connected=False)

    def lived(self, graph: Graph, key: jax.Array, count: int) -> jax.Array:
        """Total rewards of some episodes."""
        return rollout(self.maze, key, *self.acts.of(graph), count).total_reward

    def fitness(self, graphs: Graph, key: jax.Array) -> jax.Array:
        """Mean total rewards of all graphs in the same episodes."""

        def one(graph: Graph) -> jax.Array:
            return jnp.mean(self.lived(graph, key, self.settings.episodes))

        return jax.lax.map(one, graphs, batch_size=20)  # few at a time, which stay in the cache

    def start(self, key: jax.Array, seed: int) -> tuple[NEATState, Graph]:
        """The first generation, of random graphs, and its best graph."""
        keys = jax.random.split(jax.random.key(seed), self.settings.population_size)
        graphs = jax.vmap(self.first_graph)(keys)
        _, key_live, key_init = jax.random.split(key, 3)
        state = self.strategy.init(key_init, graphs, -self.scored(graphs, key_live), self.rates)
        return state, state.best_solution

    def generation(self, state: NEATState, key: jax.Array) -> tuple[NEATState, Graph]:
        """The next state, and the best graph of the generation."""
        key_ask, key_live, key_tell = jax.random.split(key, 3)
        graphs, state = self.strategy.ask(key_ask, state, self.rates)
        state, metrics = self.strategy.tell(key_tell, graphs, -self.fitness(graphs, key_live), state, self.rates)
        return state, metrics["best_solution_in_generation"]

    def solve(self, seed: int) -> dict[str, Any]:
        """The first best graph of a generation that solves all episodes of the validation, or the last; tested."""
        maze, start = self.maze, time.process_time()
        key_validation, key_test = (jax.random.fold_in(jax.random.key(seed), 2**31 - number) for number in (1, 2))
        for generation in range(1, self.settings.generations + 1):
            key = jax.random.fold_in(jax.random.key(seed), generation)
            if generation == 1:
                state, best = self.start(key, seed)
            else:
                state, best = self.compiled(self.strategy.roomy(state), key)
            if maze.accuracy(self.rewards(best, key_validation, VALIDATION)) == 1:
                break
        cpu_s = time.process_time() - start
        return {
            "memory": self.memory,
            "seed": seed,
            "generations": generation,
            "cpu_s": cpu_s,
            "nodes": int(best.num_nodes),
            "connections": int(best.num_connections),
            "solved": float(maze.accuracy(self.rewards(best, key_test, self.settings.tested))),
        }


def main(settings: Settings) -> None:
    """Evolve, test, print, save."""
    pin(settings.threads)
    use_compile_cache("auto")
    if settings.quick:
        settings = replace(settings, memories=MEMORIES[:1], seeds=1, population_size=20, generations=3, tested=20)
    where, runs = context(), []
    for memory in settings.memories:
        search = Search(memory, settings)
        for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
            runs.append(search.solve(seed))
            print(runs[-1], flush=True)
            save(settings, context=where, runs=runs)
    rows = [tuple(value if isinstance(value, str) else f"{value:.4g}" for value in run.values()) for run in runs]
    print(markdown(tuple(runs[0]), rows))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
