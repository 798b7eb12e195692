"""NEAT: evolution of graphs behind evosax's protocol."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import BoolScalar, IntScalar, Key, pytree
from etm_jax.graphs._activation import check_activations
from etm_jax.graphs._genome import BIAS, Graph, live_size, minimal_graph, resized
from etm_jax.graphs._rates import GraphRates
from etm_jax.graphs._species import NO_SPECIES, Species, assign, breed, no_species, represented
from etm_jax.graphs._variation import num_chances, uniform, vary

GROWTH = 1, 3  # most nodes and connections that a graph gets in one generation
LEAST = 16, 32  # shortest tables, which small problems never outgrow


@pytree
class NEATState:
    """What NEAT remembers from one generation to the next.

    Attributes:
        graphs: the population.
        fitness: of the graphs, maximised; -inf before they are evaluated and for those that failed.
        species: of the generation before.
        asked: what the species will be once the graphs asked for are told.
        generation: generations told.
    """

    graphs: Graph
    fitness: Float[Array, " population"]
    species: Species
    asked: Species
    generation: IntScalar


@dataclass(frozen=True)
class NEAT:
    """NeuroEvolution of Augmenting Topologies (Stanley and Miikkulainen 2002) on tables of fixed shape, behind evosax's
    `init / ask / tell / default_params`. **Fitness is minimised**, as everywhere in evosax; NaN is a failed evaluation.

    Graphs begin minimal. Children get noise on their weights, a connection, a node within a connection; parents of one
    species mix the weights of the connections that both have. Fitness is shared by species.

    The tables are as long as `init` and `roomy` make them: a generation costs what its largest graph costs, whatever
    the limits.

    Args:
        population_size: graphs.
        num_inputs: without the bias.
        num_outputs: of every graph.
        recurrent: connections may lead to any node but the inputs; evaluate by `unroll_graph`.
        connected: the first graphs have every connection from an input to an output; False: none, so that evolution
            chooses what to look at (FS-NEAT, Whiteson et al. 2005). For graphs of many outputs.
        activations: functions that nodes may have; the first is that of the first graphs.
        max_nodes: limit, of a graph with everything.
        max_connections: limit.
        max_species: length of the table of species.

    Raises:
        ValueError: a count is too small, the limits do not hold the first graphs, or a function is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.graphs._neat import NEAT
        >>> from etm_jax.graphs._forward import apply_graph
        >>> x = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
        >>> strategy = NEAT(100, num_inputs=2, num_outputs=1)
        >>> params = strategy.default_params
        >>> state = strategy.init(jax.random.key(0), params)
        >>> @jax.jit
        ... def generation(key, state):
        ...     key_ask, key_tell = jax.random.split(key)
        ...     graphs, state = strategy.ask(key_ask, state, params)
        ...     outputs = jax.vmap(lambda graph: apply_graph(graph, x, 1))(graphs)
        ...     cost = jnp.mean((outputs[..., 0] - (x[:, 0] != x[:, 1])[None]) ** 2, axis=1)
        ...     return *strategy.tell(key_tell, graphs, cost, state, params), cost
        >>> state, metrics, cost = generation(jax.random.key(1), state)
        >>> bool(metrics["best_fitness"] == cost.min())
        True
    """

    population_size: int
    num_inputs: int
    num_outputs: int
    recurrent: bool = False
    connected: bool = True
    activations: tuple[str, ...] = ("sigmoid",)
    max_nodes: int = 100
    max_connections: int = 400
    max_species: int = 16

    def __post_init__(self) -> None:
        for name in ("population_size", "num_inputs", "num_outputs", "max_species"):
            require_count(name, getattr(self, name), 2 if name == "population_size" else 1)
        nodes, connections = self._first_size
        require_count("max_nodes", self.max_nodes, nodes)
        require_count("max_connections", self.max_connections, max(connections, 1))
        check_activations(self.activations)

    @property
    def _first_size(self) -> tuple[int, int]:
        seen = self.num_inputs + BIAS
        return seen + self.num_outputs, seen * self.num_outputs * self.connected

    @property
    def default_params(self) -> GraphRates:
        """The rates."""
        return GraphRates()

    def init(self, key: Key, params: GraphRates) -> NEATState:
        """The state before the first `ask`, in tables with room for some growth. The key is consumed."""
        nodes, connections = self._lengths(*self._first_size)
        keys = jax.random.split(key, self.population_size)
        sizes = self.num_inputs, self.num_outputs, nodes, connections
        graphs = jax.vmap(lambda key: minimal_graph(key, *sizes, connected=self.connected))(keys)
        species = no_species(graphs, self.max_species, params.radius)
        return NEATState(
            graphs=graphs,
            fitness=jnp.full(self.population_size, -jnp.inf, float),
            species=species,
            asked=species,
            generation=jnp.array(0, jnp.int32),
        )

    def ask(self, key: Key, state: NEATState, params: GraphRates) -> tuple[Graph, NEATState]:
        """The graphs to evaluate next: children of those told last, however often it is asked. The key is consumed."""
        sizes = [3, 1, 1, num_chances(state.graphs.weights.shape[1])]
        table = uniform(key, (self.population_size, sum(sizes)))  # one draw for all
        of_parents, of_species, of_mating, of_variation = jnp.split(table, np.cumsum(sizes)[:-1], axis=1)
        belongs, species = assign(state.graphs, state.species, params)
        survivors, parents, species = breed(of_parents.T, belongs, state.fitness, species, params)
        species = represented(of_species[:, 0], state.graphs, belongs, species)
        mates = of_mating[:, 0] < params.crossover_rate
        children = self._children(of_variation, state.graphs, parents, mates, params)
        stays = survivors != NO_SPECIES

        def place(kept: Array, child: Array) -> Array:
            return jnp.where(stays.reshape(-1, *(1,) * (kept.ndim - 1)), kept[survivors], child)

        first = state.generation == 0
        graphs = jax.tree.map(place, state.graphs, children)
        graphs, species = jax.tree.map(
            lambda before, after: jnp.where(first, before, after), (state.graphs, state.species), (graphs, species)
        )
        return graphs, replace(state, asked=species)

    def tell(
        self, key: Key, population: Graph, fitness: Float[Array, " population"], state: NEATState, params: GraphRates
    ) -> tuple[NEATState, dict[str, Any]]:
        """Take in the scores of the graphs asked for; `fitness` is minimised."""
        del key, params
        ranked = jnp.where(jnp.isfinite(fitness), -fitness, -jnp.inf)
        best = jnp.argmax(ranked)
        metrics = {
            "best_fitness": -ranked[best],
            "best_solution": jax.tree.map(lambda leaf: leaf[best], population),
            "failed": jnp.sum(~jnp.isfinite(fitness)),
            "species": jnp.sum(state.asked.lives),
            "nodes": jnp.max(population.num_nodes),
            "connections": jnp.max(population.num_connections),
        }
        told = replace(state, graphs=population, fitness=ranked, species=state.asked, generation=state.generation + 1)
        return told, metrics

    def roomy(self, state: NEATState) -> NEATState:
        """The same state in tables that hold the next generation, whatever it mutates; not to be traced.

        Call it between generations. Lengths are few, each twice the one before, so that few programs are compiled.
        """
        now = state.graphs.ids.shape[1], state.graphs.weights.shape[1]
        nodes, connections = map(max, now, self._lengths(*live_size(state.graphs)))
        if (nodes, connections) == now:
            return state

        def longer(species: Species) -> Species:
            return replace(species, representatives=resized(species.representatives, nodes, connections))

        graphs = resized(state.graphs, nodes, connections)
        return replace(state, graphs=graphs, species=longer(state.species), asked=longer(state.asked))

    def _lengths(self, nodes: int, connections: int) -> tuple[int, int]:
        """Tables for graphs of at most so many nodes and connections, and one more generation."""

        def length(live: int, growth: int, least: int, limit: int) -> int:
            return min(max(1 << (live + growth - 1).bit_length(), least), limit)

        return length(nodes, GROWTH[0], LEAST[0], self.max_nodes), length(
            connections, GROWTH[1], LEAST[1], self.max_connections
        )

    def _children(
        self,
        chances: Float[Array, "population chance"],
        graphs: Graph,
        parents: Int[Array, "population 2"],
        mates: Bool[Array, " population"],
        params: GraphRates,
    ) -> Graph:
        """A child for every pair of parents, of the first alone if they do not mate or are one."""
        fitter, other = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], graphs) for rows in parents.T)

        def child(chance: Array, fitter: Graph, other: Graph, mates: BoolScalar) -> Graph:
            return vary(chance, fitter, other, mates, params, len(self.activations), self.recurrent)

        return jax.vmap(child)(chances, fitter, other, mates & (parents[:, 0] != parents[:, 1]))
