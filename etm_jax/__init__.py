"""Evolve populations of memory-augmented neural networks of different shapes in one JAX call."""

from etm_jax._machine import EvolutionaryTuringMachine as EvolutionaryTuringMachine
from etm_jax.cells import NTM as NTM
from etm_jax.cells import NTMCell as NTMCell
from etm_jax.config import EvolutionaryTuringConfig as EvolutionaryTuringConfig
from etm_jax.config import LifetimeConfig as LifetimeConfig
from etm_jax.evolution import EvolvingTuringMachine as EvolvingTuringMachine
from etm_jax.evolution import load_best as load_best
from etm_jax.genomes import Bounds as Bounds
from etm_jax.genomes import Genome as Genome
from etm_jax.genomes import apply as apply
from etm_jax.genomes import compact as compact
from etm_jax.genomes import mask_of as mask_of
from etm_jax.genomes import pad as pad
from etm_jax.genomes import random_genome as random_genome
from etm_jax.task import Episode as Episode
from etm_jax.task import TaskSuite as TaskSuite
