"""The model graph: controllers that grow node by node and act in environments, with or without a tape."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._typing import BoolScalar, Key, Scalar
from etm_jax.environment import AnySuite, EnvironmentSuite
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._evolved import EvolvedGraph, save_graph
from etm_jax.graphs._genome import Graph, minimal_graph
from etm_jax.graphs._policy import GraphPolicy, GraphTape
from etm_jax.graphs._species import distances
from etm_jax.graphs._variation import offspring
from etm_jax.models._acting import environments_of, evaluate_acting, held_out_acting
from etm_jax.models._context import Context
from etm_jax.models._model import Evaluation, Inheritance


@dataclass(frozen=True)
class Graphs:
    """Graphs in tables of the settings' length. Any selection of the engine applies; `graphs.NEAT` has its own.

    Attributes:
        config: table lengths and rates of mutation.
        suite: the environments.
        acts: what a graph sees and answers, and its tape.
    """

    large_genomes = False
    rebucket_every = 0
    computed_by = ""
    xla_computes = True

    config: GraphConfig
    suite: EnvironmentSuite
    acts: GraphPolicy

    @property
    def inheritance(self) -> Inheritance:
        """Nothing is learned."""
        return "darwinian"

    @classmethod
    def of(cls, config: GraphConfig, suite: AnySuite) -> "Graphs":
        """The model of these settings in these environments.

        Raises:
            ValueError: the suite is none of environments, a function is unknown, or the first graphs do not fit the
                tables.
        """
        suite = environments_of(suite, GraphConfig.kind)
        tape = GraphTape(config.slots, config.slot_width) if config.slots else None
        acts = GraphPolicy(suite.input_size, suite.output_size, config.activations, tape)
        seen = acts.num_inputs + 1
        needs = {
            "max_nodes": seen + acts.num_outputs,
            "max_connections": max(seen * acts.num_outputs * config.connected, 1),
        }
        for name, least in needs.items():
            if getattr(config, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, which the first graphs have on {', '.join(suite.names)}, got "
                    f"{getattr(config, name)}"
                )
        return cls(config, suite, acts)

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Where it ends up, in environments that have places."""
        return self.suite.behaviours

    def random(self, key: Key) -> Graph:
        """A minimal graph with normal weights. The key is consumed."""
        sizes = self.acts.num_inputs, self.acts.num_outputs, self.config.max_nodes, self.config.max_connections
        return minimal_graph(key, *sizes, connected=self.config.connected)

    def offspring(self, key: Key, first: Graph, second: Graph, mates: BoolScalar, diversity: Scalar) -> Graph:
        """The first parent's graph, with weights of both if it `mates`, then mutations. The key is consumed."""
        del diversity
        own = self.config
        return offspring(key, first, second, mates, own.variation, len(own.activations), own.recurrent)

    def diversity(self, genomes: Graph) -> Scalar:
        """How many connections a member does not have in common with the first one, as a share of both, on average."""
        first = jax.tree.map(lambda leaf: leaf[0], genomes)
        return jnp.mean(distances(genomes, first, excess_weight=1.0, difference_weight=0.0)) / 2

    def efficiency(self, genomes: Graph) -> Float[Array, " population"]:
        """Share of the table of connections that is free."""
        return 1 - genomes.num_connections / self.config.max_connections

    def costs(self, genomes: Graph) -> dict[str, Float[Array, " population"]]:
        """Connections and nodes, as shares of the tables."""
        return {
            "connections": 1 - self.efficiency(genomes),
            "nodes": genomes.num_nodes / self.config.max_nodes,
        }

    def traits(self, genomes: Graph) -> dict[str, Float[Array, " population"]]:
        """The costs."""
        return self.costs(genomes)

    def evaluate(
        self, context: Context, key: Key, genomes: Graph, champion: Graph, difficulty: Float[Array, " task"]
    ) -> Evaluation:
        """Fresh episodes, the same for every individual. The key is consumed."""
        return evaluate_acting(context, self.suite, self.acts.of, key, genomes, champion, difficulty)

    def padding_efficiency(self, context: Context, genomes: Graph) -> Scalar:
        """Share of the products of a step, a dense matrix of all nodes of the table, that are of connections."""
        del context
        computed = (self.config.max_nodes - self.acts.num_inputs - 1) * self.config.max_nodes
        return jnp.mean(jnp.sum(genomes.is_connection & genomes.enabled, axis=-1)) / computed

    def export(self, genome: Graph) -> EvolvedGraph:
        """The graph without padding, as a policy."""
        return EvolvedGraph.of(genome, self.acts)

    def save(self, exported: EvolvedGraph, folder: Path) -> None:
        """Nodes and connections as JSON."""
        save_graph(exported, folder)

    def report(self, genome: Graph, seed: int) -> dict[str, Any]:
        """The sizes, and scores in episodes that evolution never saw."""
        return {
            "architecture": self.export(genome).architecture,
            "num_parameters": int(genome.num_connections),
            "held_out": held_out_acting(self.suite, self.acts.of, genome, seed),
        }

    def genes(self, genomes: Graph) -> dict[str, Int[Array, " population"]]:
        """How many nodes and connections."""
        return {"nodes": genomes.num_nodes, "connections": genomes.num_connections}
