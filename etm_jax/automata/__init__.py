"""Cellular automata that compute until they halt, one genome or a population at a time."""

from etm_jax.automata._config import AutomataVariation as AutomataVariation
from etm_jax.automata._config import EM33Config as EM33Config
from etm_jax.automata._config import EM43Config as EM43Config
from etm_jax.automata._convolution import ConvolutionalModel as ConvolutionalModel
from etm_jax.automata._convolution import GridRun as GridRun
from etm_jax.automata._em33 import EM33 as EM33
from etm_jax.automata._em33 import RingRun as RingRun
from etm_jax.automata._em33 import controller as controller
from etm_jax.automata._em43 import EM43 as EM43
from etm_jax.automata._em43 import Run as Run
from etm_jax.automata._evolved import EvolvedEM33 as EvolvedEM33
from etm_jax.automata._evolved import EvolvedEM43 as EvolvedEM43
from etm_jax.automata._evolved import load_em33 as load_em33
from etm_jax.automata._evolved import load_em43 as load_em43
from etm_jax.automata._evolved import save_automaton as save_automaton
from etm_jax.automata._formalism import Answer as Answer
from etm_jax.automata._formalism import EmergentModel as EmergentModel
from etm_jax.automata._formalism import answer as answer
from etm_jax.automata._formalism import answer_in_turn as answer_in_turn
from etm_jax.automata._formalism import run_until_halted as run_until_halted
from etm_jax.automata._genome import constrain_programme as constrain_programme
from etm_jax.automata._genome import constrain_rule as constrain_rule
from etm_jax.automata._genome import random_genome as random_genome
from etm_jax.automata._tape import NO_OUTPUT as NO_OUTPUT
from etm_jax.automata._tape import PopulationRun as PopulationRun
