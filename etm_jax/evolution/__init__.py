"""The algorithm: state, one generation, islands, the run."""

from etm_jax.evolution._archive import load_member as load_member
from etm_jax.evolution._ask_tell import EvolvingTuringMachine as EvolvingTuringMachine
from etm_jax.evolution._ask_tell import EvolvingTuringMachineParams as EvolvingTuringMachineParams
from etm_jax.evolution._ask_tell import EvolvingTuringMachineState as EvolvingTuringMachineState
from etm_jax.evolution._generation import fitness_of as fitness_of
from etm_jax.evolution._generation import init as init
from etm_jax.evolution._generation import step as step
from etm_jax.evolution._generation import steps as steps
from etm_jax.evolution._islands import state_sharding as state_sharding
from etm_jax.evolution._problem import Problem as Problem
from etm_jax.evolution._problem import make_problem as make_problem
from etm_jax.evolution._programs import compile_generation as compile_generation
from etm_jax.evolution._programs import first_state as first_state
from etm_jax.evolution._propose import propose as propose
from etm_jax.evolution._propose import scored as scored
from etm_jax.evolution._run import Outcome as Outcome
from etm_jax.evolution._run import run as run
from etm_jax.evolution._run import summarise as summarise
from etm_jax.evolution._state import EvolutionState as EvolutionState
from etm_jax.evolution._state import Population as Population
