"""Adaptive evolution: closed-loop control of learning rate, momentum, noise and more, as optax transformations.

Depends on jax and optax only, not on the rest of this library.
"""

from etm_jax.ae import machine as machine
from etm_jax.ae import plot as plot
from etm_jax.ae import tape as tape
from etm_jax.ae import tape_tasks as tape_tasks
from etm_jax.ae._averaging import AveragedState as AveragedState
from etm_jax.ae._averaging import averaged as averaged
from etm_jax.ae._averaging import eval_params as eval_params
from etm_jax.ae._chains import ae_adam as ae_adam
from etm_jax.ae._chains import ae_adamw as ae_adamw
from etm_jax.ae._chains import ae_schedule_free_adamw as ae_schedule_free_adamw
from etm_jax.ae._chains import ae_schedule_free_sgd as ae_schedule_free_sgd
from etm_jax.ae._chains import ae_sgdm as ae_sgdm
from etm_jax.ae._chains import scale_by_ae as scale_by_ae
from etm_jax.ae._charts import CHARTS as CHARTS
from etm_jax.ae._charts import COEFFICIENTS as COEFFICIENTS
from etm_jax.ae._charts import Coefficient as Coefficient
from etm_jax.ae._charts import from_chart as from_chart
from etm_jax.ae._charts import to_chart as to_chart
from etm_jax.ae._consensus import budgets as budgets
from etm_jax.ae._consensus import consensus as consensus
from etm_jax.ae._consensus import schedule as schedule
from etm_jax.ae._consensus import soft_weights as soft_weights
from etm_jax.ae._consensus import with_position as with_position
from etm_jax.ae._gains import FEATURES as FEATURES
from etm_jax.ae._gains import LAWS as LAWS
from etm_jax.ae._gains import Gains as Gains
from etm_jax.ae._gains import default_gains as default_gains
from etm_jax.ae._gains import without as without
from etm_jax.ae._loss_chains import ae_curriculum as ae_curriculum
from etm_jax.ae._loss_chains import ae_rl as ae_rl
from etm_jax.ae._moments import scale_by_momentum as scale_by_momentum
from etm_jax.ae._moments import scale_by_varying_adam as scale_by_varying_adam
from etm_jax.ae._moments import scale_by_varying_rms as scale_by_varying_rms
from etm_jax.ae._signals import Filters as Filters
from etm_jax.ae._signals import Observation as Observation
from etm_jax.ae._signals import Signals as Signals
from etm_jax.ae._signals import measure as measure
from etm_jax.ae._state import AEState as AEState
from etm_jax.ae._state import coefficients as coefficients
from etm_jax.ae._state import find as find
from etm_jax.ae._state import monitor as monitor
from etm_jax.ae._swarm import ensemble as ensemble
from etm_jax.ae._swarm import swarm as swarm
from etm_jax.ae._trajectories import Swarm as Swarm
from etm_jax.ae._trajectories import SwarmHistory as SwarmHistory
from etm_jax.ae._trajectories import SwarmState as SwarmState
from etm_jax.ae._trajectories import best_params as best_params
from etm_jax.ae._transform import adaptive_evolution as adaptive_evolution
