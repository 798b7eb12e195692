"""Environments: networks act in them, earn rewards, and evolve without gradients."""

from etm_jax.environment._contract import Environment as Environment
from etm_jax.environment._contract import scaled_reward as scaled_reward
from etm_jax.environment._gymnax import GymnaxEnvironment as GymnaxEnvironment
from etm_jax.environment._gymnax import from_gymnax as from_gymnax
from etm_jax.environment._last_action import WithLastAction as WithLastAction
from etm_jax.environment._rollout import Rollout as Rollout
from etm_jax.environment._rollout import rollout as rollout
from etm_jax.environment._suite import AnySuite as AnySuite
from etm_jax.environment._suite import EnvironmentSuite as EnvironmentSuite
from etm_jax.environment._suite import Suite as Suite
from etm_jax.environment._suite import as_suite as as_suite
