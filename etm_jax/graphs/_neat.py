"""NEAT: evolution of graphs, with the methods of evosax's population-based algorithms."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etm_jax._ask_tell import best_of, check_fitness, cost_of, metrics_fn, with_best
from etm_jax._require import require, require_count
from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar, pytree
from etm_jax.graphs._forward import DEFAULT_ACTIVATIONS, check_activations
from etm_jax.graphs._genome import Graph, live_size, resized, table_lengths
from etm_jax.graphs._species import NO_SPECIES, NEATParams, Species, assign, breed, no_species, represented
from etm_jax.graphs._variation import num_chances, uniform, vary


@pytree
class NEATState:
    """What NEAT remembers from one generation to the next.

    Attributes:
        population: the graphs told last.
        fitness: of these, minimised; +inf for those that failed.
        best_solution: the best graph ever told.
        best_fitness: of that graph.
        generation_counter: generations told.
        species: of the generation before.
        asked: what the species will be once the graphs asked for are told.
    """

    population: Graph
    fitness: Float[Array, " population"]
    best_solution: Graph
    best_fitness: Scalar
    generation_counter: IntScalar
    species: Species
    asked: Species


@dataclass(frozen=True)
class NEAT:
    """NeuroEvolution of Augmenting Topologies (Stanley and Miikkulainen 2002) on tables of fixed shape, with the
    signatures of evosax's population-based algorithms. **Fitness is minimised**, as everywhere in evosax; NaN is a
    failed evaluation.

    Graphs begin minimal. Children get noise on their weights, a connection, a node within a connection; parents of one
    species mix the weights of the connections that both have. Fitness is shared by species.

    The tables are as long as those of the first population, and `roomy` makes them longer: a generation costs what its
    largest graph costs, whatever the limits.

    Args:
        population_size: graphs.
        solution: a graph like the first ones, as evosax asks for; its weights do not matter.
        recurrent: connections may lead to any node but the inputs; evaluate by `unroll_graph`.
        activations: functions that nodes may have; `minimal_graph` gives its nodes the first.
        max_nodes: limit, of the whole table.
        max_connections: limit.
        max_species: length of the table of species.
        metrics_fn: replaces evosax's metrics of a generation, with evosax's signature.

    Raises:
        ValueError: a count is too small, the limits do not hold the solution's tables, or a function is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs import NEAT, apply_graph, minimal_graph
        >>> x = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
        >>> def cost_of(graph):
        ...     return jnp.mean((apply_graph(graph, x, 1)[:, 0] - (x[:, 0] != x[:, 1])) ** 2)
        >>> keys = jax.random.split(jax.random.key(0), 100)
        >>> population = jax.vmap(lambda key: minimal_graph(key, num_inputs=2, num_outputs=1))(keys)
        >>> neat = NEAT(population_size=100, solution=minimal_graph(keys[0], 2, 1))
        >>> params = neat.default_params
        >>> state = neat.init(jax.random.key(1), population, jax.vmap(cost_of)(population), params)
        >>> population, state = neat.ask(jax.random.key(2), state, params)
        >>> state, metrics = neat.tell(jax.random.key(3), population, jax.vmap(cost_of)(population), state, params)
        >>> bool(metrics["best_fitness"] == cost_of(state.best_solution))
        True
    """

    population_size: int
    solution: Graph = field(compare=False, repr=False)
    recurrent: bool = False
    activations: tuple[str, ...] = DEFAULT_ACTIVATIONS
    max_nodes: int = 100
    max_connections: int = 400
    max_species: int = 16
    metrics_fn: Callable[..., dict[str, Any]] = metrics_fn

    def __post_init__(self) -> None:
        require_count("population_size", self.population_size, 2)
        require_count("max_species", self.max_species, 1)
        require(self.solution.ids.ndim == 1, "solution", "one graph", self.solution.ids.shape)
        require_count("max_nodes", self.max_nodes, self.solution.ids.size)
        require_count("max_connections", self.max_connections, self.solution.weights.size)
        check_activations(self.activations)

    @property
    def default_params(self) -> NEATParams:
        """The rates and pressures."""
        return NEATParams()

    def init(self, key: Key, population: Graph, fitness: Float[Array, " population"], params: NEATParams) -> NEATState:
        """The state of an evaluated first population; `fitness` is minimised.

        Raises:
            ValueError: a parameter is outside its range, or there is another number of scores.
        """
        del key
        params.check()
        check_fitness(fitness, self.population_size)
        species = no_species(population, self.max_species, params.radius)
        best_solution, best_fitness = best_of(population, fitness)
        return NEATState(
            population=population,
            fitness=cost_of(fitness),
            best_solution=best_solution,
            best_fitness=best_fitness,
            generation_counter=jnp.array(0, jnp.int32),
            species=species,
            asked=species,
        )

    # As in evosax, `ask` and `tell` are compiled, so that a plain loop is fast. Equal settings share a program.
    @partial(jax.jit, static_argnames="self")
    def ask(self, key: Key, state: NEATState, params: NEATParams) -> tuple[Graph, NEATState]:
        """The graphs to evaluate next: children of those told last, however often it is asked. The key is consumed."""
        sizes = [3, 1, 1, num_chances(state.population.weights.shape[1])]
        table = uniform(key, (self.population_size, sum(sizes)))  # one draw for all
        of_parents, of_species, of_mating, of_variation = jnp.split(table, np.cumsum(sizes)[:-1], axis=1)
        belongs, species = assign(state.population, state.species, params)
        survivors, parents, species = breed(of_parents.T, belongs, -state.fitness, species, params)
        species = represented(of_species[:, 0], state.population, belongs, species)
        mates = (of_mating[:, 0] < params.crossover_rate) & (parents[:, 0] != parents[:, 1])
        fitter, other = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], state.population) for rows in parents.T)

        def child(chance: Array, fitter: Graph, other: Graph, mates: BoolScalar) -> Graph:
            return vary(chance, fitter, other, mates, params, len(self.activations), self.recurrent)

        def place(kept: Array, child: Array) -> Array:
            stays = (survivors != NO_SPECIES).reshape(-1, *(1,) * (kept.ndim - 1))
            return jnp.where(stays, kept[survivors], child)

        children = jax.vmap(child)(of_variation, fitter, other, mates)
        return jax.tree.map(place, state.population, children), replace(state, asked=species)

    @partial(jax.jit, static_argnames="self")
    def tell(
        self, key: Key, population: Graph, fitness: Float[Array, " population"], state: NEATState, params: NEATParams
    ) -> tuple[NEATState, dict[str, Any]]:
        """Take in the scores of the graphs asked for; `fitness` is minimised.

        The metrics are evosax's, and `failed` evaluations, living `species`, `nodes` and `connections` of the largest
        graph.
        """
        state = with_best(state, population, fitness)
        metrics = self.metrics_fn(key, population, fitness, state, params) | {
            "failed": jnp.sum(~jnp.isfinite(fitness)),
            "species": jnp.sum(state.asked.lives),
            "nodes": jnp.max(population.num_nodes),
            "connections": jnp.max(population.num_connections),
        }
        counter = state.generation_counter + 1
        cost = cost_of(fitness)
        return replace(
            state, population=population, fitness=cost, species=state.asked, generation_counter=counter
        ), metrics

    def roomy(self, state: NEATState) -> NEATState:
        """The same state in tables that hold the next generation, whatever it mutates; not to be traced.

        Call it between generations. Lengths are few, each twice the one before, so that few programs are compiled.
        """
        now = state.population.ids.shape[1], state.population.weights.shape[1]
        needed, limits = table_lengths(*live_size(state.population)), (self.max_nodes, self.max_connections)
        lengths = [max(had, min(length, limit)) for had, length, limit in zip(now, needed, limits, strict=True)]
        if tuple(lengths) == now:
            return state

        def is_graph(part: Any) -> bool:
            return isinstance(part, Graph)

        return jax.tree.map(lambda part: resized(part, *lengths) if is_graph(part) else part, state, is_leaf=is_graph)
