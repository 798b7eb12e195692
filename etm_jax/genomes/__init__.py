"""Genomes: bounds, architecture genes, masks, padded weights, and the way to a compact network and back."""

from etm_jax.genomes._architecture import GENES as GENES
from etm_jax.genomes._architecture import Architecture as Architecture
from etm_jax.genomes._architecture import active_axes as active_axes
from etm_jax.genomes._architecture import architecture_from as architecture_from
from etm_jax.genomes._architecture import describe as describe
from etm_jax.genomes._architecture import largest as largest
from etm_jax.genomes._architecture import random_architecture as random_architecture
from etm_jax.genomes._architecture import ranges as ranges
from etm_jax.genomes._architecture import smallest as smallest
from etm_jax.genomes._bounds import ADDRESSING as ADDRESSING
from etm_jax.genomes._bounds import Bounds as Bounds
from etm_jax.genomes._compact import compact as compact
from etm_jax.genomes._compact import pad as pad
from etm_jax.genomes._cost import efficiency as efficiency
from etm_jax.genomes._cost import multiply_adds as multiply_adds
from etm_jax.genomes._cost import num_parameters as num_parameters
from etm_jax.genomes._cost import padding_efficiency as padding_efficiency
from etm_jax.genomes._diversity import diversity as diversity
from etm_jax.genomes._export import load_network as load_network
from etm_jax.genomes._export import save_network as save_network
from etm_jax.genomes._genome import Genome as Genome
from etm_jax.genomes._genome import apply as apply
from etm_jax.genomes._genome import genome_of as genome_of
from etm_jax.genomes._genome import mask_of as mask_of
from etm_jax.genomes._genome import random_genome as random_genome
from etm_jax.genomes._genome import unroll as unroll
