"""Networks whose graph evolves: nodes, connections, NEAT."""

from etm_jax.graphs._config import GraphConfig as GraphConfig
from etm_jax.graphs._evolved import EvolvedGraph as EvolvedGraph
from etm_jax.graphs._evolved import load_graph as load_graph
from etm_jax.graphs._evolved import save_graph as save_graph
from etm_jax.graphs._forward import ACTIVATIONS as ACTIVATIONS
from etm_jax.graphs._forward import apply_graph as apply_graph
from etm_jax.graphs._forward import graph_stepper as graph_stepper
from etm_jax.graphs._forward import unroll_graph as unroll_graph
from etm_jax.graphs._genome import Graph as Graph
from etm_jax.graphs._genome import minimal_graph as minimal_graph
from etm_jax.graphs._genome import resized as resized
from etm_jax.graphs._neat import NEAT as NEAT
from etm_jax.graphs._neat import NEATState as NEATState
from etm_jax.graphs._pattern import paint as paint
from etm_jax.graphs._pattern import pattern_weights as pattern_weights
from etm_jax.graphs._pattern import substrate_weights as substrate_weights
from etm_jax.graphs._policy import GraphPolicy as GraphPolicy
from etm_jax.graphs._policy import GraphTape as GraphTape
from etm_jax.graphs._policy import with_tape as with_tape
from etm_jax.graphs._species import NEATParams as NEATParams
from etm_jax.graphs._variation import GraphRates as GraphRates
