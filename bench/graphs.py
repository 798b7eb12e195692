"""Does NEAT solve XOR and parity, how fast is a generation beside neat-python's, and what do limits cost?

`python -m bench.graphs --out FILE.json`; `--quick` checks that it works. neat-python is measured where it is installed.
Results: bench/README.md.
"""

# pyright: reportMissingImports=false
# neat-python is a peer to measure against, not a dependency.

import importlib.util
import itertools
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._context import context, pin, version
from bench._measure import costs_of, markdown, prepare, save
from etm_jax.graphs import NEAT, Graph, NEATState, apply_graph, minimal_graph, resized

POPULATIONS = {2: 150, 3: 1000}  # by the bits of the parity; of two bits it is XOR
PEER_SETTINGS = """
[NEAT]
fitness_criterion = max
fitness_threshold = 9
pop_size = {population}
reset_on_extinction = True
no_fitness_termination = True
[DefaultGenome]
activation_default = sigmoid
activation_mutate_rate = 0.0
activation_options = sigmoid
aggregation_default = sum
aggregation_mutate_rate = 0.0
aggregation_options = sum
bias_init_mean = 0.0
bias_init_stdev = 1.0
bias_max_value = 30.0
bias_min_value = -30.0
bias_mutate_power = 0.5
bias_mutate_rate = 0.8
bias_replace_rate = 0.1
compatibility_disjoint_coefficient = 1.0
compatibility_weight_coefficient = 0.4
conn_add_prob = 0.2
conn_delete_prob = 0.0
enabled_default = True
enabled_mutate_rate = 0.02
feed_forward = True
initial_connection = full_direct
node_add_prob = 0.05
node_delete_prob = 0.0
num_hidden = 0
num_inputs = {inputs}
num_outputs = 1
response_init_mean = 1.0
response_init_stdev = 0.0
response_max_value = 30.0
response_min_value = -30.0
response_mutate_power = 0.0
response_mutate_rate = 0.0
response_replace_rate = 0.0
weight_init_mean = 0.0
weight_init_stdev = 1.0
weight_max_value = 30
weight_min_value = -30
weight_mutate_power = 0.5
weight_mutate_rate = 0.8
weight_replace_rate = 0.1
[DefaultSpeciesSet]
compatibility_threshold = 3.0
[DefaultStagnation]
species_fitness_func = max
max_stagnation = 15
species_elitism = 1
[DefaultReproduction]
elitism = 1
survival_threshold = 0.1
"""


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        first_seed: of the runs that are to solve something.
        seeds: how many.
        generations: at most, of such a run.
        warmup: generations of growth before one is timed, the same for both.
        rounds: timed rounds.
        limits: table lengths, in nodes, at which the same graphs are timed.
        threads: cores to use.
        quick: few generations of few graphs.
        out: JSON file for the figures.
    """

    first_seed: int = 0
    seeds: int = 10
    generations: int = 200
    warmup: int = 25
    rounds: int = 3
    limits: tuple[int, ...] = (16, 32, 64, 100)
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def parity(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """All inputs, and whether the number of ones in each is odd."""
    inputs = np.array(list(itertools.product([0.0, 1.0], repeat=bits)), np.float32)
    return inputs, inputs.sum(axis=1) % 2


class Search:
    """NEAT on the parity of some bits; a generation is one compiled program for each length of the tables."""

    def __init__(self, bits: int, population_size: int) -> None:
        self.inputs, self.targets = map(jnp.asarray, parity(bits))
        self.bits = bits
        self.strategy = NEAT(population_size, minimal_graph(jax.random.key(0), bits, 1))
        self.compiled = jax.jit(self.generation)
        self.judged = jax.jit(self.costs)

    def costs(self, graphs: Graph) -> tuple[jax.Array, jax.Array]:
        """Mean squared errors, and the fewest wrong outputs of a graph."""
        outputs = jax.vmap(lambda graph: apply_graph(graph, self.inputs, 1))(graphs)[..., 0]
        wrong = jnp.min(jnp.sum((outputs > 0.5) != (self.targets > 0.5), axis=1))
        return jnp.mean((outputs - self.targets) ** 2, axis=1), wrong

    def start(self, seed: int) -> tuple[NEATState, jax.Array]:
        """The state of the first generation, and the fewest wrong outputs of a graph."""
        keys = jax.random.split(jax.random.key(seed), self.strategy.population_size)
        graphs = jax.vmap(lambda key: minimal_graph(key, self.bits, 1))(keys)
        cost, wrong = self.judged(graphs)
        return self.strategy.init(jax.random.key(seed), graphs, cost, self.strategy.default_params), wrong

    def generation(self, state: NEATState, key: jax.Array) -> tuple[NEATState, jax.Array]:
        """The next state, and the fewest wrong outputs of a graph."""
        params = self.strategy.default_params
        graphs, state = self.strategy.ask(jax.random.fold_in(key, 0), state, params)
        cost, wrong = self.costs(graphs)
        return self.strategy.tell(jax.random.fold_in(key, 1), graphs, cost, state, params)[0], wrong

    def solve(self, seed: int, generations: int) -> dict[str, Any]:
        """One run, to its end or to no wrong output."""
        start, generation = time.process_time(), 1
        state, wrong = self.start(seed)
        while wrong > 0 and generation < generations:
            generation += 1
            state, wrong = self.compiled(
                self.strategy.roomy(state), jax.random.fold_in(jax.random.key(seed), generation)
            )
        return {
            "seed": seed,
            "solved": bool(wrong == 0),
            "generations": generation,
            "nodes": int(jnp.max(state.population.num_nodes)),
            "connections": int(jnp.max(state.population.num_connections)),
            "cpu_s": time.process_time() - start,
        }


def lengthened(state: NEATState, nodes: int) -> NEATState:
    """The state in tables of so many nodes, and four times as many connections."""

    def is_graph(part: Any) -> bool:
        return isinstance(part, Graph)

    return jax.tree.map(
        lambda part: resized(part, nodes, 4 * nodes) if is_graph(part) else part, state, is_leaf=is_graph
    )


def limits_of(search: Search, state: NEATState, settings: Settings) -> list[dict[str, Any]]:
    """A generation of the same graphs under several limits, and in tables as long as the limits."""
    rows, key = [], jax.random.key(1)
    for limit in settings.limits:
        bounded = Search.__new__(Search)
        bounded.__dict__ |= search.__dict__
        bounded.strategy = replace(search.strategy, max_nodes=limit, max_connections=4 * limit)
        live = prepare(bounded.generation, bounded.strategy.roomy(state), key)
        full = prepare(bounded.generation, lengthened(state, limit), key)
        cost, padded = costs_of([live, full], settings.rounds)
        rows.append({"limit": limit, "seconds": cost.seconds, "padded_s": padded.seconds, "compile_s": cost.compile_s})
    return rows


def peer_seconds(bits: int, population_size: int, warmup: int, timed: int) -> float:
    """CPU seconds of a generation of neat-python on the same task with like settings."""
    import neat

    inputs, targets = parity(bits)

    def judge(genomes: Any, config: Any) -> None:
        for _, genome in genomes:
            network = neat.nn.FeedForwardNetwork.create(genome, config)
            genome.fitness = -sum(
                (network.activate(row)[0] - target) ** 2 for row, target in zip(inputs, targets, strict=True)
            )

    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(PEER_SETTINGS.format(population=population_size, inputs=bits))
        file.flush()
        kinds = neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation
        population = neat.Population(neat.Config(*kinds, file.name))
    population.run(judge, warmup)
    start = time.process_time()
    population.run(judge, timed)
    return (time.process_time() - start) / timed


def main(settings: Settings) -> None:
    """Measure, and print or save what was measured."""
    pin(settings.threads)
    if settings.quick:
        settings = replace(settings, seeds=1, generations=3, warmup=2, rounds=1, limits=(16,))
    where = context() | {"neat-python": version("neat-python")}
    runs: dict[str, Any] = {}
    for bits, population_size in POPULATIONS.items():
        search = Search(bits, 40 if settings.quick else population_size)
        seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
        runs[f"{bits}-bit parity"] = found = [search.solve(seed, settings.generations) for seed in seeds]
        print(f"{bits}-bit parity: {sum(run['solved'] for run in found)} of {len(found)} solved", flush=True)
        print(markdown(tuple(found[0]), [tuple(f"{value:.4g}" for value in run.values()) for run in found]), flush=True)

    state, _ = search.start(0)
    for key in jax.random.split(jax.random.key(0), settings.warmup):
        state, _ = search.compiled(search.strategy.roomy(state), key)
    limits = limits_of(search, search.strategy.roomy(state), settings)
    print(f"\na generation of {search.strategy.population_size} graphs, CPU seconds on a CPU")
    print(markdown(tuple(limits[0]), [tuple(f"{value:.4g}" for value in row.values()) for row in limits]), flush=True)
    peer = None
    if importlib.util.find_spec("neat"):
        peer = peer_seconds(3, search.strategy.population_size, settings.warmup, 1 + settings.rounds)
        print(f"neat-python: {peer:.4g} s, {peer / limits[0]['seconds']:.1f} times as long")
    save(settings, context=where, runs=runs, limits=limits, neat_python_s=peer)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
