"""Networks whose graph evolves: nodes, connections, NEAT."""

from etm_jax.graph._activation import ACTIVATIONS as ACTIVATIONS
from etm_jax.graph._crossover import cross as cross
from etm_jax.graph._crossover import distances as distances
from etm_jax.graph._forward import apply_graph as apply_graph
from etm_jax.graph._forward import graph_stepper as graph_stepper
from etm_jax.graph._forward import unroll_graph as unroll_graph
from etm_jax.graph._genome import Graph as Graph
from etm_jax.graph._genome import minimal_graph as minimal_graph
from etm_jax.graph._genome import resized as resized
from etm_jax.graph._mutation import add_connection as add_connection
from etm_jax.graph._mutation import change_activation as change_activation
from etm_jax.graph._mutation import change_weights as change_weights
from etm_jax.graph._mutation import plan_splits as plan_splits
from etm_jax.graph._mutation import remove_connection as remove_connection
from etm_jax.graph._mutation import split as split
from etm_jax.graph._neat import NEAT as NEAT
from etm_jax.graph._neat import NEATState as NEATState
from etm_jax.graph._pattern import paint as paint
from etm_jax.graph._pattern import pattern_weights as pattern_weights
from etm_jax.graph._pattern import substrate_weights as substrate_weights
from etm_jax.graph._rates import GraphRates as GraphRates
from etm_jax.graph._species import Species as Species
from etm_jax.graph._species import assign as assign
from etm_jax.graph._species import breed as breed
from etm_jax.graph._tape import GraphTape as GraphTape
from etm_jax.graph._tape import with_tape as with_tape
