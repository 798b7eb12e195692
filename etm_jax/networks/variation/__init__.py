"""Variation: mutation, growth and shrinkage, crossover. Each function makes one offspring; the caller vmaps."""

from etm_jax.networks.variation._align import align_units as align_units
from etm_jax.networks.variation._align import permute_units as permute_units
from etm_jax.networks.variation._mutation import add_weight_noise as add_weight_noise
from etm_jax.networks.variation._mutation import boosted_gene_rate as boosted_gene_rate
from etm_jax.networks.variation._mutation import mutate_architecture as mutate_architecture
from etm_jax.networks.variation._mutation import resize as resize
from etm_jax.networks.variation._offspring import cross_genes as cross_genes
from etm_jax.networks.variation._offspring import cross_learning as cross_learning
from etm_jax.networks.variation._offspring import cross_weights as cross_weights
from etm_jax.networks.variation._offspring import offspring as offspring
