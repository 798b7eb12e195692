"""Cellular automata that compute until they halt, one genome or a population at a time."""

from etm_jax.automata._controller import EvolvedEM33
from etm_jax.automata._controller import RingPolicy
from etm_jax.automata._controller import controller
from etm_jax.automata._convolution import ConvolutionalModel
from etm_jax.automata._convolution import GridRun
from etm_jax.automata._em33 import EM33
from etm_jax.automata._em33 import RingRun
from etm_jax.automata._em43 import EM43
from etm_jax.automata._em43 import Run
from etm_jax.automata._evolved import EvolvedEM43
from etm_jax.automata._file import AUTOMATON
from etm_jax.automata._file import digits
from etm_jax.automata._file import load_automaton
from etm_jax.automata._file import save_automaton
from etm_jax.automata._formalism import Answer
from etm_jax.automata._formalism import EmergentModel
from etm_jax.automata._formalism import answer
from etm_jax.automata._formalism import answer_in_turn
from etm_jax.automata._formalism import run_until_halted
from etm_jax.automata._genome import constrain_programme
from etm_jax.automata._genome import constrain_rule
from etm_jax.automata._genome import genome_from
from etm_jax.automata._genome import random_genome
from etm_jax.automata._population import PopulationRun
from etm_jax.automata._tape import NO_OUTPUT
