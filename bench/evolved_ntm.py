"""Does NEAT find a Turing machine that copies, without gradients, and does it copy what is longer and wider?

`python -m bench.evolved_ntm --out FILE.json` evolves the controller of a tape with one hard head, as in evolved Neural
Turing Machines (Greve, Jacobsen and Risi 2016), on sequences of 1 to 10 vectors of 8 bits; graphs draw the weights
(HyperNEAT). `--quick` checks that it works. Results: bench/README.md.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._measure import markdown, save
from etm_jax.graphs import (
    NEAT,
    Graph,
    GraphTape,
    NEATParams,
    NEATState,
    minimal_graph,
    substrate_weights,
    with_tape,
)
from etm_jax.parallel import use_compile_cache
from etm_jax.task import Episode

BITS, LONGEST = 8, 10
FUNCTIONS = ("tanh", "identity", "gaussian", "sine")
POINT = np.zeros((1, 1))
GREATEST = 16.0  # of a weight: a sigmoid of two or three of them is 0 or 1
VALIDATED_AT, VALIDATION = 2 * LONGEST, 200  # vectors of a sequence, sequences
CLOSE = 0.25  # answers farther off than this earn nothing (Greve, Jacobsen and Risi 2016)
RATES = NEATParams(
    perturb_rate=0.5,
    perturb_scale=0.2,
    replace_rate=0.05,
    add_connection_rate=0.8,
    add_node_rate=0.01,
    target_species=8.0,
    survival=0.2,
)


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        first_seed: of the runs.
        seeds: how many.
        population_size: graphs.
        generations: after which a search that has not solved it starts again.
        searches: of a run at most, until one solves it.
        sequences: that each graph is scored on in a generation, the same for all.
        lengths: of the test's sequences.
        widths: of the test's vectors, with the patterns asked at more places.
        episodes: sequences of each test.
        threads: cores to use.
        quick: one seed, a few graphs and generations.
        out: JSON file for the figures.
    """

    first_seed: int = 0
    seeds: int = 5
    population_size: int = 600
    generations: int = 300
    searches: int = 10
    sequences: int = 10
    lengths: tuple[int, ...] = (10, 20, 50, 100)
    widths: tuple[int, ...] = (9, 32, 128)
    episodes: int = 500
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def groups(bits: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Places of what the controller sees (bits, start, delimiter, read vector, 1) and says (answers, vector to write,
    gate, jump, three moves)."""
    line = np.linspace(-1, 1, bits)[:, None]
    return [line, POINT, POINT, line, POINT], [line, line, *[POINT] * 5]


SOURCES, TARGETS = map(len, groups(BITS))


def controller_of(graph: Graph, bits: int = BITS) -> jax.Array:
    """The controller's weights: one layer, without memory of its own."""
    return substrate_weights(graph, *groups(bits), FUNCTIONS, reach=0.7 / (bits - 1), greatest=GREATEST)


def answers_of(weights: jax.Array, inputs: jax.Array, bits: int, num_slots: int) -> jax.Array:
    """Logits of the machine's answers to one sequence `[time, bits + 2]`."""

    def controller(carry: tuple[()], seen: jax.Array) -> tuple[tuple[()], jax.Array]:
        shown, read = jnp.split(seen, [bits + 2])
        return carry, weights @ jnp.concatenate([shown, 2 * read - 1, jnp.ones(1)])

    start, step = with_tape((), controller, GraphTape(num_slots, bits))
    return jax.lax.scan(step, start, inputs)[1]


def copies(key: jax.Array, count: int, low: int, high: int, bits: int = BITS) -> Episode:
    """Sequences to copy, after a step that shows a start mark on a channel before the delimiter's."""
    episode = etm_tasks.make("copy", bits=bits, min_length=low, max_length=high).sample(key, count)
    shown = jnp.insert(episode.inputs, bits, 0.0, axis=2)
    first = jnp.zeros_like(shown[:, :1]).at[..., bits].set(1.0)
    return Episode(
        inputs=jnp.concatenate([first, shown], axis=1),
        targets=jnp.pad(episode.targets, ((0, 0), (1, 0), (0, 0))),
        step_valid=jnp.pad(episode.step_valid, ((0, 0), (1, 0))),
    )


def scores(weights: jax.Array, episode: Episode, num_slots: int) -> dict[str, jax.Array]:
    """Of each sequence how close the answers are, how near, and whether every bit is right."""
    bits = episode.targets.shape[-1]
    logits = jax.vmap(lambda inputs: answers_of(weights, inputs, bits, num_slots))(episode.inputs)
    error = jnp.abs(jax.nn.sigmoid(logits) - episode.targets)
    due = episode.step_valid[..., None]

    def mean(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(due, values, 0), axis=(1, 2)) / (bits * jnp.sum(episode.step_valid, axis=1))

    return {
        "close": mean(1 - jnp.minimum(error, CLOSE) / CLOSE),
        "near": mean(1 - error),
        "right": jnp.all((error < 0.5) | ~due, axis=(1, 2)),
    }


def first_graph(key: jax.Array) -> Graph:
    """Without any connection, so that a pattern is there only if a mutation made it."""
    return minimal_graph(key, 3, SOURCES * TARGETS, connected=False)


class Search:
    """NEAT on controllers of the tape; a generation is one compiled program for each length of the tables."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.strategy = NEAT(
            settings.population_size, first_graph(jax.random.key(0)), activations=FUNCTIONS, max_connections=200
        )
        self.compiled = jax.jit(self.generation)
        self.scored = jax.jit(self.fitness)
        self.examine = jax.jit(lambda graph, episode: scores(controller_of(graph), episode, VALIDATED_AT + 4)["right"])

    def fitness(self, graphs: Graph, key: jax.Array) -> jax.Array:
        """Of all graphs on the same sequences."""
        episode = copies(key, self.settings.sequences, 1, LONGEST)

        def one(graph: Graph) -> jax.Array:
            found = scores(controller_of(graph), episode, LONGEST + 4)
            return jnp.mean(found["close"] + found["near"]) / 2

        return jax.lax.map(one, graphs, batch_size=5)  # few at a time, which stay in the cache

    def start(self, key: jax.Array) -> tuple[NEATState, jax.Array, Graph]:
        """The first generation of a search, of random graphs, and its best fitness and graph."""
        keys = jax.random.split(jax.random.fold_in(key, 1), self.settings.population_size)
        graphs = jax.vmap(first_graph)(keys)
        _, key_sample, key_init = jax.random.split(key, 3)
        state = self.strategy.init(key_init, graphs, -self.scored(graphs, key_sample), RATES)
        return state, -state.best_fitness, state.best_solution

    def generation(self, state: NEATState, key: jax.Array) -> tuple[NEATState, jax.Array, Graph]:
        """The next state, and the best fitness and graph of the generation."""
        key_ask, key_sample, key_tell = jax.random.split(key, 3)
        graphs, state = self.strategy.ask(key_ask, state, RATES)
        found = self.fitness(graphs, key_sample)
        state, metrics = self.strategy.tell(key_tell, graphs, -found, state, RATES)
        return state, jnp.max(found), metrics["best_solution_in_generation"]

    def solve(self, seed: int) -> tuple[Graph, dict[str, Any]]:
        """The first best graph of a generation that copies all sequences of the validation; else the best of these.

        A search that is trapped is not brought on by more generations, so a run is several short ones.
        """
        start, kept, most = time.process_time(), first_graph(jax.random.key(seed)), -1.0
        validation = copies(jax.random.fold_in(jax.random.key(seed), 2**31 - 1), VALIDATION, VALIDATED_AT, VALIDATED_AT)
        for generation in range(self.settings.generations * self.settings.searches):
            key = jax.random.fold_in(jax.random.key(seed), generation)
            if generation % self.settings.generations == 0:
                state, fitness, best = self.start(key)
            else:
                state, fitness, best = self.compiled(self.strategy.roomy(state), key)
            right = float(jnp.mean(self.examine(best, validation))) if fitness > 0.99 else float(fitness) - 1
            if right > most:
                kept, most = best, right
            if right == 1:
                break
        used = {"searches": generation // self.settings.generations + 1, "generations": generation + 1}
        return kept, {"seed": seed} | used | {"validation": most, "cpu_s": time.process_time() - start}


def tests(graph: Graph, seed: int, settings: Settings) -> dict[str, float]:
    """Share of fresh sequences right in every bit, by what they are."""
    key = jax.random.fold_in(jax.random.key(seed), 2**31 - 2)
    cases = {f"1 to {LONGEST}": (1, LONGEST, BITS)}
    cases |= {str(length): (length, length, BITS) for length in settings.lengths}
    cases |= {f"{LONGEST}, {bits} bits": (LONGEST, LONGEST, bits) for bits in settings.widths}
    found = {}
    for label, (low, high, bits) in cases.items():
        episode = copies(key, settings.episodes, low, high, bits)
        weights, slots = controller_of(graph, bits), high + 4
        right = jax.jit(lambda weights, episode, slots=slots: scores(weights, episode, slots)["right"])
        found[label] = float(jnp.mean(right(weights, episode)))
    return found


def main(settings: Settings) -> None:
    """Evolve, test, print, save."""
    pin(settings.threads)
    use_compile_cache("auto")
    if settings.quick:
        settings = replace(
            settings, seeds=1, population_size=20, generations=2, searches=2, lengths=(12,), widths=(9,), episodes=10
        )
    where, runs = context(), []
    search = Search(settings)
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        graph, run = search.solve(seed)
        size = {"connections": int(graph.num_connections), "nodes": int(graph.num_nodes)}
        runs.append(run | size | tests(graph, seed, settings))
        print(runs[-1], flush=True)
        save(settings, context=where, runs=runs)
    print(markdown(tuple(runs[0]), [tuple(f"{value:.4g}" for value in run.values()) for run in runs]))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
