"""Evolution: state, ask and tell, lifetime learning, a generation, the run with its folder and checkpoints."""

from etm_jax.networks.learning._score import held_out_scores
from etm_jax.evolution._champion import summarise as summarise
from etm_jax.runs._checkpoint import CheckpointError
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.runs._checkpoint import check_path
from etm_jax.parallel._devices import default_batch_size
from etm_jax.parallel._devices import device_mesh
from etm_jax.parallel._devices import map_in_batches
from etm_jax.parallel._devices import on_this_process
from etm_jax.networks._batches import over_population
from etm_jax.parallel._devices import replicated
from etm_jax.parallel._devices import wait_for_all
from etm_jax.strategies._differential import DifferentialEvolution
from etm_jax.strategies._differential import DifferentialRates
from etm_jax.strategies._differential import DifferentialState
from etm_jax.networks._evaluation import judge
from etm_jax.networks._model import learn_all
from etm_jax.runs._folder import RunFolder
from etm_jax.models._registry import load_best
from etm_jax.evolution._generation import fitness_of as fitness_of
from etm_jax.evolution._generation import init as init
from etm_jax.evolution._generation import step as step
from etm_jax.evolution._generation import steps as steps
from etm_jax.graphs._model import Graphs
from etm_jax.runs._history import History
from etm_jax.evolution._islands import state_sharding as state_sharding
from etm_jax.models._model import Result
from etm_jax.networks.learning._gradient import batch_loss
from etm_jax.networks.learning._gradient import gradient_step
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._optimisers import make_optimiser
from etm_jax.networks.learning._optimisers import paces_itself
from etm_jax.networks.learning._score import score
from etm_jax.evolution._make import make_problem as make_problem
from etm_jax.evolution._members import load_member as load_member
from etm_jax.evolution._members import write_members as write_members
from etm_jax.networks._model import Networks
from etm_jax.models._model import Model
from etm_jax.evolution._problem import Problem as Problem
from etm_jax.evolution._programs import compile_generation as compile_generation
from etm_jax.evolution._programs import first_state as first_state
from etm_jax.automata._ring_automata import RingAutomata
from etm_jax.evolution._run import Outcome as Outcome
from etm_jax.evolution._run import run as run
from etm_jax.evolution._run import survived as survived
from etm_jax.networks._seeded import SeededGenome
from etm_jax.networks._seeded import SeededNetworks
from etm_jax.evolution._state import NO_PARENT as NO_PARENT
from etm_jax.evolution._state import EvolutionState as EvolutionState
from etm_jax.evolution._state import Population as Population
from etm_jax.models._model import member
from etm_jax.evolution._propose import EvolvingTuringMachine
from etm_jax.evolution._propose import EvolvingTuringMachineState
from etm_jax.evolution._propose import propose
from etm_jax.evolution._propose import scored
from etm_jax.networks.learning._suites import for_networks
from etm_jax.networks.learning._suites import learnable
