"""Search strategies of their own, behind evosax's protocol."""

from etm_jax.strategies._differential import DifferentialEvolution as DifferentialEvolution
from etm_jax.strategies._differential import DifferentialRates as DifferentialRates
from etm_jax.strategies._differential import DifferentialState as DifferentialState
