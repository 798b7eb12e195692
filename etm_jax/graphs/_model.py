"""The family of graphs: controllers that grow node by node and act in environments, with or without a tape."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._typing import BoolScalar, Key, Scalar
from etm_jax.environment import AnySuite
from etm_jax.evolution._problem import Problem
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._evolved import EvolvedGraph, save_graph
from etm_jax.graphs._genome import Graph, minimal_graph
from etm_jax.graphs._policy import GraphPolicy, GraphTape
from etm_jax.graphs._species import distances
from etm_jax.graphs._variation import GraphRates, offspring
from etm_jax.models._acting import environments_of, judged, live
from etm_jax.models._model import LearnsNothing, Result
from etm_jax.networks.variation._rates import VariationRates


@dataclass(frozen=True)
class Graphs(LearnsNothing):
    """Graphs in tables of the settings' length. Any selection of the engine applies; `graph.NEAT` has its own.

    Attributes:
        config: table lengths and rates of mutation.
        acts: what a graph sees and answers, and its tape.
    """

    born_in_turn = False

    config: GraphConfig
    acts: GraphPolicy

    def random(self, key: Key) -> Graph:
        """A minimal graph with normal weights. The key is consumed."""
        sizes = self.acts.num_inputs, self.acts.num_outputs, self.config.max_nodes, self.config.max_connections
        return minimal_graph(key, *sizes, connected=self.config.connected)

    def offspring(
        self, key: Key, first: Graph, second: Graph, mates: BoolScalar, rates: VariationRates, gene_rate: Scalar | float
    ) -> Graph:
        """A child: the first parent's graph, with weights of both if it `mates`, then mutations. The key is consumed.

        The rates of mutation are those of the graphs' own settings.
        """
        del rates, gene_rate
        settings = self.config
        own = GraphRates(
            perturb_rate=settings.perturb_rate,
            perturb_scale=settings.perturb_scale,
            replace_rate=settings.replace_rate,
            activation_rate=settings.activation_rate,
            add_connection_rate=settings.add_connection_rate,
            remove_connection_rate=settings.remove_connection_rate,
            add_node_rate=settings.add_node_rate,
        )
        return offspring(key, first, second, mates, own, len(settings.activations), settings.recurrent)

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

    def judge(
        self, problem: Problem, key: Key, genomes: Graph, champion: Graph, difficulty: Float[Array, " task"]
    ) -> tuple[Result, Float[Array, " population"], Scalar]:
        """Fresh episodes, the same for everybody. The key is consumed."""
        return live(problem, self.acts.of, key, genomes, champion, difficulty)

    def padding_efficiency(self, problem: Problem, genomes: Graph) -> Scalar:
        """Share of the products of a step, a dense matrix of all nodes of the table, that are of connections."""
        del problem
        computed = (self.config.max_nodes - self.acts.num_inputs - 1) * self.config.max_nodes
        return jnp.mean(jnp.sum(genomes.is_connection & genomes.enabled, axis=-1)) / computed

    def export(self, champion: Graph) -> EvolvedGraph:
        """The graph without padding, as a policy."""
        return EvolvedGraph.of(champion, self.acts)

    def save(self, model: EvolvedGraph, folder: Path) -> None:
        """Nodes and connections as JSON."""
        save_graph(model, folder)

    def report(self, problem: Problem, champion: Graph) -> dict[str, Any]:
        """The sizes, and scores in episodes that evolution never saw."""
        return {
            "architecture": self.export(champion).architecture,
            "num_parameters": int(champion.num_connections),
            "held_out": judged(problem, self.acts.of, champion),
        }

    def genes(self, genomes: Graph) -> dict[str, Int[Array, " population"]]:
        """How many nodes and connections."""
        return {"nodes": genomes.num_nodes, "connections": genomes.num_connections}


def graphs(config: GraphConfig, suite: AnySuite) -> Graphs:
    """The family for these settings and environments.

    Raises:
        ValueError: the suite is none of environments, a function is unknown, or the first graphs do not fit the tables.
    """
    suite = environments_of(suite, "graph")
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
                f"graph.{name} must be at least {least}, which the first graphs have on {', '.join(suite.names)}, got "
                f"{getattr(config, name)}"
            )
    return Graphs(config, acts)
