"""The model networks: memory networks that evolve their architecture, and learn by gradient."""

from etm_jax.networks._config import NetworksConfig as NetworksConfig
from etm_jax.networks._model import Networks as Networks
from etm_jax.networks._seeded import SeededNetworks as SeededNetworks
from etm_jax.networks.genome._bounds import Bounds as Bounds
from etm_jax.networks.genome._compact import compact as compact
from etm_jax.networks.genome._compact import pad as pad
from etm_jax.networks.genome._export import load_network as load_network
from etm_jax.networks.genome._export import save_network as save_network
from etm_jax.networks.genome._genes import Architecture as Architecture
from etm_jax.networks.genome._genes import Genome as Genome
from etm_jax.networks.genome._genes import describe as describe
from etm_jax.networks.genome._genes import multiply_adds as multiply_adds
from etm_jax.networks.genome._genome import apply as apply
from etm_jax.networks.genome._genome import mask_of as mask_of
from etm_jax.networks.genome._genome import num_parameters as num_parameters
from etm_jax.networks.genome._genome import random_genome as random_genome
from etm_jax.networks.genome._genome import stepper as stepper
from etm_jax.networks.genome._genome import unroll as unroll
from etm_jax.networks.learning._config import LifetimeConfig as LifetimeConfig
from etm_jax.networks.variation._mutation import VariationRates as VariationRates
