"""Memory cells, written for one sequence of one network; they know no population."""

from etm_jax.cells._layout import Parameter as Parameter
from etm_jax.cells._network import NTM as NTM
from etm_jax.cells._network import NTMCell as NTMCell
from etm_jax.cells._ntm import NTMActive as NTMActive
from etm_jax.cells._ntm import NTMCarry as NTMCarry
from etm_jax.cells._ntm import NTMDrive as NTMDrive
from etm_jax.cells._ntm import NTMWeights as NTMWeights
from etm_jax.cells._ntm import drive_of as drive_of
from etm_jax.cells._ntm import initial_carry as initial_carry
from etm_jax.cells._ntm import join_weights as join_weights
from etm_jax.cells._ntm import ntm_step as ntm_step
from etm_jax.cells._ntm import read_out as read_out
from etm_jax.cells._ntm_parameters import NTM_PARAMETERS as NTM_PARAMETERS
from etm_jax.cells._unroll import ntm_unroll as ntm_unroll
from etm_jax.cells._weights import active_by_axis as active_by_axis
from etm_jax.cells._weights import axes_of as axes_of
from etm_jax.cells._weights import draw_like as draw_like
from etm_jax.cells._weights import initial_params as initial_params
from etm_jax.cells._weights import keep_active as keep_active
from etm_jax.cells._weights import map_table as map_table
from etm_jax.cells._weights import weight_mask as weight_mask
